"""Routes for paths that were called and that no route maps: a proposal from recorded calls, which a person reads before it is a policy.

Calls are put into a tree by the segments of their paths. A segment that looks like an identifier (digits, a UUID, a key such as ABC-12), and one of very
many that all go on alike, becomes a ``{name}``. What remains are templates, each with the methods that were seen, under a scope named by the
first literal segment after the version.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from gateway.core.authorize import find_route
from gateway.core.decision import Denial
from gateway.core.own_routes import DEFAULT_PREFIX, is_own
from gateway.core.path import canonicalise
from gateway.core.plan_calls import CUT, CUT_SHORT, NO_PATH, OWN, WITHOUT_PATH, RecordedCall
from gateway.core.policy import Policy
from gateway.core.route import KNOWN_METHODS, Route
from gateway.core.route_table import WrongMethod, ordered, taken
from gateway.core.route_template import is_name, segments
from gateway.core.scope import SCOPE_ID

DEEPEST: Final = 64  # segments of a template
MANY: Final = 12  # siblings that go on alike are taken for identifiers from here on
MOST: Final = 200_000  # nodes of the tree, some 150 MB
FULL: Final = f"beyond {MOST:,} different parts of paths: suggest for a part of the log, add its routes, then go on"
NO_METHOD: Final = "with a method that no policy can map"
NOT_THERE: Final = "the API itself does not have it (404, 405, 501)"
_ABSENT: Final = frozenset({404, 405, 501})
_IDENTIFIER: Final = re.compile(
    r".*[{}*].*|[0-9]+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-fA-F]{16,}|[A-Za-z][A-Za-z0-9]*[-_][0-9]+|[0-9]{4}-[0-9]{2}(-[0-9]{2})?|[^/]*(@|%40)[^/]*"
)
_UNSAYABLE: Final = re.compile(r".*[{}*].*")  # no literal of a template
_VERSION: Final = re.compile(r"v?[0-9]+(\.[0-9]+)*|api|rest|latest")
_SEARCH: Final = re.compile(r"(^|[-_.])(search|query|find|filter|lookup)([-_.]|$)", re.IGNORECASE)
_OTHER: Final = re.compile(r"[^a-z0-9._-]+")
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_]+")


class SuggestedRoute(NamedTuple):
    """``template`` takes ``methods`` of ``scope`` ("" where the path gives it no name); ``calls`` were seen, the first with ``example`` as its path.
    ``searches``: its POST looks like a search, which views. ``extends``: the policy maps this very path for other methods."""

    template: str
    methods: tuple[str, ...]
    scope: str
    calls: int
    example: str
    searches: bool
    extends: bool


class _Node:
    __slots__ = ("children", "example", "methods")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.methods: Counter[str] = Counter()
        self.example = ""


class Suggestions:
    """Takes calls one after the other. ``seen`` counts those that the policy does not map, ``mapped`` the others; ``skipped`` are those that can't be
    judged: by what is wrong with them, how many and the number of the first.

    ``own_prefix`` is where the gateway answers itself ("" for nowhere); ``most`` bounds the tree, in nodes.
    """

    def __init__(self, policy: Policy, own_prefix: str = DEFAULT_PREFIX, most: int = MOST) -> None:
        self.seen = self.mapped = 0
        self.skipped: dict[str, tuple[int, int]] = {}
        self._policy = policy
        self._own_prefix = own_prefix
        self._room = most
        self._root = _Node()
        self._scopes_of = _scopes_by_beginning(policy)

    def skip(self, line: int, why: str) -> None:
        """Count a line that can't be judged."""
        count, first = self.skipped.get(why, (0, line))
        self.skipped[why] = (count + 1, first)

    def add(self, line: int, call: RecordedCall) -> None:
        """Take one call; ``line`` is its number in the log."""
        if not call.path:
            return self.skip(line, WITHOUT_PATH)
        if call.method not in KNOWN_METHODS:
            return self.skip(line, NO_METHOD)
        if len(call.path) >= CUT and call.path.endswith("…"):
            return self.skip(line, CUT_SHORT)
        path = canonicalise(call.path.replace("…", ""))
        parts = segments(path.path) if not isinstance(path, Denial) else []
        if isinstance(path, Denial) or len(parts) > DEEPEST:
            return self.skip(line, NO_PATH)
        if is_own(self._own_prefix, path.path):
            return self.skip(line, OWN)
        found = find_route(self._policy, path, call.method)
        if isinstance(found, Route) or found.route is not None or found.reason.code == "path_ambiguous":
            self.mapped += 1
            return None
        if not call.code and call.status in _ABSENT:
            return self.skip(line, NOT_THERE)
        node = self._node(_without_identifiers(parts))
        if node is None:
            return self.skip(line, FULL)
        self.seen += 1
        node.methods[call.method] += 1
        node.example = node.example or path.path
        return None

    def _node(self, parts: list[str]) -> _Node | None:
        """The node of a path, made where it is missing; None where the tree has no room for it."""
        node = self._root
        for at, segment in enumerate(parts):
            child = node.children.get(segment)
            if child is None:
                if len(parts) - at > self._room:
                    return None
                self._room -= 1
                child = node.children[segment] = _Node()
            node = child
        return node

    def routes(self) -> list[SuggestedRoute]:
        """The routes, by their templates."""
        _fold(self._root, after_literal=False)
        return sorted(self._routes(self._root, ()))

    def _routes(self, node: _Node, parts: tuple[str, ...]) -> Iterator[SuggestedRoute]:
        if node.methods:
            named = _named(parts)
            template = "/" + "/".join(named)
            for methods, scope in self._scopes(named, node.methods):
                searches = "POST" in methods and bool(named) and _SEARCH.search(named[-1]) is not None
                extends = isinstance(self._policy.table.find(template, ""), WrongMethod)
                yield SuggestedRoute(template, methods, scope, sum(node.methods[each] for each in taken(methods)), node.example, searches, extends)
        for segment, child in node.children.items():
            yield from self._routes(child, (*parts, segment))

    def _scopes(self, parts: tuple[str, ...], seen: Counter[str]) -> Iterator[tuple[tuple[str, ...], str]]:
        """One route for a search by POST, which views, and one for the rest."""
        scope = self._known_scope(parts) or scope_name(parts)
        methods = ordered(method for method in seen if method != "HEAD" or "GET" not in seen)
        if len(methods) > 1 and "POST" in methods and parts and _SEARCH.search(parts[-1]):
            yield ("POST",), scope
            methods = tuple(method for method in methods if method != "POST")
        yield methods, scope

    def _known_scope(self, parts: tuple[str, ...]) -> str:
        """The scope of most of the policy's routes that begin as this one does, up to its first literal after the version."""
        begins = parts[: _first(parts) + 1]
        alike = self._scopes_of.get(begins)
        return alike.most_common(1)[0][0] if alike else ""


def _scopes_by_beginning(policy: Policy) -> dict[tuple[str, ...], Counter[str]]:
    """How many routes of each scope begin alike, by each beginning up to the first literal after the version."""
    found: dict[tuple[str, ...], Counter[str]] = {}
    for route in policy.routes:
        if route.scope:
            parts = tuple(segments(route.template))
            for length in range(1, min(_first(parts) + 1, len(parts)) + 1):
                found.setdefault(parts[:length], Counter())[route.scope.id] += 1
    return found


def scope_name(parts: Iterable[str]) -> str:
    """A scope id from the segments of a template, "" where none gives one."""
    parts = tuple(parts)
    at = _first(parts)
    name = _OTHER.sub("-", parts[at].lower()).strip("-._")[:64] if at < len(parts) else ""
    return name if SCOPE_ID.match(name) else ""


def _first(parts: tuple[str, ...]) -> int:
    """Where the first literal after the version stands; the number of parts if there is none."""
    return next((index for index, part in enumerate(parts) if not is_name(part) and not _VERSION.fullmatch(part.lower())), len(parts))


def _without_identifiers(parts: list[str]) -> list[str]:
    """The segments with ``{}`` for each that looks like an identifier: only so much goes into the tree."""
    folded: list[str] = []
    after_literal = False
    for part in parts:
        folded.append("{}" if (_IDENTIFIER if after_literal else _UNSAYABLE).fullmatch(part) else part)
        after_literal = after_literal or not _VERSION.fullmatch(folded[-1].lower())
    return folded


def _fold(node: _Node, *, after_literal: bool) -> None:
    """Put very many children that go on alike into one, with those that are identifiers, from the top down."""
    literals = {segment: child for segment, child in node.children.items() if segment != "{}"}
    if after_literal and len(literals) >= MANY and len({_shape(child) for child in literals.values()}) == 1:
        literals = {}
    folded = [child for segment, child in node.children.items() if segment not in literals]
    if len(folded) > 1:
        together = _Node()
        for child in folded:
            _join(together, child)
        node.children = {**literals, "{}": together}
    for segment, child in node.children.items():
        _fold(child, after_literal=after_literal or not _VERSION.fullmatch(segment.lower()))


def _shape(node: _Node) -> tuple[object, ...]:
    """How a node goes on: siblings of one shape are many of a kind."""
    return (frozenset(node.methods), frozenset(node.children))


def _join(into: _Node, other: _Node) -> None:
    todo = [(into, other)]
    while todo:
        into, other = todo.pop()
        into.methods += other.methods
        into.example = into.example or other.example
        todo += [(into.children.setdefault(segment, _Node()), child) for segment, child in other.children.items()]


def _named(parts: tuple[str, ...]) -> tuple[str, ...]:
    """``{}`` gets a name from the literal before it: /teams/{} is /teams/{teamId}."""
    named: list[str] = []
    for part in parts:
        if part == "{}":
            before = _NO_NAME.sub("_", named[-1]).strip("_") if named and not is_name(named[-1]) else ""
            name = f"{_singular(before)}Id" if before and not before[0].isdigit() else "id"
            count = sum(each.startswith(f"{{{name}") for each in named)
            named.append(f"{{{name}{count + 1 if count else ''}}}")
        else:
            named.append(part)
    return tuple(named)


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word
