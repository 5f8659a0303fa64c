"""An OpenAPI document taken apart: each operation and each component as JSON text of its own, with what it refers to.

A worker holds no more of a document than these texts. To cut it down it joins some of them, and reads none.
"""

from __future__ import annotations

import msgspec


class SpecUnusable(Exception):
    """An OpenAPI document that can't be used. The text is one line for an operator: what is wrong, where."""


class Operation(msgspec.Struct, frozen=True, array_like=True):
    """``path`` is the canonical path that clients ask for, each ``{name}`` standing for itself; ``base`` is that of its server where it has one of its own.
    ``refers`` are places in ``Pieces.components``."""

    method: str
    path: str
    base: str | None
    tags: tuple[str, ...]
    text: bytes
    refers: tuple[int, ...]


class PathItem(msgspec.Struct, frozen=True, array_like=True):
    """One entry of ``paths``. ``shared`` are the members beside its operations, as JSON without the braces."""

    name: str
    shared: bytes
    refers: tuple[int, ...]
    operations: tuple[Operation, ...]


class Component(msgspec.Struct, frozen=True, array_like=True):
    """One entry of ``components`` (``definitions``, ``parameters``, ``responses`` in 2.0): ``kind`` is the key above it."""

    kind: str
    name: str
    text: bytes
    refers: tuple[int, ...]


class Pieces(msgspec.Struct, frozen=True, array_like=True, eq=False):
    """A whole document. ``head`` are the members that stay as they are, as JSON without the braces; ``base`` is the path of its first server, without a final
    slash; ``tags`` are those that it describes, by name."""

    version: str  # 2.0, 3.0 or 3.1
    head: bytes
    base: str
    tags: dict[str, bytes]
    paths: tuple[PathItem, ...]
    components: tuple[Component, ...]
