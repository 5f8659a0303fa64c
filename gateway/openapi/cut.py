"""A document cut down to what somebody may call: the operations that are allowed, and the components that these reach."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import urlsplit

import msgspec

from gateway.core.route import Route
from gateway.openapi.pieces import Operation, PathItem, Pieces

Judge = Callable[[str, str], Route | None]  # from a canonical path and a method: the route by which it may be called, if it may

_SCHEME: Final = b'{"type":"http","scheme":"bearer"}'
_SCHEME_OF_2: Final = b'{"type":"apiKey","in":"header","name":"Authorization","description":"Bearer and the token"}'
_json = msgspec.json.encode


def cut(pieces: Pieces, judge: Judge, public_url: str) -> bytes:
    """The document as JSON. Its servers are ``public_url``, or the origin that it was asked for at where that is ""; each operation asks for a bearer token
    unless its route is public."""
    reached: set[int] = set()
    tags: set[str] = set()
    paths = []
    for item in pieces.paths:
        members = _path(pieces, item, judge, public_url, reached, tags)
        if members:
            paths.append(_json(item.name) + b":{" + b",".join(members) + b"}")
    _close(pieces, reached)
    described = [text for name, text in pieces.tags.items() if name in tags]
    parts = [pieces.head, *_servers(pieces, public_url)]
    if described:
        parts.append(b'"tags":[' + b",".join(described) + b"]")
    parts += [b'"security":[{"scopegate":[]}]', b'"paths":{' + b",".join(paths) + b"}", *_components(pieces, reached)]
    return b"{" + b",".join(filter(None, parts)) + b"}"


def _path(pieces: Pieces, item: PathItem, judge: Judge, public_url: str, reached: set[int], tags: set[str]) -> list[bytes]:
    """The members of a path item, none where none of its operations may be called."""
    members = []
    for operation in item.operations:
        route = judge(operation.path, operation.method) if operation.path else None
        if route is None:
            continue
        members.append(_json(operation.method.lower()) + b":" + _operation(pieces, operation, public_url, public=route.public))
        reached.update(operation.refers)
        tags.update(operation.tags)
    if members:
        reached.update(item.refers)
        if item.shared:
            members.insert(0, item.shared)
    return members


def _operation(pieces: Pieces, operation: Operation, public_url: str, *, public: bool) -> bytes:
    members = [operation.text[1:-1]]
    if public:
        members.append(b'"security":[]')
    if operation.base is not None and operation.base != pieces.base:
        members.append(b'"servers":' + _json([{"url": public_url + operation.base or "/"}]))
    return b"{" + b",".join(filter(None, members)) + b"}"


def _close(pieces: Pieces, reached: set[int]) -> None:
    """Add what the components refer to themselves, however often round."""
    todo = list(reached)
    while todo:
        for place in pieces.components[todo.pop()].refers:
            if place not in reached:
                reached.add(place)
                todo.append(place)


def _servers(pieces: Pieces, public_url: str) -> Iterable[bytes]:
    if pieces.version != "2.0":
        return [b'"servers":' + _json([{"url": public_url + pieces.base or "/"}])]
    parts = urlsplit(public_url)
    members = {"basePath": parts.path + pieces.base or "/"}
    if public_url:
        members = {"host": parts.netloc, **members}
    return [_json(members)[1:-1], *([b'"schemes":' + _json([parts.scheme])] if public_url else [])]


def _components(pieces: Pieces, reached: set[int]) -> Iterable[bytes]:
    kinds: dict[str, list[bytes]] = {}
    for place in sorted(reached):
        component = pieces.components[place]
        kinds.setdefault(component.kind, []).append(_json(component.name) + b":" + component.text)
    if pieces.version == "2.0":
        kinds["securityDefinitions"] = [b'"scopegate":' + _SCHEME_OF_2]
    else:
        kinds["securitySchemes"] = [b'"scopegate":' + _SCHEME]
    members = [_json(kind) + b":{" + b",".join(entries) + b"}" for kind, entries in kinds.items()]
    return members if pieces.version == "2.0" else [b'"components":{' + b",".join(members) + b"}"]
