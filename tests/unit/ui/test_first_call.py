"""The request that a new token is tried with is one that it may make."""

from __future__ import annotations

from pathlib import Path

from gateway.core.explain import explain
from gateway.core.scope import parse_grants
from gateway.policy_file.load import parse_policy
from gateway.ui.first_call import first_calls

POLICY = """\
version: 1
scopes: {a: {title: A}, b: {title: B}, c: {title: C}}
routes:
  - {path: "/a/{id}", scope: a}
  - {path: "/a/list/all", methods: [GET], scope: a}
  - {path: "/a/all/**", scope: a}
  - {path: /b/search, methods: [POST], scope: b, access: view}
  - {path: "/c/{id}/rates", methods: [GET], scope: c}
  - {path: /c/strong, methods: [GET], scope: c, access: manage}
  - {path: /open, public: true}
"""


def test_it_needs_the_fewest_made_up_parts_and_no_more_than_view() -> None:
    assert first_calls(parse_policy(POLICY.encode(), "policy.yaml")) == {"a": "/a/all", "c": "/c/1/rates"}


def test_every_scope_of_the_shipped_policy_has_one_that_view_is_enough_for() -> None:
    policy = parse_policy((Path(__file__).parents[3] / "policies" / "tempo.yaml").read_bytes(), "tempo.yaml")
    calls = first_calls(policy)
    assert set(calls) == set(policy.scopes)
    assert [scope for scope, path in calls.items() if explain(policy, "GET", path, parse_grants([f"{scope}:view"])).decision != "allow"] == []
