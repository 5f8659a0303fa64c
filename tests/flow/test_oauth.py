"""Introspection (RFC 7662) and revocation (RFC 7009), as OAuth clients call them."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest

from gateway.core.route import RateLimit
from gateway.core.token_text import make_text
from gateway.management import oauth
from gateway.policy_file.load import parse_policy
from gateway.store.server import Store
from tests.flow.management_port import CLIENT, ISSUER, KEY, POLICY, Answer, Port, management_port, user_jwt

TOKENS = "/api/v1/tokens"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
async def port(store: Store) -> AsyncIterator[Port]:
    async with management_port(store, issuers=[ISSUER], clients=[CLIENT]) as running:
        yield running


def basic(name: str = CLIENT.client_id, secret: str = CLIENT.secret.reveal()) -> str:
    return "Basic " + base64.b64encode(f"{quote_plus(name)}:{quote_plus(secret)}".encode()).decode()


async def introspect(port: Port, token: str, **fields: Any) -> Any:
    answer = await port.ask(
        "POST", "/oauth2/introspect", raw=urlencode({"token": token}).encode(), Content_Type=FORM, **{"key": None, "Authorization": basic(), **fields}
    )
    assert answer.status == 200, answer.body
    return answer.json


async def revoke(port: Port, token: str, **fields: Any) -> Answer:
    return await port.ask("POST", "/oauth2/revoke", raw=urlencode({"token": token, **fields}).encode(), key=None, Content_Type=FORM)


async def test_an_active_token_is_told_with_what_it_is_good_for(port: Port) -> None:
    made = await port.make(owner="ana", grants=["worklogs:view", "teams"], allowed_ips=["192.0.2.0/24"], expires_in_days=1)
    told = await introspect(port, made["secret"])
    assert told["exp"] - told["iat"] == 86_400
    assert {**told, "iat": 0, "exp": 0} == {
        "active": True,
        "scope": "worklogs:view teams:manage",
        "token_type": "Bearer",
        "iat": 0,
        "exp": 0,
        "sub": "ana",
        "jti": made["token"]["id"],
        "allowed_ips": ["192.0.2.0/24"],
    }


async def test_of_a_token_that_is_not_active_nothing_is_told_but_that(port: Port) -> None:
    """Seen to fail where a suspended token counts as active, and where only the id is looked at."""
    made = await port.make()
    token_id, secret = made["token"]["id"], made["secret"]
    for text in ("", "x", secret[:-1], secret + "x", secret.lower(), make_text("sgt", token_id, lambda count: b"a" * count), make_text("sgt", "0" * 12, bytes)):
        if text:
            assert await introspect(port, text) == {"active": False}, text
    await port.ask("POST", f"{TOKENS}/{token_id}/suspend")
    assert await introspect(port, secret) == {"active": False}
    await port.ask("POST", f"{TOKENS}/{token_id}/resume")
    assert (await introspect(port, secret))["active"] is True
    regenerated = (await port.ask("POST", f"{TOKENS}/{token_id}/regenerate")).json["secret"]
    assert await introspect(port, secret) == {"active": False}
    overlapping = (await port.ask("POST", f"{TOKENS}/{token_id}/regenerate", {"overlap": "1h"})).json["secret"]
    assert [(await introspect(port, text))["active"] for text in (regenerated, overlapping)] == [True, True]
    await port.ask("DELETE", f"{TOKENS}/{token_id}")
    assert [await introspect(port, text) for text in (regenerated, overlapping)] == [{"active": False}] * 2


async def test_scopes_are_those_that_todays_policy_gives_the_token(port: Port) -> None:
    """Seen to fail where the grants are told as they were given."""
    secret = (await port.make(grants=["worklogs:view", "teams"]))["secret"]
    port.policy = parse_policy(
        POLICY.replace(b"worklogs: {title: Worklogs}", b"work: {title: Work, was: [worklogs]}")
        .replace(b"scope: worklogs", b"scope: work")
        .replace(b"teams: {title: Teams}", b"teams: {title: Teams, since: 2999-01-01}"),
        "policy.yaml",
    )
    assert (await introspect(port, secret))["scope"] == "work:view"


async def test_admins_and_clients_may_ask_and_nobody_else(port: Port) -> None:
    """Seen to fail where any caller may ask."""
    secret = (await port.make(owner="ana"))["secret"]
    for fields in ({"key": KEY}, {"key": user_jwt("boss", admin=True)}, {"Authorization": basic()}):
        assert (await introspect(port, secret, **{"Authorization": f"Bearer {fields.get('key')}", **fields}))["active"] is True
    body = {"raw": urlencode({"token": secret}).encode(), "Content_Type": FORM}
    refused = [
        (await port.ask("POST", "/oauth2/introspect", key=user_jwt("ana"), **body), 403, "admin_only"),
        (await port.ask("POST", "/oauth2/introspect", key=secret, **body), 401, "admin_key_wrong"),
        (await port.ask("POST", "/oauth2/introspect", key=None, **body), 401, "admin_key_missing"),
    ]
    for wrong in (
        basic(secret="guessed"),
        basic(name="other"),
        basic("", ""),
        basic(secret=""),
        "Basic",
        "Basic ?",
        "Basic YQ==",
        "basic " + base64.b64encode(b"\xff:\xff").decode(),
    ):
        answer = await port.ask("POST", "/oauth2/introspect", key=None, Authorization=wrong, **body)
        refused.append((answer, 401, "client_unknown" if wrong != "Basic" else "admin_key_missing"))
    for answer, status, code in refused:
        assert (answer.status, answer.json["code"]) == (status, code)
        assert secret not in answer.body.decode()
        assert (answer.json.get("error") == "invalid_client") == (code == "client_unknown")
    assert refused[-1][0].headers["www-authenticate"] == 'Basic realm="scopegate"'


async def test_whoever_holds_a_token_may_end_it(port: Port) -> None:
    """Seen to fail where the answer comes without a change."""
    made = await port.make(owner="ana")
    assert ((await revoke(port, made["secret"], token_type_hint="access_token")).status, made["token"]["state"]) == (200, "active")
    assert (await port.ask("GET", f"{TOKENS}/{made['token']['id']}")).json["token"]["state"] == "revoked"
    assert (await revoke(port, made["secret"])).json == {}


async def test_a_suspended_token_may_be_ended_too(port: Port) -> None:
    made = await port.make()
    await port.ask("POST", f"{TOKENS}/{made['token']['id']}/suspend")
    assert (await revoke(port, made["secret"])).status == 200
    assert (await port.ask("GET", f"{TOKENS}/{made['token']['id']}")).json["token"]["state"] == "revoked"


async def test_what_is_no_secret_of_a_token_ends_nothing_and_is_answered_alike(port: Port) -> None:
    """Seen to fail where the id of the text is enough, and where the secret before a regenerate still ends the token."""
    made = await port.make()
    token_id = made["token"]["id"]
    await port.ask("POST", f"{TOKENS}/{token_id}/regenerate")
    for text in (made["secret"], make_text("sgt", token_id, lambda count: b"a" * count), make_text("sgt", "0" * 12, bytes), "x", "ü", "x" * 60_000, token_id):
        answer = await revoke(port, text)
        assert (answer.status, answer.json) == (200, {}), text
    assert (await port.ask("GET", f"{TOKENS}/{token_id}")).json["token"]["state"] == "active"


async def test_revocations_of_one_address_are_throttled(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen to fail without the limit."""
    monkeypatch.setattr(oauth, "REVOCATIONS", RateLimit(3, 60_000))
    made = await port.make()
    assert [(await revoke(port, "x")).status for _ in range(4)] == [200, 200, 200, 429]
    refused = await revoke(port, made["secret"])
    assert (refused.status, refused.json["code"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert (await port.ask("GET", f"{TOKENS}/{made['token']['id']}")).json["token"]["state"] == "active"


@pytest.mark.parametrize("path", ["/oauth2/introspect", "/oauth2/revoke"])
@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        (b"", {"token"}),
        (b"token=", {"token"}),
        (b"x=y", {"token"}),
        (b"token=a&token=b", {"token"}),
        (b"token=a&token_type_hint=b&token_type_hint=c", {"token_type_hint"}),
        (b"token_type_hint=b&token_type_hint=c", {"token", "token_type_hint"}),
        (b"token=%ff", {""}),
        (b"\xff", {""}),
        (b"&".join([b"a=b"] * 200), {""}),
    ],
)
async def test_a_form_that_is_wrong_is_refused_as_oauth_has_it_and_names_every_wrong_field(port: Port, path: str, raw: bytes, fields: set[str]) -> None:
    """RFC 6749 section 5.2. Seen to fail with 422, and without ``error``."""
    answer = await port.ask("POST", path, raw=raw, key=None, Authorization=basic(), Content_Type=FORM)
    assert (answer.status, answer.json["code"], answer.json["error"]) == (400, "form_invalid", "invalid_request"), answer.body
    assert {fault["field"] for fault in answer.json["errors"]} == fields


@pytest.mark.parametrize("path", ["/oauth2/introspect", "/oauth2/revoke"])
async def test_a_field_that_is_not_known_is_ignored_and_json_is_no_form(port: Port, path: str) -> None:
    assert (await port.ask("POST", path, raw=b"token=a&resource=b", key=None, Authorization=basic(), Content_Type=FORM)).status == 200
    answer = await port.ask("POST", path, {"token": "a"}, key=None, Authorization=basic())
    assert (answer.status, answer.json["code"], answer.json["error"]) == (400, "form_invalid", "invalid_request")
    too_long = await port.ask("POST", path, raw=b"token=" + b"x" * 65_536, key=None, Authorization=basic(), Content_Type=FORM)
    assert (too_long.status, too_long.json["error"]) == (413, "invalid_request")


async def test_no_secret_that_comes_in_a_form_reaches_log_or_metric(port: Port, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    secret = (await port.make())["secret"]
    await introspect(port, secret)
    await revoke(port, secret)
    await port.ask("POST", "/oauth2/revoke", raw=b"token=" + secret.encode() + b"&token=x", key=None, Content_Type=FORM)
    metrics = (await port.ask("GET", "/metrics")).body.decode()
    assert secret[-38:] not in caplog.text + metrics
    assert CLIENT.secret.reveal() not in caplog.text + metrics
