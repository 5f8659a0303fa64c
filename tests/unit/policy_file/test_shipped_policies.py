"""The policy for the Tempo-like API against the table of its 254 operations."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.core.authorize import check_grant, find_route
from gateway.core.decision import Denial
from gateway.core.explain import EVER_AFTER, explain
from gateway.core.path import CanonicalPath, canonicalise
from gateway.core.policy import Policy
from gateway.core.route import METHODS, Route
from gateway.core.scope import parse_grants
from gateway.policy_file.advice import advice
from gateway.policy_file.load import load_policy, parse_untested

ROOT = Path(__file__).parents[3]
TEMPO = ROOT / "policies" / "tempo.yaml"
SCOPES = {
    "worklogs": ("Worklogs", ("Worklogs", "Work Attributes")),
    "teams": ("Teams", ("Roles", "Teams", "Links", "Memberships")),
    "schemes": ("Schemes", ("Workload Schemes", "Holiday Schemes", "User Schedule")),
    "plans": ("Plans", ("Plans", "Programs")),
    "periods": ("Periods", ("Periods",)),
    "approvals": ("Approvals", ("Timesheet Approvals",)),
    "accounts": ("Accounts", ("Accounts", "Categories", "Category Types", "Links", "Customers")),
    "financial-manager": ("Financial Manager (Cost Tracker)", ("Projects", "Rates")),
}


class Operation(NamedTuple):
    method: str
    template: str
    scope: str
    access: str

    def sample(self, *, coded: bool = False) -> str:
        """A path of this operation. Account ids hold a colon, which clients send as it is or as a percent code."""

        def value(name: re.Match[str]) -> str:
            if name[0] == "{accountId}":
                return "712020%3A66c3b8a1-5f" if coded else "712020:66c3b8a1-5f"
            return {"{day}": "2026-11-25", "{currencyCode}": "EUR", "{key}": "ACME-1", "{accountKey}": "ACME-1"}.get(name[0], "4711")

        return re.sub(r"\{[^}]*\}", value, self.template)


TABLE = (ROOT / "tests" / "vectors" / "tempo_operations.tsv").read_text(encoding="utf-8")
OPERATIONS = [Operation(**row) for row in csv.DictReader(TABLE.splitlines(), delimiter="\t")]


@pytest.fixture(scope="module")
def tempo() -> Policy:
    return load_policy(TEMPO)


def matched(policy: Policy, method: str, target: str) -> Route | Denial:
    path = canonicalise(target)
    assert isinstance(path, CanonicalPath)
    return find_route(policy, path, method)


def test_table_holds_the_whole_api() -> None:
    assert len(OPERATIONS) == len(set(OPERATIONS)) == 254
    assert sum(operation.scope == "-" for operation in OPERATIONS) == 42
    assert sum(operation.method == "POST" and operation.access == "view" for operation in OPERATIONS) == 16


def test_scopes_are_the_eight_with_their_resources_in_order(tempo: Policy) -> None:
    assert {scope.id: (scope.title, scope.resources) for scope in tempo.scopes.values()} == SCOPES
    assert list(tempo.scopes) == list(SCOPES)


def test_every_resource_of_every_scope_has_a_route(tempo: Policy) -> None:
    used = {(route.scope.id, route.resource) for route in tempo.routes if route.scope}
    assert used == {(scope, resource) for scope, (_, resources) in SCOPES.items() for resource in resources}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: f"{operation.method} {operation.template}")
def test_operation_asks_for_its_scope_and_access(tempo: Policy, operation: Operation) -> None:
    everything = parse_grants(SCOPES)
    for target in (operation.sample(), operation.sample(coded=True), operation.sample() + "/", operation.sample() + "?offset=0&limit=50"):
        if operation.scope == "-":
            refused = explain(tempo, operation.method, target, everything)
            assert (refused.code, refused.route is not None and refused.route.unmapped) == ("route_unmapped", True)
            continue
        route = matched(tempo, operation.method, target)
        assert isinstance(route, Route)
        assert route.scope is not None
        assert route.scope.id == operation.scope

        def refusal(*grants: str, route: Route = route) -> str:
            denial = check_grant(route, parse_grants(grants), EVER_AFTER, operation.method)
            return denial.reason.code if denial else ""

        assert refusal(operation.scope) == ""
        assert refusal(f"{operation.scope}:view") == ("" if operation.access == "view" else "scope_missing")
        assert refusal(*(scope for scope in SCOPES if scope != operation.scope)) == "scope_missing"
        assert refusal() == "scope_missing"


def fits(operation: Operation, method: str, path: str) -> bool:
    parts, segments = operation.template.split("/"), path.split("/")
    takes = method == operation.method or (method == "HEAD" and operation.method == "GET")
    return takes and len(parts) == len(segments) and all(part == segment or part.startswith("{") for part, segment in zip(parts, segments, strict=True))


def test_nothing_beyond_the_table_is_opened(tempo: Policy) -> None:
    opened = []
    for operation in OPERATIONS:
        path = operation.sample()
        opened += [
            f"{method} {path}"
            for method in METHODS
            if isinstance(matched(tempo, method, path), Route) and not any(fits(other, method, path) for other in OPERATIONS)
        ]
        opened += [
            f"{method} {path}/x"
            for method in METHODS
            if isinstance(matched(tempo, method, path + "/x"), Route) and not any(fits(other, method, path + "/x") for other in OPERATIONS)
        ]
        opened += [f"{method} {path} (longer)" for method in METHODS if isinstance(matched(tempo, method, path + "/x/y/z"), Route)]
        opened += [f"{method} {path} (other version)" for method in METHODS if isinstance(matched(tempo, method, "/3" + path.removeprefix("/4")), Route)]
    assert opened == []


def test_no_template_is_wider_than_the_api(tempo: Policy) -> None:
    shapes = {re.sub(r"\{[^}]*\}", "{}", operation.template) for operation in OPERATIONS}
    assert {re.sub(r"\{[^}]*\}", "{}", route.template) for route in tempo.routes} == shapes


def test_own_tests_of_the_policy_cover_every_scope_and_verdict() -> None:
    tests = parse_untested(TEMPO.read_bytes(), "tempo").expectations
    assert {scope for test in tests for scope in test.grants.levels} == set(SCOPES)
    assert {test.expect for test in tests} == {"allow", "scope_missing", "route_unmapped", "method_not_allowed", "path_ambiguous"}


@pytest.mark.parametrize("file", sorted((ROOT / "policies").glob("*.yaml")), ids=lambda file: file.name)
def test_shipped_policy_loads_without_a_warning_that_matters(file: Path) -> None:
    assert advice(load_policy(file)) == []
