from __future__ import annotations

import pytest

from gateway.policy_file.advice import advice
from gateway.policy_file.load import parse_policy


def told(*routes: str, more: str = "") -> list[str]:
    text = "version: 1\nscopes: {a: {}, b: {resources: [X]}}\nroutes:\n  - {path: /a/**, scope: a}\n  - {path: /b, scope: b}\n"
    return [str(fault) for fault in advice(parse_policy(text + "".join(f"  - {route}\n" for route in routes) + more, "p"))]


@pytest.mark.parametrize(
    "route",
    ["{path: /a/secret, scope: b}", "{path: /a/secret, scope: a, access: manage, methods: [GET]}", '{path: "/a/{id}/secret", methods: [PUT], scope: b}'],
)
def test_carve_out_that_letter_case_or_an_ending_would_miss_is_told(route: str) -> None:
    case, ending = told(route)
    assert case.startswith("p:6:1: ")
    assert "SECRET would miss it by letter case and fall to /a/** (line 4)" in case
    assert "secret.json would miss it by a .json ending and fall to /a/** (line 4)" in ending


def test_entry_left_out_under_a_wider_route_is_told() -> None:
    case, ending = told(more='unmapped: ["GET /a/{id}/x1"]\n')
    assert case == (
        "p:6:1: GET /a/{id}/x1 is left out, but /a/{id}/X1 would miss it by letter case and fall to /a/** (line 4), which asks for a:view: "
        "check that the upstream takes the two for different paths, or set paths: {ignore_case: true}"
    )
    assert "/a/{id}/x1.json" in ending


def test_ignoring_case_covers_the_case_but_not_the_ending() -> None:
    (ending,) = told("{path: /a/secret, scope: b}", more="paths: {ignore_case: true}\n")
    assert "a .json ending" in ending


def test_carve_out_under_a_public_route_is_told() -> None:
    assert len(told("{path: /p/**, public: true}", "{path: /p/secret, scope: b}")) == 2


@pytest.mark.parametrize(
    "route",
    [
        "{path: /a/search, methods: [POST], scope: a, access: view}",  # missing it asks for more
        "{path: /a/open, public: true}",
        "{path: /c/secret, scope: b}",  # nothing wider
        '{path: "/a/**", methods: [PROPFIND], scope: b}',  # nothing wider takes the method
    ],
)
def test_no_warning_where_a_miss_opens_nothing(route: str) -> None:
    assert told(route) == []


def test_resource_that_the_scope_does_not_list_is_told() -> None:
    assert told("{path: /c, scope: b, resource: X}") == []
    assert told("{path: /c, scope: b, resource: Y}") == ["p:6:1: resource 'Y' of /c is not listed by scope 'b' (it lists X)"]
