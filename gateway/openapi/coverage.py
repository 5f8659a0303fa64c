"""Does a policy say what the document says: every operation mapped, every route an operation's, nobody let in by the scope of another area, nothing secured
that is public.

Each operation is asked for with a path of its own template in which the parameters are words that stand in neither file, so what is found is the rule for the
operation as a whole. A route that takes only a part of an operation (``/users/me`` of ``/users/{id}``) is not the operation's: the document does not know it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from gateway.core.policy import Policy
from gateway.core.route import Route
from gateway.core.route_table import RouteTable, taken
from gateway.core.route_template import REST, is_name, segments
from gateway.openapi.areas import Areas
from gateway.openapi.first_policy import Placed, placed, shape_of
from gateway.openapi.operations import Operation, Specification
from gateway.openapi.policy_text import title_of


class Reached(NamedTuple):
    """An operation that a route lets more callers reach than it should. ``area`` is its tag, ``scopes`` are the ids of the scopes that its tags have."""

    operation: Operation
    route: Route
    area: str
    scopes: tuple[str, ...]


class Coverage(NamedTuple):
    """What was found. ``broader``: reached by a scope of another area. ``public``: open to all though the document asks for a credential. ``left_out`` are
    operations that ``unmapped`` names, ``never`` those that no request can reach through the gateway (as they are told, and why): neither is a fault.
    """

    operations: int
    without_route: tuple[Operation, ...]
    without_operation: tuple[Route, ...]
    broader: tuple[Reached, ...]
    public: tuple[Reached, ...]
    left_out: tuple[Operation, ...]
    never: tuple[tuple[str, str], ...]

    @property
    def is_full(self) -> bool:
        """Whether there is nothing to mend."""
        return not (self.without_route or self.without_operation or self.broader or self.public)


def coverage(specification: Specification, policy: Policy) -> Coverage:
    """Compare a document with a policy."""
    areas = Areas(specification)
    found, never = placed(specification, areas)
    meetings = _Meetings(found, policy)
    rules = [(item, routes) for item, routes in ((item, list(meetings.of(item))) for item in found) if routes]
    met = {id(item) for item, _ in rules}
    homes = _homes(policy, areas, rules)
    broader, public, left_out = [], [], []
    for item, routes in rules:
        allowed = {scope for area in (item.operation.tags or (areas.of(item.operation),)) for scope in homes.get(area, ())}
        mapped = [route for route in routes if not route.unmapped]
        if not mapped:
            left_out.append(item.operation)
        for route in mapped:
            reached = Reached(item.operation, route, areas.of(item.operation), tuple(scope for scope in policy.scopes if scope in allowed))
            if route.public and item.operation.security.kind == "needed":
                public.append(reached)
            elif route.scope and route.scope.id not in allowed:
                broader.append(reached)
    return Coverage(
        operations=len(specification.operations),
        without_route=tuple(item.operation for item in found if id(item) not in met and id(item) not in meetings.hidden),
        without_operation=tuple(route for route in policy.routes if not route.unmapped and id(route) not in meetings.seen),
        broader=tuple(broader),
        public=tuple(public),
        left_out=tuple(left_out),
        never=tuple(never),
    )


class _Meetings:
    """Which rules of the policy take which operation. ``seen``: the routes whose templates take an operation, whether or not a narrower one comes first.
    ``hidden``: the operations all of whose paths are those of more specific ones, which stand for them.
    """

    def __init__(self, found: list[Placed], policy: Policy) -> None:
        self._policy = policy
        self.seen: set[int] = set()
        self.hidden: set[int] = set()
        self._document = RouteTable((Route(item.form.template, (item.operation.method,), None) for item in found), ignore_case=policy.ignore_case)
        literals = {
            part.lower() for template in (*(item.form.template for item in found), *(route.template for route in policy.routes)) for part in segments(template)
        }
        self._fresh = "x"
        while any(self._fresh in literal for literal in literals):
            self._fresh += "x"

    def of(self, item: Placed) -> Iterator[Route]:
        """The rules that take an operation as a whole; of one whose template a policy can't say, also those that take some of its paths."""
        method, shape = item.operation.method, shape_of(item.form.template)
        told: set[int] = set()
        hidden = True
        for path in self._candidates(item):
            self.seen.update(id(rules[method]) for rules in self._policy.table.matches(path) if method in rules)
            owner = self._document.find(path, method)
            if not isinstance(owner, Route) or shape_of(owner.template) != shape:
                continue  # the document says that a more specific template counts here
            hidden = False
            route = self._policy.table.find(path, method)
            if isinstance(route, Route) and id(route) not in told:
                told.add(id(route))
                yield route
        if hidden:
            self.hidden.add(id(item))

    def _candidates(self, item: Placed) -> Iterator[str]:
        path = item.form.example(self._fresh)
        yield path
        if item.form.template.endswith(REST):
            yield f"{path}/{self._fresh}"
            yield path.rpartition("/")[0] or "/"
        elif not item.form.wider:
            return
        pattern = re.compile(item.form.pattern, re.IGNORECASE if self._policy.ignore_case else 0)
        for route in self._policy.routes:
            if item.operation.method in taken(route.methods):
                path = "/" + "/".join(self._fresh if is_name(part) or part == REST else part for part in segments(route.template))
                if pattern.fullmatch(path):
                    yield path


def _homes(policy: Policy, areas: Areas, rules: list[tuple[Placed, list[Route]]]) -> dict[str, set[str]]:
    """The scopes that an area may be reached by: those named for it by id, title or resource, else the one that most of its operations ask for."""
    homes: dict[str, set[str]] = {}
    votes: dict[str, Counter[str]] = {}
    for item, routes in rules:
        scopes = [route.scope.id for route in routes if route.scope]
        votes.setdefault(areas.of(item.operation), Counter()).update(scopes[:1])
    for area, scope_id in areas.ids.items():
        names = {area.casefold(), title_of(area).casefold()}
        named = {
            scope.id
            for scope in policy.scopes.values()
            if scope.id == scope_id or scope.title.casefold() in names or names & {resource.casefold() for resource in scope.resources}
        }
        most = votes.get(area, Counter()).most_common(1)
        homes[area] = named or {scope for scope, _ in most}
    return homes
