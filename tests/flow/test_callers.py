"""Who calls the management port: users by JWT, browsers by a session; each sees its own tokens and no other."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping

import jwt
import pytest

from gateway.settings import JwtIssuer, Secret
from gateway.store.server import Store
from tests.flow.management_port import KEY, Port, management_port

TOKENS = "/api/v1/tokens"
SHARED = "a secret of thirty-two characters, shared with the product"
ISSUER = JwtIssuer("https://login.example", "scopegate", ("HS256",), "", "", Secret(SHARED), "sub", "admin", "grants")


@pytest.fixture
async def port(store: Store) -> AsyncIterator[Port]:
    async with management_port(store, issuers=[ISSUER]) as running:
        yield running


def user(subject: str, **claims: object) -> str:
    facts: Mapping[str, object] = {"iss": "https://login.example", "aud": "scopegate", "sub": subject, "exp": int(time.time()) + 60, "grants": "*", **claims}
    return jwt.encode(dict(facts), SHARED, "HS256")


async def test_a_user_owns_what_it_makes_and_nobody_else_sees_it(port: Port) -> None:
    made = await port.ask("POST", TOKENS, {"name": "mine", "grants": ["worklogs"]}, key=user("ana"))
    assert made.status == 201, made.body
    token = made.json["token"]
    assert token["owner"] == "ana"
    one = f"{TOKENS}/{token['id']}"
    for method, path in (("GET", one), ("DELETE", one), ("POST", f"{one}/regenerate"), ("POST", f"{one}/suspend"), ("POST", f"{one}/resume")):
        answer = await port.ask(method, path, key=user("ben"))
        assert (answer.status, answer.json["code"]) == (404, "not_found"), (method, path)
    assert (await port.ask("PATCH", one, {"name": "his"}, key=user("ben"))).status == 404
    assert (await port.ask("GET", TOKENS, key=user("ben"))).json["items"] == []
    assert (await port.ask("GET", f"{TOKENS}?owner=ana", key=user("ben"))).json["items"] == []
    assert [item["id"] for item in (await port.ask("GET", TOKENS, key=user("ana"))).json["items"]] == [token["id"]]
    assert (await port.ask("GET", one)).json["token"]["name"] == "mine"


async def test_a_user_grants_no_more_than_its_claim_names(port: Port) -> None:
    ana = user("ana", grants=["worklogs:view", "no such scope"])
    refused = await port.ask("POST", TOKENS, {"name": "x", "grants": ["worklogs"]}, key=ana)
    assert (refused.status, refused.json["code"]) == (403, "grant_not_allowed")
    full = await port.ask("POST", TOKENS, {"name": "x", "access": "full"}, key=ana)
    assert full.json["token"]["grants"] == ["worklogs:view"]
    for_another = await port.ask("POST", TOKENS, {"name": "x", "grants": ["worklogs:view"], "owner": "ben"}, key=ana)
    assert (for_another.status, for_another.json["code"]) == (403, "admin_only")


@pytest.mark.parametrize("claims", [{"exp": 1}, {"aud": "another"}, {"iss": "https://other.example"}, {"sub": ""}, {"sub": 7}])
async def test_a_jwt_that_is_wrong_is_nobodys(port: Port, claims: dict[str, object]) -> None:
    answer = await port.ask("GET", TOKENS, key=user("ana", **claims))
    assert (answer.status, answer.json["code"]) == (401, "jwt_invalid")


async def test_a_sign_in_link_leads_to_a_session_once(port: Port) -> None:
    offered = await port.ask("POST", "/api/v1/sign-in-links", key=user("ana"))
    assert offered.status == 201
    path = "/" + offered.json["url"].split("/", 3)[3]
    entered = await port.ask("GET", path, key=None)
    assert entered.status == 200
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    session = cookie.split(";")[0]
    assert (await port.ask("GET", path, key=None)).status == 410
    assert (await port.ask("GET", TOKENS, key=None, Cookie=session)).status == 200
    new = {"name": "<script>", "grants": ["worklogs"]}
    assert (await port.ask("POST", TOKENS, new, key=None, Cookie=session)).json["code"] == "origin_refused"
    origin = f"http://127.0.0.1:{port.port}"
    assert (await port.ask("POST", TOKENS, new, key=None, Cookie=session, Origin="http://evil.example")).json["code"] == "origin_refused"
    assert (await port.ask("POST", TOKENS, new, key=None, Cookie=session, Origin=origin)).json["token"]["owner"] == "ana"
    page = await port.ask("GET", "/tokens", key=None, Cookie=session)
    assert page.status == 200
    assert b"&lt;script&gt;" in page.body
    assert b"<script>" not in page.body
    assert (await port.ask("POST", "/api/v1/sign-out", key=None, Cookie=session, Origin=origin)).json == {"ended": 1}
    assert (await port.ask("GET", TOKENS, key=None, Cookie=session)).status == 401
    assert (await port.ask("GET", "/tokens", key=None, Cookie=session)).status == 401


async def test_an_admin_by_claim_sees_all(port: Port) -> None:
    await port.ask("POST", TOKENS, {"name": "x", "grants": ["worklogs"]}, key=user("ana"))
    assert len((await port.ask("GET", TOKENS, key=user("boss", admin=True))).json["items"]) == 1
    assert (await port.ask("GET", TOKENS, key=user("ben", admin="true"))).json["items"] == []
    assert KEY not in str(port.counters)
