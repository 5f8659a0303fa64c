"""What a token may call, told beforehand. That it agrees with the decisions is held in tests/unit/openapi/test_cut.py by random policies."""

from __future__ import annotations

import pytest

from gateway.core.callable import access_held, callable_routes, may_call
from gateway.core.scope import parse_grants
from gateway.policy_file.load import parse_policy

POLICY = parse_policy(
    """\
version: 1
scopes:
  orders: {title: Orders, resources: [Orders, Parcels]}
  stock: {title: Stock, since: 2026-01-01}
  bills: {title: Bills, was: [invoices]}
routes:
  - {path: "/orders/**", scope: orders}
  - {path: /orders/search, methods: [POST], scope: orders, access: view, resource: Orders}
  - {path: /orders/all, methods: [DELETE], scope: bills}
  - {path: /stock, methods: [GET], scope: stock}
  - {path: "/bills/{id}", methods: [GET, PUT], scope: bills}
  - {path: /up, methods: [GET], public: true}
unmapped: [GET /orders/secret]
""",
    "policy.yaml",
)
OLD, NEW = 1_700_000_000_000, 1_800_000_000_000


def told(grants: str, created_ms: int = NEW) -> dict[object, object]:
    return {route["path"]: route["methods"] for route in callable_routes(POLICY, parse_grants(grants.split()), created_ms)}


@pytest.mark.parametrize(
    ("grants", "created_ms", "expected"),
    [
        ("", NEW, {"/up": ["GET", "HEAD"]}),
        ("orders:view", NEW, {"/orders/**": ["GET", "HEAD", "OPTIONS"], "/orders/search": ["POST"], "/up": ["GET", "HEAD"]}),
        ("stock", NEW, {"/stock": ["GET", "HEAD"], "/up": ["GET", "HEAD"]}),
        ("stock", OLD, {"/up": ["GET", "HEAD"]}),
        ("invoices:view", NEW, {"/bills/{id}": ["GET", "HEAD"], "/up": ["GET", "HEAD"]}),
        ("invoices", NEW, {"/orders/all": ["DELETE"], "/bills/{id}": ["GET", "HEAD", "PUT"], "/up": ["GET", "HEAD"]}),
    ],
)
def test_the_routes_are_those_of_the_grants_with_since_and_was(grants: str, created_ms: int, expected: dict[object, object]) -> None:
    assert told(grants, created_ms) == expected


def test_a_route_is_told_with_its_scope_what_is_held_of_it_and_its_resource() -> None:
    route = next(route for route in callable_routes(POLICY, parse_grants(["orders"]), NEW) if route["path"] == "/orders/search")
    assert route == {"path": "/orders/search", "methods": ["POST"], "scope": "orders", "access": "manage", "resource": "Orders", "public": False}


def test_what_is_left_out_on_purpose_is_never_named() -> None:
    assert "/orders/secret" not in told("orders stock bills")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/orders/1", True),
        ("GET", "/orders/secret", False),
        ("DELETE", "/orders/all", False),
        ("POST", "/up", False),
        ("HEAD", "/up", True),
        ("TRACE", "/orders/1", False),
        ("GET", "/orders/a%2Fb", False),
        ("GET", "/elsewhere", False),
    ],
)
def test_one_call_is_judged_as_a_request_would_be(method: str, path: str, allowed: bool) -> None:
    assert (may_call(POLICY, path, method, parse_grants(["orders"]), NEW) is not None) == allowed


def test_tokens_that_hold_the_same_are_told_apart_by_nothing() -> None:
    assert access_held(POLICY, parse_grants(["bills:view"]), OLD) == access_held(POLICY, parse_grants(["invoices:view", "stock"]), OLD) == (0, 0, 1)
