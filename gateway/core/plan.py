"""What a change of policy does, before it is applied: by rules, by scopes, and by requests.

A policy's lines do not tell its effect: a narrow template that goes leaves its paths to a wider one, and a new one takes paths away. So the two policies are
compared by the requests that they decide differently: for each pair of rules that decide some path, by the paths of ``route_shape``, asked of the tables that
decide on the wire. ``plan(b, a)`` is ``plan(a, b)`` with its sides changed.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from gateway.core.authorize import check_grant, find_route
from gateway.core.decision import Denial
from gateway.core.path import CanonicalPath
from gateway.core.policy import Policy
from gateway.core.route import METHODS, Route
from gateway.core.route_shape import Form, Forms, Shape, shapes_of, unnamed
from gateway.core.route_template import REST, segments
from gateway.core.scope import ACCESS_NAMES, GrantSet, Scope

WEBSOCKET: Final = "WEBSOCKET"  # told like a method: an upgrade asks for manage where a plain GET asks for view
ENCODED_SLASH: Final = "with an encoded slash"
ANY_OTHER: Final = "any other"  # method
NO_RULE: Final = "that no rule takes"
NOWHERE: Final = "/{_}" * 70  # a path longer than any template is, of segments that are no literal
OTHER_CASE: Final = "in other letter case"


class Ask(NamedTuple):
    """What a policy asks of a request. ``kind`` is "scope", "public", "reported" or "refused". ``ids`` are the scope's id and its former ones, ``since_ms``
    is its `since`, ``level`` VIEW or MANAGE. Equal ones let the same tokens through."""

    kind: str
    scope: str = ""
    level: int = 0
    ids: frozenset[str] = frozenset()
    since_ms: int = 0

    def __str__(self) -> str:
        return f"{self.scope}:{ACCESS_NAMES[self.level]}" if self.kind == "scope" else self.kind


_Asked = tuple[Ask, Ask]  # by the old policy, by the new one
REFUSED: Final = Ask("refused")
PUBLIC: Final = Ask("public")
REPORTED: Final = Ask("reported")  # whom it would refuse is forwarded and logged


class Rule(NamedTuple):
    """The rule that decides a request, None where no rule takes it, and what it asks."""

    route: Route | None
    ask: Ask

    def lets(self, method: str, grants: GrantSet, created_ms: int) -> bool:
        """Whether a living token with these grants, made at ``created_ms`` (Unix milliseconds), passes: the decision of the wire."""
        if self.ask == REPORTED:
            return True
        if self.route is None or self.ask == REFUSED:
            return False
        name, websocket = as_sent(method)
        return check_grant(self.route, grants, created_ms, name, websocket=websocket) is None


class Setting(NamedTuple):
    """Something of a route or of the policy that has no say in who may call it, "" where it is not set."""

    name: str
    old: str
    new: str


class Change(NamedTuple):
    """Requests that are decided by other terms: all those of the template ``shape`` that the two rules decide. ``only`` narrows them ("" if it does not);
    ``example`` is one of their paths. ``settings`` are compared where both policies let the request through."""

    shape: str
    methods: tuple[str, ...]
    only: str
    old: Rule
    new: Rule
    settings: tuple[Setting, ...]
    example: str

    @property
    def access_differs(self) -> bool:
        """Whether more than settings differs."""
        return self.old.ask != self.new.ask


class RuleChange(NamedTuple):
    """A rule of one policy's file that the other has not, or has in other words. One of the two is None where it was added or removed."""

    methods: tuple[str, ...]
    old: Route | None
    new: Route | None
    settings: tuple[Setting, ...] = ()

    @property
    def template(self) -> str:
        """As the new policy writes it, or else the old one."""
        route = self.new or self.old
        return route.template if route else ""


class Plan(NamedTuple):
    """All that differs between two policies. Scopes that differ are by id, as they were and as they are."""

    rules: tuple[RuleChange, ...]
    changes: tuple[Change, ...]
    scopes: tuple[tuple[Scope | None, Scope | None], ...]
    settings: tuple[Setting, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the two policies say the same."""
        return not any(self)


def plan(old: Policy, new: Policy) -> Plan:
    """What differs when ``new`` takes the place of ``old``."""
    return Plan(tuple(_rules(old, new)), tuple(_changes(old, new)), tuple(_scopes(old, new)), tuple(_policy_settings(old, new)))


def ask_of(found: Route | Denial | None, method: str, policy: Policy) -> Ask:
    """What a route asks of a request with this method (WEBSOCKET for an upgrade); anything else refuses it, unless the policy only reports."""
    if not isinstance(found, Route) or found.unmapped:
        ambiguous = isinstance(found, Denial) and found.reason.code == "path_ambiguous"
        return REPORTED if policy.report and not ambiguous else REFUSED
    if found.report:
        return REPORTED
    scope = found.scope
    if scope is None:
        return PUBLIC
    name, websocket = as_sent(method)
    return Ask("scope", scope.id, found.needs(name, websocket=websocket), frozenset((scope.id, *scope.was)), scope.since_ms)


def as_sent(method: str) -> tuple[str, bool]:
    """The method of a request, and whether it is a WebSocket upgrade, which is always a GET."""
    return ("GET", True) if method == WEBSOCKET else (method, False)


def in_words(route: Route) -> str:
    """What a rule asks, as its line in the file says it."""
    if route.scope is None:
        return "left out" if route.unmapped else "public"
    return f"{route.scope.id}:{ACCESS_NAMES[route.access]}" if route.access else route.scope.id


def scope_in_words(scope: Scope) -> str:
    """What a scope says of older tokens, "" if nothing."""
    told = [f"since {_day(scope.since_ms)}"] if scope.since_ms else []
    return ", ".join([*told, *([f"was {' '.join(scope.was)}"] if scope.was else [])])


def _changes(old: Policy, new: Policy) -> list[Change]:
    forms = Forms(old, new)
    none = Shape((REST,), {})
    pairs: Iterator[tuple[Shape, Shape]] = itertools.chain(
        ((one, other) for one in forms.old.values() for other in forms.met_by(one)),
        ((one, none) for one in forms.old.values()),
        ((none, other) for other in forms.new.values()),
    )
    found = _Changes(old, new)
    for one, other in pairs:
        found.compare(one, other, forms.between(one.parts, other.parts))
    if old.report != new.report:
        found.note_unmapped()
    return sorted(found.changes(), key=lambda change: (change.shape, change.only, [_place(method) for method in change.methods], change.example))


class _Changes:
    """Gathers the changes; those that differ by the method alone are one."""

    def __init__(self, old: Policy, new: Policy) -> None:
        self._policies = (old, new)
        self._terms: dict[tuple[int, bool], set[tuple[object, ...]]] = {}  # by the id of a shape, which lives as long as this
        self._found: dict[Change, list[str]] = {}

    def changes(self) -> Iterator[Change]:
        for change, methods in self._found.items():
            yield change._replace(methods=tuple(sorted(methods, key=_place)))

    def compare(self, one: Shape, other: Shape, forms: Iterable[Form]) -> None:
        """Note where two shapes win, one in each policy, and say different things. A shape without routes stands for no rule at all."""
        alike = self._terms_of(one, self._policies[0])
        if len(alike) == 1 and alike == self._terms_of(other, self._policies[1]):
            return
        todo = {
            method: (one.routes.get(method), other.routes.get(method))
            for method in (one.routes or other.routes)
            if not (one.routes and other.routes) or method in other.routes
        }
        todo = {method: routes for method, routes in todo.items() if self._differ(*routes)}
        if not todo:
            return
        for form in forms:
            won = [method for method, routes in todo.items() if self._compare(method, routes, form)]
            if form.deep:
                for method in won:
                    del todo[method]
                if not todo:
                    return

    def note_unmapped(self) -> None:
        """Of two policies one only reports what no rule takes: that is no rule's change, and yet all its requests are decided otherwise."""
        for method in (*METHODS, ANY_OTHER, WEBSOCKET):
            if any(_winner(policy, NOWHERE, as_sent(method)[0]) for policy in self._policies):
                continue  # a rule takes every path
            old, new = (Rule(None, ask_of(None, method, policy)) for policy in self._policies)
            self._found.setdefault(Change("/**", (), NO_RULE, old, new, (), NOWHERE), []).append(method)

    def _differ(self, old: Route | None, new: Route | None) -> bool:
        was, now = self._policies
        return _terms(old, report=was.report) != _terms(new, report=now.report)

    def _terms_of(self, shape: Shape, policy: Policy) -> set[tuple[object, ...]]:
        """What the routes of a policy's shape say, which many pairs ask for."""
        key = (id(shape), policy.report)
        known = self._terms.get(key)
        if known is None:
            routes = shape.routes.values() or [None]
            known = self._terms[key] = {_terms(route, report=policy.report) for route in routes}
        return known

    def _compare(self, method: str, routes: tuple[Route | None, Route | None], form: Form) -> bool:
        """Whether these two routes decide the form's paths; if so, how they differ is noted."""
        for index, path in enumerate(form.paths):
            if all(_winner(policy, path, method) is route for policy, route in zip(self._policies, routes, strict=True)):
                only = OTHER_CASE if _differs_in_case(path, form.template) else ""
                for name in (method, WEBSOCKET) if method == "GET" else (method,):
                    asked = self._note(name, routes, form.template, only, path)
                    if form.encoded:
                        self._note(name, routes, form.template, ENCODED_SLASH, form.encoded[index], known=asked)
                return True  # the two ask the same of the form's other paths
        return False

    def _note(self, method: str, routes: tuple[Route | None, Route | None], shape: str, only: str, path: str, known: _Asked | None = None) -> _Asked:
        """Note what differs for one path. ``known`` is what is asked for the same path without an encoded slash: it is not told twice."""
        old, new = (_rule(policy, route, path, method) for policy, route in zip(self._policies, routes, strict=True))
        asked = (old.ask, new.ask)
        settings = _settings(old.route, new.route) if old.route and new.route and REFUSED not in asked else ()
        if asked != known and (old.ask != new.ask or settings):
            self._found.setdefault(Change(shape, (), only, old, new, settings, path), []).append(method)
        return asked


def _rule(policy: Policy, route: Route | None, path: str, method: str) -> Rule:
    """What the route that wins for a path asks; it may refuse the path for an encoded slash."""
    found = find_route(policy, CanonicalPath(path, "", "%2F" in path), as_sent(method)[0]) if route or policy.report else None
    return Rule(route, ask_of(found, method, policy))


def _winner(policy: Policy, path: str, method: str) -> Route | None:
    found = policy.table.find(path, method)
    return found if isinstance(found, Route) else None


def _differs_in_case(path: str, template: str) -> bool:
    return any(part != given and part.lower() == given.lower() for part, given in zip(segments(template), segments(path), strict=False))


def _terms(route: Route | None, *, report: bool) -> tuple[object, ...]:
    """All that a route of a policy says of its requests: routes of equal terms decide alike. ``report``: the policy only reports what none takes."""
    if route is None or route.unmapped:
        return (report,)
    scope = (route.scope.id, route.scope.since_ms, frozenset(route.scope.was)) if route.scope else None
    return (scope, route.access, route.report, route.encoded_slash, *_set(route).values())


def _set(route: Route) -> dict[str, str]:
    """The settings that have no say in who may call, as people write them."""
    limit = route.rate_limit
    return {
        "upstream": route.upstream,
        "rate_limit": f"{limit.requests} per {limit.period_ms / 1000:g}s" if limit else "",
        "timeout": "" if route.timeout_s is None else f"{route.timeout_s:g}s",
        "max_body": "" if route.max_body is None else f"{route.max_body}B",
        "stream": "true" if route.stream else "",
        "encoded_slash": "true" if route.encoded_slash else "",
    }


def _settings(old: Route, new: Route) -> tuple[Setting, ...]:
    before, after = _set(old), _set(new)
    return tuple(Setting(name, before[name], after[name]) for name in before if before[name] != after[name])


def _place(method: str) -> tuple[int, str]:
    """The order in which methods are told; WEBSOCKET comes last."""
    return (METHODS.index(method), "") if method in METHODS else (len(METHODS) + (method == WEBSOCKET), method)


def _rules(old: Policy, new: Policy) -> list[RuleChange]:
    alike = old.ignore_case and new.ignore_case
    before, after = ({unnamed(shape.parts, ignore_case=alike): shape for shape in shapes_of(policy).values()} for policy in (old, new))
    none = Shape((), {})
    found: dict[tuple[Route | None, Route | None], list[str]] = {}
    for key in sorted(before.keys() | after.keys()):
        one, other = before.get(key, none).routes, after.get(key, none).routes
        for method in sorted(one.keys() | other.keys(), key=_place):
            pair = (one.get(method), other.get(method))
            if None in pair or _terms(pair[0], report=False) != _terms(pair[1], report=False):
                found.setdefault(pair, []).append(method)
    return [RuleChange(tuple(methods), was, now, _settings(was, now) if was and now else ()) for (was, now), methods in found.items()]


def _scopes(old: Policy, new: Policy) -> Iterator[tuple[Scope | None, Scope | None]]:
    for scope_id in sorted(old.scopes.keys() | new.scopes.keys()):
        was, now = old.scopes.get(scope_id), new.scopes.get(scope_id)
        if was is None or now is None or (was.since_ms, frozenset(was.was)) != (now.since_ms, frozenset(now.was)):
            yield was, now


def _policy_settings(old: Policy, new: Policy) -> Iterator[Setting]:
    names = ("tokens.default_expiry_days", "tokens.max_expiry_days", "tokens.max_per_owner", "paths.ignore_case", "enforcement")
    told = (
        (policy.default_expiry_days, policy.max_expiry_days, policy.max_per_owner, str(policy.ignore_case).lower(), "report" if policy.report else "enforce")
        for policy in (old, new)
    )
    for name, was, now in zip(names, *told, strict=True):
        if was != now:
            yield Setting(name, str(was), str(now))


def _day(ms: int) -> str:
    return dt.datetime.fromtimestamp(ms // 1000, dt.UTC).date().isoformat()
