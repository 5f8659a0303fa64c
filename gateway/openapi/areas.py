"""The areas of an API, of which an import makes scopes: an operation's first tag, else the first literal segment of its path after the version."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from gateway.openapi.operations import Operation, Specification, one_line

_VERSION: Final = re.compile(r"v?[0-9]+(?:[._-][0-9]+)*(?:(?:alpha|beta|rc|preview)[0-9]*)?\Z", re.IGNORECASE)
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z]{2})(?=[A-Z][a-z]{2})")
_NOT_IN_IDS: Final = re.compile(r"[^a-z0-9._]+")
_LONGEST: Final = 64
UNNAMED: Final = "other"  # for paths without a literal segment


class Areas:
    """The areas of a document and the ids of their scopes."""

    def __init__(self, specification: Specification) -> None:
        self._by_id: dict[str, str] = {}
        self.ids: dict[str, str] = {}
        tagged = (tag for operation in specification.operations for tag in operation.tags)
        for tag in sorted(dict.fromkeys(tagged), key=lambda tag: (scope_id(tag) != tag, tag)):  # a tag that is an id keeps it, whatever others look like it
            self._add(tag)
        for operation in specification.operations:
            if not operation.tags:
                self._add(self.of(operation))

    def of(self, operation: Operation) -> str:
        """The area of an operation. One without a tag belongs to the tag that reads like its path, if there is one."""
        if operation.tags:
            return operation.tags[0]
        segment = one_line(first_literal(operation.path)) or UNNAMED
        return self._by_id.get(scope_id(segment), segment)

    def _add(self, area: str) -> None:
        if area in self.ids:
            return
        base = chosen = scope_id(area)
        number = 2
        while chosen in self._by_id:
            ending = f"-{number}"
            chosen = base[: _LONGEST - len(ending)].rstrip("._-") + ending
            number += 1
        self.ids[area] = chosen
        self._by_id[chosen] = area


def scope_id(text: str) -> str:
    """A legal scope id that reads like the text: ``User Groups`` and ``userGroups`` are ``user-groups``. ``area`` where no letter of the text is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return _NOT_IN_IDS.sub("-", _HUMP.sub("-", plain).lower()).strip("._-")[:_LONGEST].rstrip("._-") or "area"


def first_literal(path: str) -> str:
    """The first literal segment after the version, which is looked for among the literals that the path begins with; "" if there is none."""
    segments = [part for part in re.split(r"[?#]", path, maxsplit=1)[0].split("/") if part]
    version = next((index for index, part in enumerate(_leading(segments)) if _VERSION.match(part)), -1)
    return next((part for part in segments[version + 1 :] if not {"{", "*"} & set(part)), "")


def _leading(segments: Iterable[str]) -> Iterable[str]:
    for part in segments:
        if "{" in part:
            return
        yield part
