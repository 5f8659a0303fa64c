"""A YAML file read so that every fault has its place and none hides another.

YAML 1.1 has two habits that bite in a file about access: plain words change type (``no`` is false, ``012`` is ten, ``1:30`` is ninety), and a
key given twice silently loses its first value. So the event stream is walked here: every scalar stays text until the field's type decides,
duplicate keys are faults, and so are anchors, aliases and tags, which nobody needs in a policy and which let a small file grow without end.
The walk keeps its own stack: nesting costs a fault, never a RecursionError.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 32
KEY: Final = "[key]"  # as in pydantic's locations: the place of a key is kept under its value's path and this mark

# What YAML 1.1 section 5.1 lets stand in a stream.
_NOT_PRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
# What a quoted scalar may bring in by an escape, and no terminal or page should be shown.
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_BREAK: Final = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_NULLS: Final = frozenset({"", "~", "null"})

Path_ = tuple[str | int, ...]


class Fault(NamedTuple):
    """One thing that is wrong, and where. ``line`` and ``column`` count from 1; 0 where the fault is of the whole file or has no file."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}" if self.line else f"{self.file}: {self.message}"


class DocumentFault(Exception):
    """A file that can't be used. ``faults`` holds every fault found, in the order of their places; the text has one line for each."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = sorted(faults)
        super().__init__("\n".join(map(str, self.faults)))


class Document(NamedTuple):
    """What a file says: mappings, lists, and scalars as text (None where nothing was written, or ``~`` or ``null``).

    ``places`` maps the path of each value to its line and column (both from 1); that of a key is under ``(*path, KEY)``.
    """

    data: object
    places: dict[Path_, tuple[int, int]]


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """At most one byte over ``limit`` of a file. DocumentFault with one plain line if there is no such file or it can't be read."""
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except FileNotFoundError:
        why = "there is no such file"
    except IsADirectoryError:
        why = "this is a folder, not a file"
    except PermissionError:
        why = "this file may not be read: check its permissions"
    except (OSError, ValueError) as error:
        why = f"this file can't be read: {getattr(error, 'strerror', None) or error}"
    raise DocumentFault([Fault(str(path), 0, 0, why)])


def survey(text: str | bytes, name: str) -> tuple[Document | None, list[Fault]]:
    """What can be read of a text, with every fault found on the way; ``name`` is what faults call the file. The document is None
    where no sense can be made of it.

    With faults, a document serves only to look for more of them: a key given twice keeps its first value, an alias is None.
    """
    plain, faults = _decode(text, name)
    if plain is None:
        return None, faults
    for match in _NOT_PRINTABLE.finditer(plain):
        line, column = _place(plain, match.start())
        faults.append(Fault(name, line, column, f"a control character, U+{ord(match[0]):04X}: remove it"))
        if len(faults) == 20:
            break
    if faults:
        return None, faults
    walk = _Walk(name)
    try:
        walk.follow(plain)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.context, error.problem) if part)
        if "expected ',' or" in problem:
            problem += ': put quotes around a text that holds braces, as in "/items/{id}"'
        walk.fault(mark, f"this is not YAML: {problem}")
        return None, walk.faults
    except yaml.YAMLError as error:
        return None, [*walk.faults, Fault(name, 0, 0, f"this is not YAML: {' '.join(str(error).split())}")]
    if not walk.usable:
        return None, walk.faults
    return Document(walk.root, walk.places), walk.faults


def _decode(text: str | bytes, name: str) -> tuple[str | None, list[Fault]]:
    """The text without its byte order mark, or why there is none."""
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        return None, [Fault(name, 0, 0, f"the file is over {MAX_BYTES // 1024 // 1024} MiB: make it smaller")]
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            line, column = _place(error.object[: error.start].decode("utf-8"), None)
            return None, [Fault(name, line, column, f"byte 0x{error.object[error.start]:02X} is not UTF-8: save the file as UTF-8")]
    return text.removeprefix("\ufeff"), []


def _place(text: str, offset: int | None) -> tuple[int, int]:
    """Line and column, from 1, of an offset into the text (None: of its end)."""
    before = text[:offset]
    breaks = list(_BREAK.finditer(before))
    return len(breaks) + 1, len(before) - (breaks[-1].end() if breaks else 0) + 1


class _Open:
    """A mapping or list that is being read; ``key`` is where its next value goes."""

    __slots__ = ("items", "key", "lines", "path", "wants_key")

    def __init__(self, items: dict[str, object] | list[object], path: Path_) -> None:
        self.items = items
        self.path = path
        self.wants_key = isinstance(items, dict)
        self.key: str | None = None  # None: the value is read, and dropped
        self.lines: dict[str, int] = {}  # where each key was first given


class _Walk:
    """Builds plain data from YAML events and notes every fault."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.faults: list[Fault] = []
        self.places: dict[Path_, tuple[int, int]] = {}
        self.root: object = None
        self.usable = False
        self._open: list[_Open] = []
        self._dropped = 0  # depth inside a value that has nowhere to go

    def fault(self, mark: Any, message: str) -> None:
        self.faults.append(Fault(self.name, *_from_one(mark), message))

    def follow(self, text: str) -> None:
        """Read the whole stream. yaml.YAMLError where it is not YAML."""
        documents = 0
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self.fault(event.start_mark, "a second document begins here: keep one in a file")
                    return
            elif isinstance(event, yaml.NodeEvent):
                self._check(event)
                if len(self._open) + self._dropped >= MAX_DEPTH and isinstance(event, yaml.CollectionStartEvent):
                    self.fault(event.start_mark, f"nested more than {MAX_DEPTH} deep")
                    self.usable = False
                    return
                if self._dropped or (self._open and self._open[-1].wants_key):
                    self._key(event)
                else:
                    self._value(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                if self._dropped:
                    self._dropped -= 1
                else:
                    self._open.pop()
                    self._next()
        if not documents:
            self.fault(None, "the file is empty")

    def _check(self, event: yaml.NodeEvent) -> None:
        """Anchors, aliases, tags and escaped controls are faults wherever they stand."""
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            self.fault(mark, f"an alias (*{event.anchor}): write the value out")
            return
        if event.anchor is not None:
            self.fault(mark, f"an anchor (&{event.anchor}): remove it")
        control = _CONTROL.search(event.value) if isinstance(event, yaml.ScalarEvent) else None
        if control:
            self.fault(mark, f"an escape for a control character, U+{ord(control[0]):04X}: remove it")
        tag = getattr(event, "tag", None)
        if tag is not None:
            self.fault(mark, f"a tag ({tag}): remove it")

    def _key(self, event: yaml.NodeEvent) -> None:
        """A key, or a piece of one that is no key and is dropped with all that is in it."""
        if self._dropped or not isinstance(event, yaml.ScalarEvent):
            if isinstance(event, yaml.CollectionStartEvent):
                if not self._dropped:
                    self.fault(event.start_mark, "a key must be text")
                    self._open[-1].key = None
                    self._open[-1].wants_key = False
                self._dropped += 1
            elif not self._dropped:  # an alias as a key is told by _check
                self._open[-1].key = None
                self._open[-1].wants_key = False
            return
        top, key, at = self._open[-1], event.value, _from_one(event.start_mark)
        top.wants_key = False
        top.key = None
        if key in top.lines:
            self.fault(event.start_mark, f"the key {shown(key)} is given twice, first in line {top.lines[key]}: keep one")
        elif not key:
            self.fault(event.start_mark, "a key is missing before this colon")
        else:
            top.key = key
            top.lines[key] = at[0]
            self.places[*top.path, key, KEY] = at

    def _value(self, event: yaml.NodeEvent) -> None:
        collection = isinstance(event, yaml.CollectionStartEvent)
        path = self._path()
        if path is None:
            if collection:
                self._dropped = 1
                self._open[-1].wants_key = True  # once the dropped value has ended
            else:
                self._next()
            return
        value: object
        if isinstance(event, yaml.MappingStartEvent):
            value = {}
        elif collection:
            value = []
        elif isinstance(event, yaml.ScalarEvent):
            value = None if event.implicit[0] and event.value in _NULLS else event.value
        else:
            value = None
        self.places[path] = _from_one(event.start_mark)
        self._put(value)
        if not self._open and not isinstance(value, dict):
            self.fault(event.start_mark, "the file must be a mapping: KEY: VALUE")
        self.usable = True
        if isinstance(value, dict | list):
            self._open.append(_Open(value, path))
        elif self._open:
            self._next()

    def _path(self) -> Path_ | None:
        """Where the next value goes, None if nowhere."""
        if not self._open:
            return ()
        top = self._open[-1]
        if isinstance(top.items, list):
            return (*top.path, len(top.items))
        return None if top.key is None else (*top.path, top.key)

    def _put(self, value: object) -> None:
        if not self._open:
            self.root = value
            return
        top = self._open[-1]
        if isinstance(top.items, list):
            top.items.append(value)
        elif top.key is not None:
            top.items[top.key] = value

    def _next(self) -> None:
        """A value has ended: in a mapping a key comes next."""
        if self._open and isinstance(self._open[-1].items, dict):
            self._open[-1].wants_key = True


def _from_one(mark: Any) -> tuple[int, int]:
    """Line and column of a mark of PyYAML (its C part has a class of its own), from 1; 0 without one."""
    return (mark.line + 1, mark.column + 1) if mark else (0, 0)


def shown(value: object) -> str:
    """A value of the file as a message quotes it, cut to one short line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}...{text[0]}"
