"""What a person should decide about an operation, or about a whole document, before its policy is applied: one sentence each."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.openapi.operations import Operation, Specification
from gateway.openapi.searches import may_read, reads


def told(operation: Operation) -> str:
    """An operation for people: method and path, as a client would ask."""
    path = "".join(character if character.isprintable() else " " for character in operation.prefix + operation.path)
    return f"{operation.method} {path if len(path) <= 200 else path[:197] + '...'}"


def operation_notes(operation: Operation, specification: Specification, *, public: bool, view: bool) -> Iterator[str]:
    """The notes of one operation, which its rule makes ``public`` or asks for ``view``."""
    security = operation.security
    if public:
        yield "public, because the document asks for no credential here (security: []): give it a scope if that is not meant"
    elif security.kind == "none":
        yield "the document asks for no credential here (security: []), and yet it asks for its scope"
    elif security.kind == "optional":
        yield "the document asks for a credential or for none (security holds {}): public: true in place of the scope would let everyone in"
    elif security.kind == "unstated" and specification.says_security:
        yield "the document asks for no credential here, without saying so (no security): public: true in place of the scope would let everyone in"
    elif security.own and security.together:
        yield f"the document asks for {' and '.join(security.together)} together: a token of the gateway stands for all of them"
    if view:
        yield f"only reads, by {reads(operation)}: remove access: view if it changes anything"
    elif may_read(operation):
        yield "looks like a search by its path: add access: view if it changes nothing"
    if not operation.tags and specification.has_tags:
        yield "has no tag in the document: its scope is taken from its path"
    if operation.host:
        yield f"is served by {operation.host}: name the upstream"
    if operation.deprecated:
        yield "deprecated in the document: move it to unmapped if nobody needs it"


def document_notes(specification: Specification) -> Iterator[str]:
    """The notes that concern the whole document."""
    if not specification.says_security:
        yield "the document does not say who may call what (no security anywhere), so every operation asks for its scope: public: true opens one"
    elif specification.security.kind == "optional":
        yield "the document asks for a credential or for none (its security holds {}): all of it asks for scopes here"
    if specification.security.together:
        yield f"the document asks for {' and '.join(specification.security.together)} together: a token of the gateway stands for all of them"
    unknown = sorted({name for operation in specification.operations for way in operation.security.ways for name in way} - set(specification.schemes))
    if unknown:
        yield f"the document asks for {', '.join(unknown[:5])} without defining what that is: it counts as a credential"
    paths = dict.fromkeys(operation.prefix for operation in specification.operations)
    if len(specification.servers) > 1:
        yield f"the document has {len(specification.servers)} servers: paths are those of the first, {specification.servers[0]} (--prefix says otherwise)"
    if any("{" in path for path in paths):
        yield f"the path of a server, {next(path for path in paths if '{' in path)}, has a variable without a default: --prefix says what it is"
