"""A document's data -> Pieces (OpenAPI 2.0, 3.0 and 3.1).

What says nothing true behind the gateway, or names what a bearer may not know of, is left out here: servers, security, ``webhooks``, ``links`` and the
``x-`` members of the document, its paths and its operations. A reference that leads into a component stays; one that leads elsewhere in the document is
written out; one that leads out of it stays as it is and is never fetched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import msgspec

from gateway.core.path import CanonicalPath, canonicalise
from gateway.openapi.pieces import Component, Operation, PathItem, Pieces, SpecUnusable

MAX_DEPTH: Final = 200
MAX_VALUES: Final = 5_000_000  # that are copied: aliases and references written out make a small document large
_VERSION: Final = re.compile(r"(2\.0|3\.0|3\.1)(?:\.[0-9A-Za-z.-]+)?\Z")
_VERBS: Final = ("get", "put", "post", "delete", "options", "head", "patch")
_HEAD: Final = ("openapi", "swagger", "info", "jsonSchemaDialect", "externalDocs", "consumes", "produces")
_KINDS_OF_2: Final = ("definitions", "parameters", "responses")
_UNTOLD_KINDS: Final = frozenset({"securitySchemes", "links"})
_SHARED: Final = ("summary", "description", "parameters")
_SAFE: Final = "/!$&'()*+,:=@%{}~;\\?"  # the last three for canonicalise to judge

_Members = Callable[[Mapping[Any, Any]], dict[str, object]]


def take_apart(data: object) -> Pieces:
    """The pieces of a document's data. SpecUnusable says in one line why there are none."""
    if not isinstance(data, dict):
        raise SpecUnusable("this is no OpenAPI document: it must be a mapping with openapi: 3.x or swagger: 2.0")
    said = str(data.get("openapi", data.get("swagger", "")))
    version = _VERSION.match(said)
    if not version:
        raise SpecUnusable(f"this is no OpenAPI document of version 2.0, 3.0 or 3.1: its version is {said[:40]!r}")
    try:
        pieces = _Document(data, version[1]).pieces()
    except (TypeError, UnicodeError, msgspec.MsgspecError) as error:
        raise SpecUnusable(f"it holds what JSON has no word for: {' '.join(str(error).split())[:200]}") from None
    if not any(item.operations for item in pieces.paths):
        raise SpecUnusable("the document holds no operation")
    return pieces


def base_of(node: Mapping[str, Any]) -> str | None:
    """The path of the first server of a document, a path or an operation, without a final slash; None where it names none."""
    servers = node.get("servers")
    if not isinstance(servers, list) or not servers or not isinstance(servers[0], dict):
        return None
    url = str(servers[0].get("url", ""))
    for name, variable in _mapping(servers[0].get("variables")).items():
        url = url.replace(f"{{{name}}}", str(_mapping(variable).get("default", "")))
    try:
        path = urlsplit(url).path.rstrip("/")
    except ValueError:
        return None
    return path if path.startswith("/") or not path else f"/{path}"


def _mapping(node: object) -> dict[Any, Any]:
    return node if isinstance(node, dict) else {}


class _Document:
    def __init__(self, root: dict[Any, Any], version: str) -> None:
        self.root = root
        self.version = version
        self.base = str(root.get("basePath") or "").rstrip("/") if version == "2.0" else base_of(root) or ""
        self._named = list(self._components())
        self._place = {(kind, name): number for number, (kind, name, _) in enumerate(self._named)}
        self._refers: set[int] = set()
        self._written_out: list[str] = []  # references that are being written out, one in the other
        self._depth = self._values = 0

    def pieces(self) -> Pieces:
        head = {key: self.root[key] for key in _HEAD if key in self.root}
        tags = self.root.get("tags")
        described = {str(tag.get("name")): msgspec.json.encode(tag) for tag in tags if isinstance(tag, dict)} if isinstance(tags, list) else {}
        paths = tuple(self._path_item(str(name), item) for name, item in _mapping(self.root.get("paths")).items() if str(name).startswith("/"))
        components = tuple(Component(kind, name, *self._text(node, self._members_of(kind))) for kind, name, node in self._named)
        return Pieces(self.version, msgspec.json.encode(head)[1:-1], self.base, described, paths, components)

    def _components(self) -> Iterator[tuple[str, str, object]]:
        above = self.root if self.version == "2.0" else _mapping(self.root.get("components"))
        for kind in _KINDS_OF_2 if self.version == "2.0" else [kind for kind in above if kind not in _UNTOLD_KINDS]:
            for name, node in _mapping(above.get(kind)).items():
                yield str(kind), str(name), node

    def _path_item(self, name: str, item: object) -> PathItem:
        found = self._whole(item)
        base = base_of(found)
        shared, refers = self._text({key: found[key] for key in _SHARED if key in found}, self._plain)
        operations = []
        for verb in _VERBS:
            node = found.get(verb)
            if isinstance(node, dict):
                own = base_of(node)
                own = base if own is None else own
                tags = node.get("tags")
                told = tuple(map(str, tags)) if isinstance(tags, list) else ()
                path = _canonical((self.base if own is None else own) + name)
                operations.append(Operation(verb.upper(), path, own, told, *self._text(node, self._operation)))
        return PathItem(name, shared[1:-1], refers, tuple(operations))

    def _whole(self, item: object) -> dict[Any, Any]:
        """A path item with what it refers to; empty where that lies outside of the document."""
        found: dict[Any, Any] = {}
        for _ in range(MAX_DEPTH):
            item = _mapping(item)
            found = {**item, **found}
            ref = item.get("$ref")
            if ref is None:
                return found
            item = self._at(str(ref))
            if not isinstance(item, dict):
                return {}
        return {}

    # -- copies

    def _text(self, node: object, members: _Members) -> tuple[bytes, tuple[int, ...]]:
        """A piece as JSON, and the components that it refers to."""
        self._refers = set()
        text = msgspec.json.encode(self._take(node, members))
        return text, tuple(sorted(self._refers))

    def _take(self, node: object, members: _Members) -> object:
        """A copy. ``members`` makes that of a mapping which is no reference."""
        if isinstance(node, dict | list):
            self._depth += 1
            self._values += len(node) + 1
            if self._depth > MAX_DEPTH:
                raise SpecUnusable(f"it is nested more than {MAX_DEPTH} deep")
            if self._values > MAX_VALUES:
                raise SpecUnusable(f"with its aliases and references written out it holds more than {MAX_VALUES:,} values")
            try:
                if isinstance(node, list):
                    return [self._take(item, self._plain) for item in node]
                ref = node.get("$ref")
                return self._referred(node, ref, members) if isinstance(ref, str) and ref.startswith("#/") else members(node)
            finally:
                self._depth -= 1
        return node

    def _referred(self, node: Mapping[Any, Any], ref: str, members: _Members) -> object:
        place = self._component(ref)
        if place is not None:
            self._refers.add(place)
            return self._plain(node)
        target = self._at(ref)
        if ref in self._written_out or target is None:
            return {}
        self._written_out.append(ref)
        try:
            return self._take(target, members)
        finally:
            self._written_out.pop()

    def _plain(self, node: Mapping[Any, Any]) -> dict[str, object]:
        mapped = _mapping(_mapping(node.get("discriminator")).get("mapping"))
        for target in mapped.values():
            place = self._component(str(target)) if str(target).startswith("#/") else self._place.get(("schemas", str(target)))
            if place is not None:
                self._refers.add(place)
        return {str(key): self._take(value, self._plain) for key, value in node.items()}

    def _members_of(self, kind: str) -> _Members:
        return {"responses": self._response, "callbacks": self._callback, "pathItems": self._called_back}.get(kind, self._plain)

    def _operation(self, node: Mapping[Any, Any]) -> dict[str, object]:
        copy: dict[str, object] = {}
        for key, value in node.items():
            if key == "responses":
                copy[key] = {str(status): self._take(response, self._response) for status, response in _mapping(value).items()}
            elif key == "callbacks":
                copy[key] = {str(name): self._take(callback, self._callback) for name, callback in _mapping(value).items()}
            elif key not in {"security", "servers", "schemes"} and not str(key).startswith("x-"):
                copy[str(key)] = self._take(value, self._plain)
        return copy

    def _response(self, node: Mapping[Any, Any]) -> dict[str, object]:
        return self._plain({key: value for key, value in node.items() if key != "links"})

    def _callback(self, node: Mapping[Any, Any]) -> dict[str, object]:
        return {str(address): self._take(item, self._called_back) for address, item in node.items()}

    def _called_back(self, node: Mapping[Any, Any]) -> dict[str, object]:
        return {str(key): self._take(value, self._operation if key in _VERBS else self._plain) for key, value in node.items() if key != "servers"}

    # -- references (RFC 6901 in a fragment)

    def _component(self, ref: str) -> int | None:
        parts = _parts(ref)
        if self.version != "2.0":
            parts = parts[1:] if parts[0] == "components" else []
        return self._place.get((parts[0], parts[1])) if len(parts) > 1 else None

    def _at(self, ref: str) -> object:
        if not ref.startswith("#/"):
            return None
        parts = _parts(ref)
        if len(parts) > 1 and (parts[0] == "securityDefinitions" or parts[1] in _UNTOLD_KINDS):
            return None
        node: object = self.root
        for part in parts:
            if isinstance(node, dict):
                node = node.get(part, node.get(int(part)) if part.isdecimal() else None)
            elif isinstance(node, list) and part.isdecimal() and int(part) < len(node):
                node = node[int(part)]
            else:
                return None
        return node


def _parts(ref: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in unquote(ref)[2:].split("/")]


def _canonical(path: str) -> str:
    """The canonical path of a template, "" where no request can have it."""
    found = canonicalise(quote(path, safe=_SAFE))
    return found.path if isinstance(found, CanonicalPath) else ""
