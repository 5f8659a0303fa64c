from __future__ import annotations

import datetime as dt

import pytest

from gateway.core.decision import denied
from gateway.core.explain import explain
from gateway.core.scope import parse_grants
from gateway.policy_file.load import parse_policy

POLICY = parse_policy(
    """
version: 1
scopes:
  worklogs: {}
  plans: {since: 2026-03-01, was: [planning]}
routes:
  - {path: /4/worklogs/**, scope: worklogs}
  - {path: /4/worklogs/search, methods: [POST], scope: worklogs, access: view}
  - {path: /4/plans/**, scope: plans}
  - {path: /4/status, methods: [GET], public: true}
  - {path: "/4/files/{name}", methods: [GET], scope: worklogs, encoded_slash: true}
unmapped: [GET /4/worklogs/hidden]
""",
    "p.yaml",
)
BEFORE_MARCH = int(dt.datetime(2026, 2, 28, 23, 59, 59, tzinfo=dt.UTC).timestamp() * 1000)
MARCH = int(dt.datetime(2026, 3, 1, tzinfo=dt.UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("request_", "grants", "facts"),
    [
        ("GET /4/worklogs/1?x=/../y", "worklogs:view", ("allow", None, "/4/worklogs/**", "worklogs", "view", [])),
        ("POST /4/worklogs/1", "worklogs:view", ("deny", "scope_missing", "/4/worklogs/**", "worklogs", "manage", ["worklogs:manage"])),
        ("POST /4/worklogs/search", "worklogs:view", ("allow", None, "/4/worklogs/search", "worklogs", "view", [])),
        ("GET /4/plans", "worklogs", ("deny", "scope_missing", "/4/plans/**", "plans", "view", ["plans:view"])),
        ("GET /4/plans", "planning:view", ("allow", None, "/4/plans/**", "plans", "view", [])),
        ("GET /4/status", "", ("allow", None, "/4/status", None, None, [])),
        ("PUT /4/status", "worklogs", ("deny", "method_not_allowed", None, None, None, [])),
        ("GET /4/worklogs/hidden", "worklogs", ("deny", "route_unmapped", "/4/worklogs/hidden", None, None, [])),
        ("GET /nowhere", "worklogs", ("deny", "route_unmapped", None, None, None, [])),
        ("GET /4/worklogs/../plans", "worklogs", ("deny", "path_ambiguous", None, None, None, [])),
        ("GET /4/worklogs/a%2Fb", "worklogs", ("deny", "path_ambiguous", None, None, None, [])),
        ("GET /4/files/a%2Fb", "worklogs", ("allow", None, "/4/files/{name}", "worklogs", "view", [])),
        ("GET /4/files/..%2Fb", "worklogs", ("deny", "path_ambiguous", None, None, None, [])),
        ("TRACE /4/status", "worklogs", ("deny", "method_not_allowed", None, None, None, [])),
        ("TRACE /nowhere", "worklogs", ("deny", "method_not_allowed", None, None, None, [])),
        ("CONNECT api.example.com:443", "worklogs", ("deny", "method_not_allowed", None, None, None, [])),
    ],
)
def test_explanation_names_the_decision_and_its_facts(request_: str, grants: str, facts: tuple[object, ...]) -> None:
    method, target = request_.split(" ")
    held = parse_grants(grants.split())
    decision, code, route, scope, access, missing = facts
    told = explain(POLICY, method, target, held).facts()
    assert told["forwarded"] == (decision == "allow")
    assert {name: told[name] for name in ("decision", "code", "route", "scope", "access", "granted", "missing")} == {
        "decision": decision,
        "code": code,
        "route": route,
        "scope": scope,
        "access": access,
        "granted": held.text.split(),
        "missing": missing,
    }


def test_since_counts_from_midnight_utc() -> None:
    held = parse_grants(["plans", "planning"])
    assert explain(POLICY, "GET", "/4/plans", held, BEFORE_MARCH).code == "scope_missing"
    assert explain(POLICY, "GET", "/4/plans", held, MARCH).decision == "allow"


def test_other_rules_are_told_with_why_they_were_not_taken() -> None:
    held = parse_grants(["worklogs"])
    asked = explain(POLICY, "POST", "/4/worklogs/search", held)
    assert [(route.template, why) for route, why in asked.tried] == [("/4/worklogs/**", "is less specific")]
    asked = explain(POLICY, "DELETE", "/4/worklogs/search", held)
    assert [(route.template, why) for route, why in asked.tried] == [("/4/worklogs/search", "takes only POST")]
    asked = explain(POLICY, "PUT", "/4/status", held)
    assert [(route.template, why) for route, why in asked.tried] == [("/4/status", "takes only GET, HEAD")]
    asked = explain(POLICY, "GET", "/4/worklogs/a%2Fb", held)
    assert [(route.template, why) for route, why in asked.tried] == [("/4/worklogs/**", "does not take an encoded slash")]


def test_ended_token_is_refused_before_its_grants_but_not_on_a_public_route() -> None:
    held = parse_grants(["worklogs"])
    ended = denied("token_revoked", "The token is revoked.")
    assert explain(POLICY, "GET", "/4/worklogs", held, token_refusal=ended).code == "token_revoked"
    assert explain(POLICY, "GET", "/nowhere", held, token_refusal=ended).code == "token_revoked"
    assert explain(POLICY, "GET", "/4//worklogs", held, token_refusal=ended).code == "path_ambiguous"
    assert explain(POLICY, "GET", "/4/status", held, token_refusal=ended).decision == "allow"
