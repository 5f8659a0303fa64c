"""What the API tells of the policy: the scopes that one may choose from, and the decision that a request would meet."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.cli.policy import policy_app
from gateway.core.explain import explain
from gateway.core.scope import parse_grants
from gateway.flow.issuance import Issuance
from gateway.management.policy import example
from gateway.policy_file.load import load_policy, parse_policy
from gateway.store.server import Store
from tests.flow.management_port import ISSUER, Port, management_port, user_jwt

TOKENS = "/api/v1/tokens"
TEMPO = Path(__file__).parents[2] / "policies" / "tempo.yaml"
POLICY = b"""\
version: 1
tokens: {default_expiry_days: 7, max_expiry_days: 90, max_per_owner: 5}
scopes:
  work: {title: Work, resources: [Logs, Attributes], was: [worklogs]}
  plans: {title: Plans, since: 2026-03-01}
  rates: {title: Rates}
  hidden: {title: Hidden}
routes:
  - {path: "/logs/{id}", scope: work}
  - {path: /logs, scope: work, methods: [POST]}
  - {path: /logs/search, scope: work, methods: [POST], access: view}
  - {path: /plans/**, scope: plans}
  - {path: /plans, methods: [GET], public: true}
  - {path: "/plans/{id}/parts", scope: plans}
  - {path: /rates, scope: rates, methods: [PUT]}
  - {path: /hidden/**, scope: hidden}
unmapped: ["GET /hidden", "POST /hidden", "PUT /hidden", "PATCH /hidden", "DELETE /hidden"]
"""


@pytest.fixture
async def port(store: Store) -> AsyncIterator[Port]:
    async with management_port(store, issuers=[ISSUER]) as running:
        running.policy = parse_policy(POLICY, "policy.yaml")
        yield running


async def test_the_scopes_are_told_in_the_policys_order_with_its_rules(port: Port) -> None:
    told = (await port.ask("GET", "/api/v1/scopes")).json
    assert told["policy"] == port.policy.hash
    assert told["tokens"] == {"default_expiry_days": 7, "max_expiry_days": 90, "max_per_owner": 5}
    assert [scope["id"] for scope in told["scopes"]] == ["work", "plans", "rates", "hidden"]
    assert told["scopes"][0] == {
        "id": "work",
        "title": "Work",
        "resources": ["Logs", "Attributes"],
        "since": None,
        "was": ["worklogs"],
        "grantable": "manage",
        "example": {"method": "GET", "path": "/logs/1"},
    }
    assert told["scopes"][1]["since"] == "2026-03-01"


async def test_a_user_is_told_what_it_may_grant_of_each(port: Port) -> None:
    """Seen to fail where everybody may grant all."""

    async def grantable(**claims: object) -> list[str | None]:
        answer = await port.ask("GET", "/api/v1/scopes", key=user_jwt("ana", **claims))
        return [scope["grantable"] for scope in answer.json["scopes"]]

    assert await grantable(grants=["work:view", "plans"]) == ["view", "manage", None, None]
    assert await grantable(grants="*") == ["manage"] * 4
    assert await grantable(grants=[]) == [None] * 4
    assert await grantable(grants=["work:view"], admin=True) == ["manage"] * 4


async def test_what_is_grantable_is_what_a_new_token_gets(port: Port) -> None:
    ana = user_jwt("ana", grants=["work:view", "plans"])
    scopes = (await port.ask("GET", "/api/v1/scopes", key=ana)).json["scopes"]
    token = (await port.ask("POST", TOKENS, {"name": "x", "access": "full"}, key=ana)).json["token"]
    assert token["grants"] == [f"{scope['id']}:{scope['grantable']}" for scope in scopes if scope["grantable"]]


def test_the_example_of_a_scope_is_a_request_that_its_token_may_make() -> None:
    """Seen to fail where the first route is taken: a public or a narrower one may take the path away."""
    policy = parse_policy(POLICY, "policy.yaml")
    examples = {scope.id: example(scope, policy) for scope in policy.scopes.values()}
    assert examples["rates"] == {"method": "PUT", "path": "/rates"}
    assert examples["plans"] == {"method": "GET", "path": "/plans/1/parts"}
    assert examples["hidden"] is None


def test_every_scope_of_the_sample_policy_has_an_example_that_viewing_is_enough_for() -> None:
    policy = load_policy(TEMPO)
    for scope in policy.scopes.values():
        told = example(scope, policy)
        assert told is not None
        assert explain(policy, told["method"], told["path"], parse_grants([f"{scope.id}:view"])).decision == "allow"


@pytest.mark.parametrize(
    ("method", "path", "grants"),
    [
        ("GET", "/4/worklogs", ["worklogs:view"]),
        ("POST", "/4/worklogs", ["worklogs:view"]),
        ("get", "/4/worklogs/1?x=1", []),
        ("GET", "/nowhere", ["worklogs"]),
        ("DELETE", "/4/worklogs/../teams", ["teams"]),
        ("TRACE", "/4/teams", ["teams"]),
        ("PUT", "/4/teams", ["teams:manage", "worklogs:view"]),
        ("GET", "/4/caf\u00e9", ["teams"]),
    ],
)
async def test_explain_says_what_the_command_says(port: Port, method: str, path: str, grants: list[str]) -> None:
    port.policy = load_policy(TEMPO)
    asked = await port.ask("POST", "/api/v1/explain", {"method": method, "path": path, "grants": grants})
    arguments = ["explain", method, path, "--policy", str(TEMPO), "--json", *(part for grant in grants for part in ("--grant", grant))]
    said = CliRunner().invoke(policy_app, arguments).stdout
    assert asked.json == json.loads(said)


async def test_explain_by_a_token_says_what_its_bearer_would_meet(port: Port) -> None:
    """Seen to fail where only the grants are looked at."""
    made = await port.make(grants=["work:view"])
    question = {"method": "GET", "path": "/logs/1", "token_id": made["token"]["id"]}
    asked = await port.ask("POST", "/api/v1/explain", question)
    assert asked.json == {
        "decision": "allow",
        "code": None,
        "route": "/logs/{id}",
        "scope": "work",
        "access": "view",
        "granted": ["work:view"],
        "missing": [],
        "detail": "The token holds work:view.",
        "forwarded": True,
        "rule": asked.json["rule"],
        "tried": [],
    }
    assert asked.json["rule"].endswith(" /logs/{id}")
    missing = await port.ask("POST", "/api/v1/explain", {**question, "method": "PUT"})
    assert (missing.json["code"], missing.json["missing"]) == ("scope_missing", ["work:manage"])
    await port.ask("POST", f"{TOKENS}/{made['token']['id']}/suspend")
    assert (await port.ask("POST", "/api/v1/explain", question)).json["code"] == "token_suspended"
    await port.ask("DELETE", f"{TOKENS}/{made['token']['id']}")
    assert (await port.ask("POST", "/api/v1/explain", question)).json["code"] == "token_revoked"


async def test_anothers_token_explains_nothing(port: Port) -> None:
    """Seen to fail where the token is read on the gateway's own behalf."""
    made = await port.ask("POST", TOKENS, {"name": "x", "grants": ["work"]}, key=user_jwt("ana"))
    question = {"method": "GET", "path": "/logs/1", "token_id": made.json["token"]["id"]}
    assert (await port.ask("POST", "/api/v1/explain", question, key=user_jwt("ana"))).json["decision"] == "allow"
    of_another = await port.ask("POST", "/api/v1/explain", question, key=user_jwt("ben"))
    of_nobody = await port.ask("POST", "/api/v1/explain", {**question, "token_id": "0" * 12}, key=user_jwt("ben"))
    for answer in (of_another, of_nobody):
        assert (answer.status, answer.json["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"method", "path"}),
        ({"method": "GOT", "path": ""}, {"method", "path"}),
        ({"method": 1, "path": 2, "grants": 3, "token_id": 4}, {"method", "path", "grants", "token_id"}),
        ({"method": "GET", "path": "/", "grants": ["nobody"]}, {"grants"}),
        ({"method": "GET", "path": "/", "grants": ["work:write"]}, {"grants"}),
        ({"method": "GET", "path": "/", "grants": ["work"], "token_id": "0" * 12}, {"grants", "token_id"}),
        ({"method": "GET", "path": "/" + "x" * 8192}, {"path"}),
        ({"method": "GET", "path": "/\ud800"}, {"path"}),
        ({"method": "GET", "path": "/", "token_id": None, "why": 1}, {"token_id", "why"}),
    ],
)
async def test_a_question_that_is_wrong_is_422_and_names_every_wrong_field(port: Port, body: dict[str, Any], fields: set[str]) -> None:
    answer = await port.ask("POST", "/api/v1/explain", body)
    assert answer.status == 422, answer.body
    assert {fault["field"] for fault in answer.json["errors"]} == fields


@pytest.mark.parametrize("owner", ["ana", "ana@example.com", "auth0|17", "a/b", "Zoë Ünal", "100%", "a b", "日本", "a+b", "a?b#c", "x" * 255])
async def test_all_tokens_of_one_who_leaves_are_ended_whatever_the_name(port: Port, issuance: Issuance, owner: str) -> None:
    """Seen to fail where the owner's name is taken as it stands in the path."""
    from urllib.parse import quote

    made = [(await port.make(owner=owner, grants=["work"]))["token"]["id"] for _ in range(3)]
    other = (await port.make(owner="other", grants=["work"]))["token"]["id"]
    await port.ask("DELETE", f"{TOKENS}/{made[0]}")
    answer = await port.ask("POST", f"/api/v1/owners/{quote(owner, safe='')}/revoke")
    assert answer.status == 200, answer.body
    assert (answer.json["owner"], sorted(answer.json["revoked"])) == (owner, sorted(made[1:]))
    assert {(await issuance.get(token_id)).state for token_id in made} == {"revoked"}
    assert (await issuance.get(other)).state == "active"
    again = await port.ask("POST", f"/api/v1/owners/{quote(owner, safe='')}/revoke")
    assert (again.status, again.json["revoked"]) == (200, [])


@pytest.mark.parametrize("owner", ["EXAMPLE\\ana", "{x}", "a{b", ".", "..", "%2e", "100%25", "revoke", "a/../b", "ana", "x" * 255])
async def test_a_subject_that_no_path_can_hold_is_named_in_the_body(port: Port, issuance: Issuance, owner: str) -> None:
    """As DOMAIN\\user of an Active Directory. Seen to fail with the path as the only way."""
    made = (await port.make(owner=owner, grants=["work"]))["token"]["id"]
    other = (await port.make(owner="other", grants=["work"]))["token"]["id"]
    answer = await port.ask("POST", "/api/v1/owners/revoke", {"owner": owner})
    assert answer.status == 200, answer.body
    assert (answer.json["owner"], answer.json["revoked"]) == (owner, [made])
    assert (await issuance.get(other)).state == "active"


@pytest.mark.parametrize("body", [None, {}, {"owner": ""}, {"owner": None}, {"owner": "x" * 256}, {"owner": " a"}, {"owner": "a\nb"}, {"owner": "a", "b": 1}])
async def test_a_body_that_names_no_owner_is_422(port: Port, body: object) -> None:
    answer = await port.ask("POST", "/api/v1/owners/revoke", body)
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "b" if body and "b" in body else "owner")  # type: ignore[operator]
    assert (await port.ask("POST", "/api/v1/owners/revoke", body, key=user_jwt("ana"))).json["code"] == "admin_only"


async def test_only_admins_end_all_tokens_of_an_owner_their_own_too(port: Port) -> None:
    await port.make(owner="ana", grants=["work"])
    for owner in ("ana", "ben", "nobody"):
        answer = await port.ask("POST", f"/api/v1/owners/{owner}/revoke", key=user_jwt("ana"))
        assert (answer.status, answer.json["code"]) == (403, "admin_only")
    assert (await port.ask("GET", TOKENS)).json["items"][0]["state"] == "active"
    assert (await port.ask("POST", "/api/v1/owners/ana/revoke", key=user_jwt("boss", admin=True))).json["owner"] == "ana"


@pytest.mark.parametrize("owner", ["x" * 256, "%20a", "a%0Ab", "%00"])
async def test_what_can_be_no_owner_is_refused(port: Port, owner: str) -> None:
    answer = await port.ask("POST", f"/api/v1/owners/{owner}/revoke")
    assert answer.status in {400, 422}
    assert answer.json["code"] in {"path_ambiguous", "invalid"}
