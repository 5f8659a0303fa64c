"""What templates of two policies have in common, and paths that stand for it.

Any path is decided by two rules: the one that wins in the old policy and the one that wins in the new, or none. For each pair of templates that a path can
match both there is a most general form of such paths: literals where either has one, and fresh segments, which no literal equals, elsewhere. Whatever
template of a policy takes a path of that form takes all paths that both templates match. So a pair wins for some path exactly if it wins for this one, and
the number of paths to look at is bounded by the pairs that meet, not by the mixtures of their segments.

``**`` takes any number of segments, so its paths are looked at in every length up to one more than the longest template has: from there on nothing changes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from gateway.core.policy import Policy
from gateway.core.route import Route
from gateway.core.route_table import taken
from gateway.core.route_template import REST, is_name, segments

_PAD: Final = "{_}"  # a segment that ** takes
_MOST_PATHS: Final = 256  # of one form, where all ways to write a short literal in capitals and small letters are literals of the other policy
_LETTERS: Final = re.compile(r"%[0-9A-F]{2}|[A-Za-z]|[^A-Za-z%]+")


class Shape(NamedTuple):
    """The template of a policy without its names, and its routes by method."""

    parts: tuple[str, ...]
    routes: dict[str, Route]


class Form(NamedTuple):
    """The paths that two templates both match, in one length or, ``deep``, in all beyond those of the other templates. ``template`` tells it to people.

    ``paths`` stand for it: the first in the letters of the template, others where case counts in one of the policies only. ``encoded`` are the same with an
    encoded slash in a fresh segment; empty where there is none.
    """

    template: str
    deep: bool
    paths: tuple[str, ...]
    encoded: tuple[str, ...]


def shapes_of(policy: Policy) -> dict[tuple[str, ...], Shape]:
    """The templates of a policy, each once, by what tells them apart."""
    found: dict[tuple[str, ...], Shape] = {}
    for route in policy.routes:
        parts = tuple(segments(route.template))
        shape = found.setdefault(unnamed(parts, ignore_case=policy.ignore_case), Shape(parts, {}))
        for method in taken(route.methods):
            shape.routes.setdefault(method, route)
    return found


def unnamed(parts: Iterable[str], *, ignore_case: bool) -> tuple[str, ...]:
    """What tells one template from another: the names of its ``{name}`` segments do not, nor does letter case where the policy ignores it."""
    return tuple("{}" if is_name(part) else part.lower() if ignore_case else part for part in parts)


class _Node:
    __slots__ = ("children", "shape")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.shape: Shape | None = None


class Forms:
    """The forms in which templates of an old and a new policy meet."""

    def __init__(self, old: Policy, new: Policy) -> None:
        self.old = shapes_of(old)
        self.new = shapes_of(new)
        self._cases = (old.ignore_case, new.ignore_case)
        self._folded = old.ignore_case or new.ignore_case
        known_shapes = [*self.old.values(), *self.new.values()]
        self._literals = tuple({part for shape in shapes.values() for part in shape.parts if not is_name(part)} for shapes in (self.old, self.new))
        self._longest = max((len(shape.parts) for shape in known_shapes), default=0) + 1
        known = {part.lower() for literals in self._literals for part in literals}
        self._fresh = next(word for word in (f"any{number or ''}" for number in itertools.count()) if not any(part.startswith(word) for part in known))
        alike = old.ignore_case == new.ignore_case
        both = [(self.old[key], self.new[key]) for key in self.old.keys() & self.new.keys()] if alike else []
        self._twins = {id(one): other for one, other in both if one.routes.keys() == other.routes.keys()}  # by the id of a shape, which lives as long as this
        settled = {id(other) for other in self._twins.values()}
        self._all = self._tree(self.new.values())
        self._moved = self._tree(shape for shape in self.new.values() if id(shape) not in settled)

    def _tree(self, shapes: Iterable[Shape]) -> _Node:
        root = _Node()
        for shape in shapes:
            node = root
            for part in unnamed(shape.parts, ignore_case=self._folded):
                node = node.children.setdefault(part, _Node())
            # Two literals that only case tells apart are one here: the second hangs below, and meet() tells them apart.
            while node.shape is not None:
                node = node.children.setdefault("", _Node())
            node.shape = shape
        return root

    def met_by(self, shape: Shape) -> Iterator[Shape]:
        """The shapes of the new policy that may win a path which this one of the old wins, and match it.

        Of two templates that both policies have, for the same methods, the same one wins in both: so a template that stays meets itself and those that do not.
        """
        twin = self._twins.get(id(shape))
        if twin is not None:
            yield twin
            yield from self._met(shape, self._moved)
        else:
            yield from self._met(shape, self._all)

    def _met(self, shape: Shape, root: _Node) -> Iterator[Shape]:
        parts = unnamed(shape.parts, ignore_case=self._folded)
        todo = [(root, 0)]
        while todo:
            node, depth = todo.pop()
            rest = node.children.get(REST)
            if rest is not None:
                yield from _all_under(rest)
            if depth == len(parts):
                yield from _own(node)
            elif parts[depth] == REST:
                yield from _own(node)
                yield from (found for name, child in node.children.items() if name not in {"", REST} for found in _all_under(child))
            elif parts[depth] == "{}":
                todo += [(child, depth + 1) for name, child in node.children.items() if name not in {"", REST}]
            else:
                todo += [(node.children[name], depth + 1) for name in (parts[depth], "{}") if name in node.children]

    def between(self, old: Sequence[str], new: Sequence[str]) -> Iterator[Form]:
        """The forms in which the templates with these segments meet, the deep one first. A template that matches all, ``(REST,)``, stands for none."""
        shortest = max(len(parts) - (parts[-1:] == (REST,)) for parts in (tuple(old), tuple(new)))
        endless = tuple(old[-1:]) == tuple(new[-1:]) == (REST,)
        for length in range(self._longest, shortest - 1, -1) if endless else (shortest,):
            one, other = _in_length(old, length), _in_length(new, length)
            if one is None or other is None:
                return
            form = self._form(one, other, deep=endless and length == self._longest, told=shortest)
            if form is None:
                return
            yield form

    def _form(self, old: list[str], new: list[str], *, deep: bool, told: int) -> Form | None:
        names: list[str] = []
        exact: list[str] = []
        choices: list[list[str]] = []
        for one, other in zip(old, new, strict=True):
            met = self._segment(one, other)
            if met is None:
                return None
            name, choice = met
            names.append(name)
            exact.append(self._fresh if is_name(name) else name)
            choices.append(choice)
        template = "/" + "/".join([*names[:told], REST] if deep else names)
        ways = list(dict.fromkeys([tuple(exact), *itertools.islice(itertools.product(*choices), _MOST_PATHS)]))
        fresh = next((index for index in reversed(range(len(names))) if is_name(names[index])), None)
        encoded = ways if fresh is not None else []
        return Form(
            template,
            deep,
            tuple("/" + "/".join(way) for way in ways),
            tuple("/" + "/".join([*way[: fresh or 0], f"{self._fresh}%2F{self._fresh}", *way[(fresh or 0) + 1 :]]) for way in encoded),
        )

    def _segment(self, one: str, other: str) -> tuple[str, list[str]] | None:
        """How people are told a segment that matches both, and the segments that stand for it; None where none matches both."""
        old_folds, new_folds = self._cases
        if is_name(one):
            if is_name(other):
                return min(one, other, key=lambda name: (name == _PAD, name)), [self._fresh]
            return other, self._cased(other, self._literals[0]) if new_folds and not old_folds else [other]
        if is_name(other):
            return one, self._cased(one, self._literals[1]) if old_folds and not new_folds else [one]
        if one == other or (self._folded and one.lower() == other.lower()):
            exact = other if not new_folds else one if not old_folds else min(one, other)
            return exact, [exact]
        return None

    @staticmethod
    def _cased(literal: str, known: set[str]) -> list[str]:
        """A way to write a literal, which one policy takes in any case, that is no literal of the other; where each of them is one, all."""
        pieces = [[piece, piece.swapcase()] if len(piece) == 1 else [piece] for piece in _LETTERS.findall(literal)]
        turned = "".join(way[-1] for way in pieces)
        ways = itertools.chain((literal, turned), map("".join, itertools.product(*pieces)))
        tried = list(dict.fromkeys(itertools.islice(ways, len(known) + 3)))
        return next(([way] for way in tried if way not in known), tried)


def _own(node: _Node) -> Iterator[Shape]:
    below: _Node | None = node
    while below is not None and below.shape is not None:
        yield below.shape
        below = below.children.get("")


def _all_under(node: _Node) -> Iterator[Shape]:
    todo = [node]
    while todo:
        node = todo.pop()
        if node.shape is not None:
            yield node.shape
        todo += node.children.values()


def _in_length(parts: Sequence[str], length: int) -> list[str] | None:
    """The segments of a template in paths of this length, or None if it matches none."""
    if parts and parts[-1] == REST:
        given = [*parts[:-1]]
        return [*given, *[_PAD] * (length - len(given))] if len(given) <= length else None
    return [*parts] if len(parts) == length else None
