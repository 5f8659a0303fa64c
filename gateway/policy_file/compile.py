"""From a document to a Policy. What concerns several items is judged here: unknown scopes, scopes without a route, routes that can't be told apart.

An item with a fault of its own is left out of this judgement, so that one mistake is told once, and all others with it.
"""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from gateway.core.policy import Policy
from gateway.core.route import METHODS, RateLimit, Route
from gateway.core.route_table import RouteTable, ordered, taken
from gateway.core.route_template import is_name, segments
from gateway.core.scope import ACCESS_LEVELS, SCOPE_ID, Scope
from gateway.policy_file.document import KEY, Document, Fault, Path_
from gateway.policy_file.expectations import Expectation, expectation
from gateway.policy_file.model import PathsModel, PolicyModel, RouteModel, ScopeModel, TestModel, TokensModel, unmapped_entry
from gateway.policy_file.model_faults import model_faults, place

SEGMENTS: Final = 100_000  # 10,000 routes of ten; each may cost every process half a kilobyte, and a reload 30 µs

_Item = TypeVar("_Item", bound=BaseModel)


class Compiled(NamedTuple):
    """A policy with its own tests, which have not been run."""

    policy: Policy
    expectations: tuple[Expectation, ...]


def compile_policy(document: Document, name: str, digest: str) -> tuple[Compiled, list[Fault]]:
    """The policy of a document, and every fault found. With faults the policy is incomplete: it serves only to tell them."""
    work = _Compiler(document, name)
    return work.run(digest), work.faults


class _Compiler:
    def __init__(self, document: Document, name: str) -> None:
        self.document = document
        self.name = name
        self.data: dict[str, Any] = document.data if isinstance(document.data, dict) else {}
        self.faults: list[Fault] = []
        self.broken: set[Path_] = set()  # the items that have a fault of their own
        try:
            PolicyModel.model_validate(document.data)
        except ValidationError as error:
            self.faults += model_faults(error, document, name, PolicyModel)
            self.broken = {details["loc"][:2] for details in error.errors(include_url=False)}

    def run(self, digest: str) -> Compiled:
        scopes = self._scopes()
        ignore_case = self._section("paths", PathsModel).ignore_case
        report = self.data.get("enforcement") == "report"
        routes = self._routes(scopes, report=report) + self._unmapped(report=report)
        self._told_apart(routes, ignore_case=ignore_case)
        if sum(len(segments(route.template)) for _, route in routes) > SEGMENTS:
            self._fault(("routes",), f"the templates hold more than {SEGMENTS:,} segments in all: put ** in place of the ends of those that share a scope")
            routes = []
        if ignore_case:
            self._ascii_only(routes)
        self._all_used(scopes)
        expectations = self._expectations(scopes)
        tokens = self._section("tokens", TokensModel)
        only = tuple(route for _, route in routes)
        policy = Policy(
            self.name,
            digest,
            scopes,
            only,
            RouteTable(only, ignore_case=ignore_case),
            tokens.default_expiry_days,
            tokens.max_expiry_days,
            tokens.max_per_owner,
            ignore_case,
            report,
        )
        return Compiled(policy, expectations)

    def _fault(self, path: Path_, message: str) -> None:
        self.faults.append(place(self.document, self.name, path, message))

    def _line(self, path: Path_) -> int:
        return self.document.places.get(path, (0, 0))[0]

    def _section(self, key: str, model: type[_Item]) -> _Item:
        """A mapping of the top level, or its defaults where it has a fault."""
        sound = key in self.data and not any(path[:1] == (key,) for path in self.broken)
        return model.model_validate(self.data[key]) if sound else model()

    def _list(self, key: str) -> Iterator[tuple[Path_, object]]:
        """The sound items of a list of the top level, with their paths."""
        items = self.data.get(key)
        for index, item in enumerate(items if isinstance(items, list) else []):
            if (key, index) not in self.broken:
                yield (key, index), item

    def _named(self, key: str) -> dict[str, object]:
        items = self.data.get(key)
        return items if isinstance(items, dict) else {}

    def _scopes(self) -> dict[str, Scope]:
        """By id. One with a fault of its own is there too, by its id alone, so that routes which name it are not blamed."""
        scopes: dict[str, Scope] = {}
        former: dict[str, Path_] = {}
        named = self._named("scopes")
        for scope_id, item in named.items():
            path: Path_ = ("scopes", scope_id)
            if path in self.broken:
                scopes[scope_id] = Scope(scope_id, scope_id)
                continue
            model = ScopeModel.model_validate(item)
            for index, old in enumerate(model.was):
                if old in named:
                    self._fault((*path, "was", index), f"was: {old!r} is a scope of this policy: a former id can't be a present one")
                elif old in former:
                    self._fault(
                        (*path, "was", index), f"was: {old!r} is claimed in line {self._line(former[old])} already: only one scope can take its grants over"
                    )
                else:
                    former[old] = (*path, "was", index)
            since = int(dt.datetime.combine(model.since, dt.time(), dt.UTC).timestamp()) * 1000 if model.since else 0
            scopes[scope_id] = Scope(scope_id, model.title or scope_id, tuple(model.resources), since, tuple(model.was))
        return scopes

    def _routes(self, scopes: dict[str, Scope], *, report: bool) -> list[tuple[Path_, Route]]:
        routes: list[tuple[Path_, Route]] = []
        for path, item in self._list("routes"):
            model = RouteModel.model_validate(item)
            scope = scopes.get(model.scope) if model.scope else None
            if model.scope and not scope:
                self._unknown_scope((*path, "scope"), f"scope: {model.scope!r}", model.scope, list(scopes))
            limit = RateLimit(model.rate_limit.requests, model.rate_limit.per) if model.rate_limit else None
            routes.append(
                (
                    path,
                    Route(
                        template=model.path,
                        methods=ordered(model.methods or METHODS),
                        scope=scope,
                        access=ACCESS_LEVELS[model.access] if model.access else 0,
                        public=model.public,
                        resource=model.resource or "",
                        upstream=model.upstream or "",
                        rate_limit=limit,
                        timeout_s=model.timeout / 1000 if model.timeout else None,
                        max_body=model.max_body,
                        stream=model.stream,
                        encoded_slash=model.encoded_slash,
                        report=model.enforcement == "report" if model.enforcement else report,
                        line=self._line(path),
                    ),
                )
            )
        return routes

    def _unmapped(self, *, report: bool) -> list[tuple[Path_, Route]]:
        routes: list[tuple[Path_, Route]] = []
        for path, item in self._list("unmapped"):
            method, template = unmapped_entry(str(item))
            routes.append((path, Route(template=template, methods=(method,), scope=None, unmapped=True, report=report, line=self._line(path))))
        return routes

    def _told_apart(self, routes: list[tuple[Path_, Route]], *, ignore_case: bool) -> None:
        """No two entries may claim one method of one shape: which of them counts would depend on their order."""
        seen: dict[tuple[str, ...], dict[str, Route]] = {}
        for path, route in routes:
            shape = tuple("{}" if is_name(part) else part.lower() if ignore_case else part for part in segments(route.template))
            claimed = seen.setdefault(shape, {})
            both = [method for method in taken(route.methods) if method in claimed]
            if both:
                other = claimed[both[0]]
                also = "" if route.template == other.template else f" ({other.template} there)"
                self._fault(path, f"line {route.line} and line {other.line} can't be told apart: both claim {ordered(both)[0]} {route.template}{also}")
            for method in taken(route.methods):
                claimed.setdefault(method, route)

    def _ascii_only(self, routes: list[tuple[Path_, Route]]) -> None:
        for path, route in routes:
            if any(code >= "8" for code in (part[:1] for part in route.template.split("%")[1:])):
                self._fault(path, f"{route.template}: paths.ignore_case knows the case of ASCII letters only, and this literal holds others")

    def _all_used(self, scopes: dict[str, Scope]) -> None:
        """A scope without a route grants nothing, so a token that lists it deceives its owner."""
        routes = self.data.get("routes")
        if not isinstance(routes, list):
            return
        if not all(isinstance(item, dict) and item.keys() & {"scope", "public"} for item in routes):
            return  # a route that does not get as far as naming its scope may be the one
        used = {item.get("scope") for item in routes if isinstance(item, dict)}
        for scope_id in scopes:
            if scope_id not in used and SCOPE_ID.match(scope_id):
                self._fault(("scopes", scope_id, KEY), f"scope {scope_id!r} has no route: map one to it, or remove it")

    def _expectations(self, scopes: dict[str, Scope]) -> tuple[Expectation, ...]:
        known = {*scopes, *(old for scope in scopes.values() for old in scope.was)}
        found: list[Expectation] = []
        for path, item in self._list("tests"):
            test = expectation(TestModel.model_validate(item), *self.document.places.get(path, (0, 0)))
            found.append(test)
            for index, grant in enumerate(TestModel.model_validate(item).grants):
                scope_id = grant.partition(":")[0]
                if scope_id not in known:
                    self._unknown_scope((*path, "grants", index), f"grants: {grant!r}", scope_id, list(scopes))
        return tuple(found)

    def _unknown_scope(self, path: Path_, what: str, scope_id: str, known: list[str]) -> None:
        near = difflib.get_close_matches(scope_id, known, 1)
        hint = f": did you mean {near[0]!r}?" if near else f": known are {', '.join(known)}" if known else ""
        self._fault(path, f"{what} is no scope of this policy{hint}")
