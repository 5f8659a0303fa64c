"""The routes, compiled into a trie of path segments: a look-up costs the same at 10 routes and at 10,000.

The most specific template that takes the method wins, segment by segment: literal, then ``{name}``, then ``**``. A look-up goes down the most specific
branch; where that ends without an answer, the node knows the one that is left (``otherwise``), worked out when the table was built. Only where a ``{name}``
branch beside the way taken might still match is the trie searched. A search visits a node at most once, so no path can cost more than the policy
has templates, and one that is longer than all templates costs nothing but its split.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple

from gateway.core.route import METHODS, Route
from gateway.core.route_template import REST, is_name, segments


class WrongMethod(NamedTuple):
    """The path is mapped, but not for this method. ``allow``: all the methods that it takes."""

    allow: tuple[str, ...]


class _Search:
    """In place of a route: more than one branch may match, so the trie must be searched."""


_SEARCH: Final = _Search()
_Answers = dict[str, Route | _Search]  # method -> route


class _Node:
    """One segment of the templates. ``at_end`` answers when the path ends here, ``otherwise`` when no branch takes the next segment."""

    __slots__ = ("at_end", "literals", "name", "otherwise", "rest", "routes")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.name: _Node | None = None
        self.routes: dict[str, Route] = {}
        self.rest: dict[str, Route] = {}
        self.at_end: _Answers = {}
        self.otherwise: _Answers = {}


class RouteTable:
    """Finds the route of a path and a method. ``ignore_case``: literals match without regard to the case of ASCII letters."""

    __slots__ = ("_ignore_case", "_root", "_start")

    def __init__(self, routes: Iterable[Route], *, ignore_case: bool = False) -> None:
        """``routes`` have canonical templates and can be told apart (the loader refuses others). Of two for one place the first counts."""
        self._ignore_case = ignore_case
        self._root = _Node()
        self._start = _Node()  # takes the empty text before the first slash
        self._start.literals[""] = self._root
        for route in routes:
            self._add(route)
        _settle(self._root, {})

    def find(self, path: str, method: str) -> Route | WrongMethod | None:
        """The route for a canonical path (which begins with a slash, without query), WrongMethod if the path is mapped but not for this method, else None.

        An unmapped entry is found like a route: its ``unmapped`` is True.
        """
        if self._ignore_case:
            path = path.lower()
        node = self._start
        for segment in path.split("/"):
            child = node.literals.get(segment)
            if child is None:
                if not segment:  # after a final slash
                    continue
                child = node.name
                if child is None:
                    found = node.otherwise.get(method)
                    break
            node = child
        else:
            found = node.at_end.get(method)
        if found.__class__ is Route:
            return found
        return self._find_slowly(path, method)

    def matches(self, path: str) -> Iterator[Mapping[str, Route]]:
        """What the templates that match a canonical path say, by method: the most specific template first."""
        parts = segments(path.lower() if self._ignore_case else path)
        end = len(parts)
        todo: list[tuple[_Node, int]] = [(self._root, 0)]
        while todo:
            node, depth = todo.pop()
            if depth < 0:
                yield node.rest
                continue
            if node.rest:
                todo.append((node, -1))
            if depth == end:
                if node.routes:
                    yield node.routes
                continue
            if node.name is not None:
                todo.append((node.name, depth + 1))
            child = node.literals.get(parts[depth])
            if child is not None:
                todo.append((child, depth + 1))

    def nearest(self, path: str, most: int = 3) -> list[tuple[Route, str]]:
        """For a canonical path that no template matches: some of the templates that agree with it furthest, each with where they part. The path itself is not
        quoted: it may hold anything, and be long."""
        parts = segments(path.lower() if self._ignore_case else path)
        node, depth = self._root, 0
        furthest = [(node, 0)]
        todo = [(node, 0)]
        while todo:  # a node at a time, as in ``matches``
            node, depth = todo.pop()
            if depth > furthest[0][1]:
                furthest = []
            if not furthest or depth == furthest[0][1]:
                furthest.append((node, depth))
            if depth < len(parts):
                todo += [(child, depth + 1) for child in (node.name, node.literals.get(parts[depth])) if child is not None]
        found: list[tuple[Route, str]] = []
        for node, depth in reversed(list(dict.fromkeys(furthest))):
            for route in _some_under(node, most - len(found)):
                asked = segments(route.template)
                if depth == len(parts):
                    why = f"goes on with {asked[depth]!r} where the path ends"
                elif depth == len(asked):
                    why = f"ends where the path goes on with segment {depth + 1}"
                else:
                    why = f"has {asked[depth]!r} in place of the path's segment {depth + 1}"
                found.append((route, why))
        return found

    def _find_slowly(self, path: str, method: str) -> Route | WrongMethod | None:
        best: dict[str, Route] = {}
        for routes in self.matches(path):
            if method in routes:
                return routes[method]
            for other, route in routes.items():
                best.setdefault(other, route)
        allow = [other for other, route in best.items() if not route.unmapped]
        return WrongMethod(ordered(allow)) if allow else None

    def _add(self, route: Route) -> None:
        node = self._root
        for part in segments(route.template):
            if part == REST:
                place = node.rest
                break
            if is_name(part):
                node.name = node.name or _Node()
                node = node.name
            else:
                node = node.literals.setdefault(part.lower() if self._ignore_case else part, _Node())
        else:
            place = node.routes
        for method in taken(route.methods):
            place.setdefault(method, route)


def taken(methods: Iterable[str]) -> tuple[str, ...]:
    """The methods that a route takes: HEAD follows GET (RFC 9110 section 9.3.2)."""
    given = tuple(methods)
    return (*given, "HEAD") if "GET" in given and "HEAD" not in given else given


def ordered(methods: Iterable[str]) -> tuple[str, ...]:
    """Methods in the order in which all messages name them."""
    given = set(methods)
    return (*(method for method in METHODS if method in given), *sorted(given.difference(METHODS)))


def _settle(root: _Node, above: _Answers) -> None:
    """Work out each node's answers from what is left above it. ``above``: what remains when nothing under the node matches."""
    todo = [(root, above)]
    while todo:
        node, above = todo.pop()
        node.otherwise = {**above, **node.rest} if node.rest else above
        node.at_end = {**node.otherwise, **node.routes} if node.routes else node.otherwise
        if node.name is not None:
            todo.append((node.name, node.otherwise))
        if node.literals:
            # From under a literal, the {name} branch beside it may still match: for the methods that any route there takes.
            beside = node.otherwise if node.name is None else {**node.otherwise, **dict.fromkeys(_methods_under(node.name), _SEARCH)}
            todo.extend((child, beside) for child in node.literals.values())


def _some_under(root: _Node, most: int) -> list[Route]:
    """At most so many routes at or under a node, those nearest to it first."""
    found: dict[Route, None] = {}
    level = [root]
    while level and len(found) < most:
        for node in level:
            found.update(dict.fromkeys([*node.routes.values(), *node.rest.values()]))
        level = [child for node in level[:most] for child in (*islice(node.literals.values(), most), node.name) if child is not None]
    return list(found)[: max(0, most)]


def _methods_under(node: _Node) -> set[str]:
    methods: set[str] = set()
    todo = [node]
    while todo:
        node = todo.pop()
        methods.update(node.routes, node.rest)
        todo.extend(node.literals.values())
        if node.name is not None:
            todo.append(node.name)
    return methods
