"""What a policy needs to know of an OpenAPI document (2.0, 3.0, 3.1): its operations. One reader for all versions; all else is left unread.

The path of an operation is the one that clients ask for: the path of its server (``servers`` of the operation, the path item or the document; ``basePath``
in 2.0) stands before it, because the gateway hands paths on as they are. Of several servers the first counts.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from gateway.openapi.reference import References, pointer
from gateway.openapi.source import Doubled
from gateway.policy_file.document import DocumentFault, Fault

VERBS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_VERSION: Final = re.compile(r"(2\.0|3\.0|3\.1)(?:\.[0-9A-Za-z.-]+)?\Z")
_VARIABLE: Final = re.compile(r"(\{[^{}/]+\})")
# References and aliases let many operations share one long list: what is read of each is bounded, so that no document costs more than its size.
_MOST_OPERATIONS: Final = 50_000
_MOST_ITEMS: Final = 200
_MOST_SCHEMES: Final = 20
_LONGEST: Final = 2000


class Security(NamedTuple):
    """What a document asks of the caller of an operation. ``kind``: ``unstated`` (nothing is said), ``none`` (an empty list, or only empty objects),
    ``optional`` (an empty object beside others), ``needed``. ``ways``: the alternatives, each the names of the schemes that it asks for together.
    ``own``: the operation says so itself, not the document.
    """

    kind: str
    ways: tuple[tuple[str, ...], ...] = ()
    own: bool = False

    @property
    def together(self) -> tuple[str, ...]:
        """The schemes of the shortest alternative, where every one asks for more than one scheme."""
        shortest = min(self.ways, key=len, default=())
        return shortest if len(shortest) > 1 else ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. ``path`` is the document's, ``prefix`` the path of its server, ``host`` the server's if it is not the document's.
    ``spanning`` names the path parameters that say of themselves that they may hold slashes.
    """

    method: str
    path: str
    prefix: str
    pointer: str
    tags: tuple[str, ...]
    id: str
    summary: str
    security: Security
    deprecated: bool
    spanning: frozenset[str]
    host: str = ""


@dataclass(frozen=True, slots=True)
class Specification:
    """A document that was read. ``tags`` maps the tags that it describes to their descriptions, ``schemes`` its security schemes to a few words on each;
    ``servers`` are those of the whole document. ``says_security``: something in it says who may call an operation. ``has_tags``: an operation has one.
    """

    name: str
    version: str
    title: str
    edition: str
    tags: Mapping[str, str]
    servers: tuple[str, ...]
    schemes: Mapping[str, str]
    security: Security
    operations: tuple[Operation, ...]
    says_security: bool
    has_tags: bool


def specification(data: object, name: str, prefix: str | None = None) -> Specification:
    """The operations of a document's plain data; ``name`` is what faults call the file. ``prefix`` stands in place of the servers' paths where it is not None.
    DocumentFault with every fault: no OpenAPI, references that lead nowhere, parts of the wrong kind.
    """
    if not isinstance(data, dict):
        raise DocumentFault([Fault(name, 0, 0, "this is no OpenAPI document: it must be a mapping with openapi: 3.x or swagger: 2.0")])
    said = str(data.get("openapi", data.get("swagger", "")))
    version = _VERSION.match(said)
    if not version:
        key = f"its version is {said[:40]!r}" if said else "it has neither openapi: nor swagger:"
        raise DocumentFault([Fault(name, 0, 0, f"this is no OpenAPI document that can be read: {key}; known are 2.0, 3.0 and 3.1")])
    found = _Reader(data, version[1], prefix).read(name)
    if not found.operations:
        raise DocumentFault([Fault(name, 0, 0, "the document holds no operation: there is nothing to map under paths")])
    return found


class _Reader:
    def __init__(self, root: dict[str, object], version: str, prefix: str | None) -> None:
        self.root = root
        self.version = version
        self.prefix = prefix
        self.references = References(root)

    def read(self, name: str) -> Specification:
        root = self.root
        self._once(root, "#")
        info = self._map(root.get("info"), "#/info")
        security = self._security(root, "#", Security("unstated"))._replace(own=False)
        if security.kind == "none":
            security = Security("unstated")  # an empty list for the whole document is what generators write: it says nothing of any one operation
        servers = [address for address, _, _ in self._servers(root, "#")]
        operations = tuple(itertools.islice(self._operations(security), _MOST_OPERATIONS + 1))
        if len(operations) > _MOST_OPERATIONS:
            self.references.fault("#/paths", f"more than {_MOST_OPERATIONS:,} operations: split the document by its paths")
        schemes = self._schemes()
        if self.references.faults:
            raise DocumentFault([Fault(name, 0, 0, message) for message in self.references.faults])
        return Specification(
            name=name,
            version=self.version,
            title=one_line(info.get("title")),
            edition=one_line(info.get("version")),
            tags=self._tags(),
            servers=tuple(servers),
            schemes=schemes,
            security=security,
            operations=operations,
            says_security=any(operation.security.kind != "unstated" for operation in operations),
            has_tags=any(operation.tags for operation in operations),
        )

    def _operations(self, security: Security) -> Iterator[Operation]:
        if "paths" in self.root and not isinstance(self.root["paths"], dict):
            self.references.fault("#/paths", "this must be a mapping")
        paths = self._map(self.root.get("paths"), "#/paths")
        base = self._server(self.root, "#", ("", ""))
        for path, node in paths.items():
            if path.startswith("x-") or node is None:
                continue
            at = pointer("paths", path)
            for item, item_at in self._items(node, at):
                server = self._server(item, item_at, base)
                for verb in VERBS:
                    if item.get(verb) is not None:
                        operation = self._map(*self.references.follow(item[verb], f"{item_at}/{verb}"))
                        own = self._server(operation, f"{item_at}/{verb}", server)
                        yield Operation(
                            method=verb.upper(),
                            path=path if path.startswith("/") else f"/{path}",
                            prefix=own[1] if self.prefix is None else self.prefix,
                            pointer=f"{at}/{verb}",
                            tags=tuple(dict.fromkeys(tag for tag in map(one_line, self._list(operation.get("tags"), f"{item_at}/{verb}/tags")) if tag)),
                            id=one_line(operation.get("operationId")),
                            summary=one_line(operation.get("summary")),
                            security=self._security(operation, f"{item_at}/{verb}", security),
                            deprecated=_is_true(operation.get("deprecated")),
                            spanning=frozenset(self._spanning(item, item_at)) | frozenset(self._spanning(operation, f"{item_at}/{verb}")),
                            host=own[0] if own[0] != base[0] else "",
                        )

    def _items(self, node: object, at: str) -> Iterator[tuple[dict[str, object], str]]:
        """A path item and the one that it refers to, whose operations count beside its own (3.1 lets both stand)."""
        own = self._map(node, at)
        if "$ref" not in own:
            yield own, at
            return
        target, target_at = self.references.follow(own, at)
        other = self._map(target, target_at)
        both = [verb for verb in VERBS if own.get(verb) is not None and other.get(verb) is not None]
        if both:
            self.references.fault(at, f"{', '.join(both)} stands here and in what $ref names: keep one")
        yield {key: value for key, value in own.items() if key != "$ref"}, at
        yield other, target_at

    def _security(self, holder: Mapping[str, object], at: str, above: Security) -> Security:
        """What a document or an operation asks for: a list of alternatives, each of which is all the schemes of one object."""
        stated = holder.get("security")
        if stated is None:
            return above
        ways: list[tuple[str, ...]] = []
        for index, way in enumerate(self._list(stated, f"{at}/security")):
            if isinstance(way, dict):
                ways.append(tuple(map(one_line, itertools.islice(way, _MOST_SCHEMES))))
            else:
                self.references.fault(f"{at}/security/{index}", "this must be a mapping of the name of a scheme")
        asked = tuple(way for way in ways if way)
        return Security("none" if not asked else "optional" if len(asked) < len(ways) else "needed", asked, own=True)

    def _schemes(self) -> dict[str, str]:
        """The security schemes by name, each in a few words."""
        components = self._map(self.root.get("components"), "#/components")
        at = "#/securityDefinitions" if self.version == "2.0" else "#/components/securitySchemes"
        defined = self.root.get("securityDefinitions") if self.version == "2.0" else components.get("securitySchemes")
        found = {}
        for key, node in self._map(defined, at).items():
            scheme = self._map(*self.references.follow(node, f"{at}/{pointer(key)[2:]}"))
            kind, where, name = (one_line(scheme.get(part)) for part in ("type", "in", "name"))
            found[key] = f"{kind} in {where} {name}".strip() if kind == "apiKey" else " ".join(part for part in (kind, one_line(scheme.get("scheme"))) if part)
        return found

    def _spanning(self, holder: Mapping[str, object], at: str) -> Iterator[str]:
        """The path parameters that may hold slashes, as far as the document says so."""
        for index, node in enumerate(self._list(holder.get("parameters"), f"{at}/parameters")):
            parameter = self._map(*self.references.follow(node, f"{at}/parameters/{index}"))
            if parameter.get("in") == "path" and any(_is_true(parameter.get(key)) for key in ("x-multi-segment", "allowReserved")):
                yield one_line(parameter.get("name"))

    def _server(self, holder: Mapping[str, object], at: str, above: tuple[str, str]) -> tuple[str, str]:
        """The host and the path of the server that counts here."""
        for _, host, path in self._servers(holder, at):
            return host, path
        return above

    def _servers(self, holder: Mapping[str, object], at: str) -> Iterator[tuple[str, str, str]]:
        """Each server: its address with the defaults of its variables, its host and its path."""
        if self.version == "2.0":
            if holder is self.root and isinstance(holder.get("basePath"), str):
                base = one_line(holder["basePath"])
                yield base, one_line(holder.get("host")), _base_path(base)
            return
        for index, node in enumerate(self._list(holder.get("servers"), f"{at}/servers")):
            server = self._map(node, f"{at}/servers/{index}")
            variables = self._map(server.get("variables"), f"{at}/servers/{index}/variables")
            address = "".join(
                _default(variables.get(part[1:-1]), part) if _VARIABLE.fullmatch(part) else part for part in _VARIABLE.split(one_line(server.get("url")))
            )
            try:
                parts = urlsplit(address)
            except ValueError:
                self.references.fault(f"{at}/servers/{index}/url", f"{address[:80]!r} is no address")
                continue
            yield address, parts.netloc, _base_path(parts.path)

    def _tags(self) -> dict[str, str]:
        found = {}
        self._list(self.root.get("tags"), "#/tags")
        tags = self.root.get("tags")
        for node in tags if isinstance(tags, list) else []:
            if isinstance(node, dict) and one_line(node.get("name")):
                found[one_line(node["name"])] = one_line(node.get("description"))
        return found

    def _map(self, node: object, at: str) -> dict[str, object]:
        """A mapping; an empty one where there is none, which is noted unless nothing was written."""
        if isinstance(node, dict):
            self._once(node, at)
            return node
        if node is not None:
            self.references.fault(at, "this must be a mapping")
        return {}

    def _list(self, node: object, at: str) -> list[object]:
        if node is not None and not isinstance(node, list):
            self.references.fault(at, "this must be a list")
        return node[:_MOST_ITEMS] if isinstance(node, list) else []

    def _once(self, node: object, at: str) -> None:
        if isinstance(node, Doubled):
            self.references.fault(at, f"{', '.join(repr(key[:80]) for key in node.keys_twice)} is given twice: keep one")


def _base_path(path: str) -> str:
    path = path.strip("/")
    return f"/{path}" if path else ""


def one_line(value: object) -> str:
    """A scalar as one line of text that may stand anywhere; "" for what is none."""
    if not isinstance(value, str | int | float):
        return ""
    return " ".join("".join(character if character.isprintable() else " " for character in str(value)[:_LONGEST]).split())


def _default(variable: object, otherwise: str) -> str:
    return (one_line(variable.get("default")) if isinstance(variable, dict) else "") or otherwise


def _is_true(value: object) -> bool:
    return value is True or value == "true"
