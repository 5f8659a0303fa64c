from __future__ import annotations

import dataclasses

import pytest

from gateway.policy_file.load import parse_policy

TEXT = """
version: 1
scopes: {plans: {was: [planning]}}
routes: [{path: /plans, scope: plans}]
unmapped: [GET /skills]
"""


def test_policy_knows_present_and_former_scopes() -> None:
    policy = parse_policy(TEXT, "p.yaml")
    assert policy.knows("plans")
    assert policy.knows("planning")
    assert not policy.knows("skills")


def test_policy_does_not_change() -> None:
    policy = parse_policy(TEXT, "p.yaml")
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.max_per_owner = 1  # type: ignore[misc]


def test_routes_left_out_come_last_and_repr_is_short() -> None:
    policy = parse_policy(TEXT, "p.yaml")
    assert [(route.template, route.unmapped) for route in policy.routes] == [("/plans", False), ("/skills", True)]
    assert repr(policy) == f"Policy('p.yaml', hash='{policy.hash[:12]}', 1 scopes, 2 routes)"
