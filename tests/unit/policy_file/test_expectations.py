from __future__ import annotations

import pytest

from gateway.policy_file.expectations import expectation
from gateway.policy_file.load import parse_policy
from gateway.policy_file.model import TestModel

POLICY = parse_policy("version: 1\nscopes: {a: {}}\nroutes: [{path: /a, methods: [GET, PUT], scope: a}, {path: /p, public: true}]\nunmapped: [GET /u]\n", "p")


@pytest.mark.parametrize(
    ("request_", "grants", "verdict"),
    [
        ("GET /a", ["a:view"], "allow"),
        ("GET /a", [], "scope_missing"),
        ("PUT /a", ["a:view"], "scope_missing"),
        ("POST /a", ["a"], "method_not_allowed"),
        ("GET /u", ["a"], "route_unmapped"),
        ("GET /b", ["a"], "route_unmapped"),
        ("GET /a/../p", ["a"], "path_ambiguous"),
        ("GET /p?x", [], "allow"),
        ("CONNECT /p", [], "method_not_allowed"),
    ],
)
def test_expectation_holds_exactly_for_the_verdict_of_the_core(request_: str, grants: list[str], verdict: str) -> None:
    for expect in ("allow", "scope_missing", "route_unmapped", "method_not_allowed", "path_ambiguous"):
        told = expectation(TestModel(request=request_, grants=grants, expect=expect), 3, 5).broken_by(POLICY)  # type: ignore[arg-type]
        assert bool(told) == (expect != verdict)
        if told:
            assert told.endswith(f"expected {expect}, got {verdict}")
