"""Where ``scopegate scan`` looks: files below paths, and everything in the history of a git repository. All of it is streamed.

Links are not followed below a path, so that none leads out of it or round in circles; what is no regular file (a pipe, a device) is not opened.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, NamedTuple

_PIECE: Final = 1024 * 1024
_STDIN: Final = Path("/dev/stdin")
_DESCRIPTORS: Final = {_STDIN.parent, Path("/dev/fd"), Path("/proc/self/fd")}  # what a shell has opened for us


class SourceFault(Exception):
    """A place that can't be read; the text says which and why."""


class Source(NamedTuple):
    """One file, or one object of a history: ``object_id`` is "" for a file. ``fault`` says why it can't be read, "" if it can."""

    path: str
    pieces: Iterator[bytes]
    object_id: str = ""
    fault: str = ""


def files_below(path: Path) -> Iterator[Source]:
    """The path itself if it is a file (or a link to one), what is piped in for ``-`` or a descriptor, else all regular files below it, in the order of
    their names, git's own folder left out."""
    path = _STDIN if path == Path("-") else path
    try:
        kind = path.stat().st_mode
    except OSError as error:
        yield Source(str(path), iter(()), fault=os.strerror(error.errno or 0).lower())
        return
    if not stat.S_ISDIR(kind):
        if stat.S_ISREG(kind):
            yield _file(path)
        elif stat.S_ISFIFO(kind) and path.parent in _DESCRIPTORS:
            yield Source(str(path), _pieces(os.open(path, os.O_RDONLY | os.O_CLOEXEC)))
        else:
            yield Source(str(path), iter(()), fault="it is a pipe or a device: name a file, or - for what is piped in")
        return
    faults: list[OSError] = []
    for folder, folders, names in os.walk(path, onerror=faults.append):
        folders[:] = sorted(name for name in folders if name != ".git")
        for name in sorted(names):
            inner = Path(folder, name)
            try:
                regular = stat.S_ISREG(inner.lstat().st_mode)
            except OSError as error:
                yield Source(str(inner), iter(()), fault=os.strerror(error.errno or 0).lower())
                continue
            if regular:
                yield _file(inner)
        while faults:
            closed = faults.pop()
            yield Source(str(closed.filename), iter(()), fault=os.strerror(closed.errno or 0).lower())


def _file(path: Path) -> Source:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        return Source(str(path), iter(()), fault=os.strerror(error.errno or 0).lower())
    return Source(str(path), _pieces(descriptor))


def _pieces(descriptor: int) -> Iterator[bytes]:
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            yield piece


class GitHistory:
    """All objects of a repository, unreachable ones too: files of every commit, and what commits and tags say. SourceFault where it is none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, str] = {}
        self._read = 0  # objects

    def sources(self) -> Iterator[Source]:
        """Each object once, with the path that a file has where it first shows."""
        broken = False
        try:
            for line in self._lines("rev-list", "--objects", "--all", "--reflog"):
                object_id, _, name = line.partition(" ")
                if name:
                    self._names.setdefault(object_id, name)
        except SourceFault:  # of some no name is known then; they are read all the same
            broken = True
        wanted = ("cat-file", "--batch-all-objects", "--unordered", "--batch")
        with self._run(*wanted) as git:
            assert git.stdout is not None  # noqa: S101 - it is a pipe
            while head := git.stdout.readline():
                object_id, kind, *told = head.decode("ascii", "replace").split()
                if not told:
                    continue  # an object that a partial clone left at its origin
                body = _exactly(git.stdout, int(told[0]))
                if kind != "tree":
                    name = self._names.get(object_id, "(no path: nothing refers to it)") if kind == "blob" else f"({kind} message)"
                    yield Source(name, body, object_id)
                for _ in body:  # whatever was not looked at
                    pass
                git.stdout.readline()
                self._read += 1
        self._check(git)
        if broken:
            raise self._fault()

    def commit_of(self, object_id: str) -> str:
        """The oldest commit that holds an object, or that it is itself; "" where none does, or the history is broken."""
        try:
            found = list(self._lines("log", "--all", "--reflog", "-m", "--format=%H", f"--find-object={object_id}"))
            if found:
                return found[-1]
            return object_id if list(self._lines("cat-file", "-t", object_id)) == ["commit"] else ""
        except SourceFault:
            return ""

    def _lines(self, *arguments: str) -> Iterator[str]:
        with self._run(*arguments) as git:
            assert git.stdout is not None  # noqa: S101 - it is a pipe
            for line in git.stdout:
                yield line.decode("utf-8", "replace").rstrip("\n")
        self._check(git)

    def _run(self, *arguments: str) -> subprocess.Popen[bytes]:
        # Nothing is fetched, asked for or written: a repository that one looks at may not be one's own.
        # In a hook git's own variables name another one.
        environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environ |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}
        command = ["git", "--no-pager", "-c", "core.fsmonitor=false", "-c", "log.showSignature=false", *arguments]
        try:
            return subprocess.Popen(command, cwd=self._folder, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # noqa: S603 - no argument begins with what came from outside
        except OSError as error:
            why = "git is not installed" if isinstance(error, FileNotFoundError) and self._folder.is_dir() else os.strerror(error.errno or 0).lower()
            raise SourceFault(f"{self._folder}: {why}") from None

    def _check(self, git: subprocess.Popen[bytes]) -> None:
        if git.returncode:
            raise self._fault()

    def _fault(self) -> SourceFault:
        if self._read:
            return SourceFault(f"{self._folder}: git can't read a part of its history (git fsck tells which): what it could read was looked at")
        return SourceFault(f"{self._folder}: git can't read its history: is it a repository of your own?")


def _exactly(stream: IO[bytes], size: int) -> Iterator[bytes]:
    while size:
        piece = stream.read(min(size, _PIECE))
        if not piece:
            return
        size -= len(piece)
        yield piece
