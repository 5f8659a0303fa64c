"""A Dockerfile read, and its steps run without an engine: the file system of each stage is a folder, in which the commands' absolute paths are put.

Only what our own Dockerfile says is known; anything else is an error, so that no step is left out silently.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PLACES = ("/opt/", "/var/", "/etc/", "/build")
_SAID_ONLY = {"LABEL", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD", "VOLUME", "ARG", "USER"}


class Step(NamedTuple):
    """One instruction: its word, its options (``--from=build``) and the rest."""

    word: str
    options: dict[str, str]
    rest: str

    @property
    def listed(self) -> list[str]:
        """The rest as a list, for the exec form; ValueError where it is the shell form."""
        items = json.loads(self.rest)
        assert isinstance(items, list)
        return items


def steps(text: str) -> list[Step]:
    """The instructions, comments and continuations taken out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [_step(line) for line in joined.splitlines() if line.strip()]


def _step(line: str) -> Step:
    word, _, rest = line.strip().partition(" ")
    options = {}
    while match := re.match(r"--([a-z-]+)=(\S+)\s+", rest):
        options[match[1]] = match[2]
        rest = rest[match.end() :]
    return Step(word, options, rest.strip())


class Image:
    """The last stage, built into ``root``. ``user`` is who runs it: that of the image where we may become it, else ourselves."""

    def __init__(self, file: Path, root: Path) -> None:
        self.steps = steps(file.read_text())
        self.root = root
        self.environ: dict[str, str] = {}
        self.workdir = "/"
        self._context = file.parent
        self._stages: dict[str, Path] = {}
        self._home, self._tools = root.with_name("home"), root.with_name("tools")
        self.user = int(self.last("USER").rest.partition(":")[0]) if os.getuid() == 0 else os.getuid()

    def last(self, word: str) -> Step:
        """The instruction that counts in the end."""
        return [step for step in self.steps if step.word == word][-1]

    def place(self, text: str) -> str:
        """A text with the image's absolute paths put into the folder."""
        return re.sub(rf"(?<![\w./])(?={'|'.join(_PLACES)})", str(self.root), text)

    def build(self) -> None:
        """Run all steps."""
        self._home.mkdir()
        self._lend_python()
        name = ""
        for step in self.steps:
            if step.word == "FROM":
                if name:
                    # The next stage has the same paths, since a virtual environment knows its own.
                    self.root.rename(self.root.with_name(f"stage-{name}"))
                    self._stages[name] = self.root.with_name(f"stage-{name}")
                name = (re.findall(r" AS (\w+)$", step.rest) or ["last"])[0]
                self.root.mkdir()
                self.environ, self.workdir = {}, "/"
            elif step.word == "WORKDIR":
                self.workdir = step.rest
                self._at(step.rest).mkdir(parents=True, exist_ok=True)
            elif step.word == "ENV":
                self.environ |= dict(item.split("=", 1) for item in shlex.split(step.rest))
            elif step.word == "COPY":
                self._copy(step)
            elif step.word == "RUN":
                self._run(step.rest)
            else:
                assert step.word in _SAID_ONLY, f"{step.word} is not known here"
        for stage in self._stages.values():
            shutil.rmtree(stage)

    def left_in_home(self) -> list[Path]:
        """What the steps left beside the image: caches."""
        return sorted(self._home.rglob("*"))

    def files(self) -> Iterator[Path]:
        """All files of the image."""
        return (path for path in self.root.rglob("*") if path.is_file())

    def command(self) -> list[str]:
        """What the image runs, as the user that it names."""
        return [*self._become(), *(self.place(word) for word in (*self.last("ENTRYPOINT").listed, *self.last("CMD").listed))]

    def health(self) -> list[str]:
        """The health check's command."""
        return [self.place(word) for word in json.loads(self.last("HEALTHCHECK").rest.partition("CMD")[2])]

    def _become(self) -> list[str]:
        return ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups", "--no-new-privs"] if os.getuid() == 0 else []

    def _lend_python(self) -> None:
        """``python`` as the steps know it: an interpreter that the image's user can reach too, with the pip of the tests' environment."""
        for candidate in (os.path.realpath(sys.executable), shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")):
            # The same for both: a shared library that the user can't reach is silently replaced by that of another version.
            asked = [str(candidate), "-c", "import sys, venv; print(sys.version_info >= (3, 11), sys.version, sys.base_prefix)"]
            ours, theirs = (subprocess.run([*by, *asked], cwd="/", env={}, capture_output=True, text=True, check=False) for by in ([], self._become()))
            if ours.stdout.startswith("True") and ours.stdout == theirs.stdout:
                break
        else:
            raise AssertionError("there is no Python 3.11 that another user can run: apt-get install python3")
        self._tools.mkdir()
        script = self._tools / "python"
        script.write_text(f'#!/bin/sh\n[ "$2" != pip ] || exec "{sys.executable}" "$@"\nexec "{candidate}" "$@"\n')
        script.chmod(0o755)

    def _at(self, path: str) -> Path:
        """A path of the image, relative ones in the working folder, as a path of the machine."""
        return self.root / str(Path(self.workdir) / path).lstrip("/")

    def _copy(self, step: Step) -> None:
        assert set(step.options) <= {"from"}, step
        *sources, target = step.rest.split()
        into = self._at(target)
        for source in sources:
            found = self._stages[step.options["from"]] / source.lstrip("/") if "from" in step.options else self._context / source
            if found.is_dir():
                shutil.copytree(
                    found, into, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__") if "from" not in step.options else None
                )
            else:
                path = into / found.name if target.endswith("/") else into
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, path)

    def _run(self, command: str) -> None:
        if os.getuid() != 0:
            command = command.replace("65532", str(os.getuid()))
        keep = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "http", "HTTP", "no_proxy", "NO_PROXY"))}
        done = subprocess.run(
            ["sh", "-ec", self.place(command)],
            cwd=self._at("."),
            env={**keep, "PATH": f"{self._tools}:/usr/bin:/bin", "HOME": str(self._home)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"RUN {command}\n{done.stdout[-1500:]}{done.stderr[-1500:]}"
