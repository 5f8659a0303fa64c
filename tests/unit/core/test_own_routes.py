"""The paths that the gateway answers itself."""

from __future__ import annotations

import pytest

from gateway.core.own_routes import is_under, own_policy


def test_three_paths_are_answered_and_none_of_them_is_reported_or_public() -> None:
    routes = own_policy("/.scopegate/").routes
    assert [(route.template, route.own) for route in routes] == [
        ("/.scopegate/me", "me"),
        ("/.scopegate/me/routes", "me/routes"),
        ("/.scopegate/me/openapi.json", "me/openapi.json"),
    ]
    assert not any(route.public or route.report or route.scope for route in routes)


def test_without_a_prefix_there_are_none() -> None:
    assert own_policy("").routes == ()


@pytest.mark.parametrize(
    ("template", "under"),
    [
        ("/.scopegate", True),
        ("/.scopegate/**", True),
        ("/.scopegate/me", True),
        ("/.scopegates", False),
        ("/{any}/me", False),
        ("/**", False),
        ("/.ScopeGate/me", False),
    ],
)
def test_a_template_is_under_the_prefix_where_only_such_paths_match_it(template: str, under: bool) -> None:
    assert is_under("/.scopegate/", template) == under
    assert not is_under("", template)


def test_where_the_policy_ignores_case_its_templates_are_under_it_in_any_case() -> None:
    assert is_under("/.scopegate/", "/.ScopeGate/me", ignore_case=True)
