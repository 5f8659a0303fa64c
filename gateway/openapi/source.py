"""The text of an OpenAPI document as plain data: JSON and YAML, read so that no document costs more than its size.

JSON goes by the standard library. YAML is built here from PyYAML's events, with a stack of its own: deep nesting costs a fault, never a crash; an alias
shares what it names and is never copied, so that a small file can't grow; scalars stay text (``no`` is a name, not false). Unlike a policy, a document may hold
aliases and ``<<``: other programs wrote it. A key that is given twice matters only where it is read, so its mapping remembers it (``Doubled``).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final, NoReturn

import yaml

from gateway.policy_file.document import DocumentFault, Fault, read_bytes

MAX_BYTES: Final = 64 * 1024 * 1024
MAX_DEPTH: Final = 200
MAX_MERGED: Final = 1_000_000  # keys that << brings in, in all
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_WORD: Final = re.compile(r"[\s\ufeff]*")


class Doubled(dict[str, object]):
    """A mapping in which ``keys_twice`` were given more than once. JSON's last value counts, YAML's first; who reads it should refuse it."""

    keys_twice: tuple[str, ...] = ()


def read_source(path: Path) -> object:
    """The plain data of a file. DocumentFault if it can't be read, is over MAX_BYTES, or is neither JSON nor YAML."""
    return parse_source(read_bytes(path, MAX_BYTES), str(path))


def parse_source(raw: bytes, name: str) -> object:
    """The plain data of a text in UTF-8; ``name`` is what faults call the file. DocumentFault with one fault, as read_source."""
    if len(raw) > MAX_BYTES:
        raise DocumentFault([Fault(name, 0, 0, f"the document is over {MAX_BYTES // 1024 // 1024} MiB: leave out parts, or split it by its paths")])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DocumentFault([Fault(name, line, 1, f"byte 0x{raw[error.start]:02X} is not UTF-8: save the file as UTF-8")]) from None
    start = _WORD.match(text)
    if text[start.end() if start else 0 :][:1] in {"{", "["}:
        return _from_json(text, name)
    return _Builder(name).build(text)


def _from_json(text: str, name: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_mapping)
    except json.JSONDecodeError as error:
        try:
            return _Builder(name).build(text)  # YAML in braces, or with a comment: the larger language
        except DocumentFault:
            raise DocumentFault([Fault(name, error.lineno, error.colno, f"this is not JSON: {error.msg[:1].lower()}{error.msg[1:]}")]) from None
    except RecursionError:
        why = "this is nested too deeply to be an OpenAPI document"
    except ValueError as error:
        why = f"this is not JSON that can be read: {str(error).partition(';')[0]}"
    raise DocumentFault([Fault(name, 0, 0, why)])


def _mapping(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: set[str] = set()
    twice = dict.fromkeys(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    doubled = Doubled(found)
    doubled.keys_twice = tuple(twice)
    return doubled


class _Open:
    """A mapping or list that is being read. ``key`` is where its next value goes, None where a key comes next."""

    __slots__ = ("anchor", "items", "key", "merged", "twice")

    def __init__(self, items: dict[str, object] | list[object], anchor: str | None) -> None:
        self.items = items
        self.anchor = anchor
        self.key: str | None = None
        self.merged: list[object] = []
        self.twice: list[str] = []


class _Builder:
    """Builds plain data from the events of one YAML document."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._open: list[_Open] = []
        self._anchors: dict[str, object] = {}
        self._root: object = None
        self._merged = 0

    def build(self, text: str) -> object:
        """The data of the text. DocumentFault at the first thing that is wrong: what follows it can't be read with any sense."""
        documents = 0
        try:
            for event in yaml.parse(text, Loader=yaml.CSafeLoader):
                if isinstance(event, yaml.ScalarEvent):
                    null = event.implicit[0] and event.value in _NULLS
                    self._put(event, None if null and not self._wants_key() else event.value, event.anchor)
                elif isinstance(event, yaml.MappingStartEvent):
                    self._begin(event, {})
                elif isinstance(event, yaml.SequenceStartEvent):
                    self._begin(event, [])
                elif isinstance(event, yaml.CollectionEndEvent):
                    self._end(event)
                elif isinstance(event, yaml.AliasEvent):
                    if event.anchor is None or event.anchor not in self._anchors:
                        self._refuse(event, f"the alias *{event.anchor} names nothing before it, or a thing that holds it: write the value out")
                    self._put(event, self._anchors[event.anchor], None)
                elif isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        self._refuse(event, "a second document begins here: keep one in a file")
        except yaml.MarkedYAMLError as error:
            problem = " ".join(part for part in (error.context, error.problem) if part)
            mark = error.problem_mark or error.context_mark
            raise DocumentFault([Fault(self._name, *_from_one(mark), f"this is neither JSON nor YAML: {problem}")]) from None
        except yaml.YAMLError as error:
            raise DocumentFault([Fault(self._name, 0, 0, f"this is neither JSON nor YAML: {' '.join(str(error).split())}")]) from None
        return self._root

    def _refuse(self, event: Any, message: str) -> NoReturn:
        raise DocumentFault([Fault(self._name, *_from_one(event.start_mark), message)])

    def _wants_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].items, dict) and self._open[-1].key is None

    def _begin(self, event: Any, items: dict[str, object] | list[object]) -> None:
        if self._wants_key():
            self._refuse(event, "a key must be text")
        if len(self._open) >= MAX_DEPTH:
            self._refuse(event, f"nested more than {MAX_DEPTH} deep")
        self._open.append(_Open(items, event.anchor))

    def _end(self, event: Any) -> None:
        done = self._open.pop()
        items = done.items
        if isinstance(items, dict):
            for source in done.merged:
                self._merge(event, items, source)
            if done.twice:
                items = Doubled(items)
                items.keys_twice = tuple(dict.fromkeys(done.twice))
        self._put(event, items, done.anchor)

    def _merge(self, event: Any, items: dict[str, object], source: object) -> None:
        """What ``<<`` names, where the mapping does not say otherwise itself."""
        for mapping in source if isinstance(source, list) else [source]:
            if not isinstance(mapping, dict):
                self._refuse(event, "<< takes a mapping, or a list of them")
            self._merged += len(mapping) + 1
            if self._merged > MAX_MERGED:
                self._refuse(event, f"<< brings in more than {MAX_MERGED:,} keys in all: write the values out")
            for key, value in mapping.items():
                items.setdefault(key, value)

    def _put(self, event: Any, value: object, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = value
        if not self._open:
            self._root = value
            return
        top = self._open[-1]
        if isinstance(top.items, list):
            top.items.append(value)
        elif top.key is None:
            if not isinstance(value, str):
                self._refuse(event, "a key must be text")
            top.key = value
        else:
            if top.key == "<<":
                top.merged.append(value)
            elif top.key in top.items:
                top.twice.append(top.key)
            else:
                top.items[top.key] = value
            top.key = None


def _from_one(mark: Any) -> tuple[int, int]:
    return (mark.line + 1, mark.column + 1) if mark else (0, 0)
