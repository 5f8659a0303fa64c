"""The audit log through the management port: what is noted, from where, and who may read it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import jwt
import pytest

from gateway.core.route import RateLimit
from gateway.flow.audit_backlog import A_MINUTE
from gateway.management import oauth, server
from gateway.settings import JwtIssuer, Secret
from gateway.store.audit_log import RedisAuditLog
from gateway.store.embedded import EmbeddedStore
from gateway.store.server import Store
from gateway.store.wire import ask
from tests.flow.management_port import KEY, Port, management_port

AUDIT, TOKENS = "/api/v1/audit", "/api/v1/tokens"
SHARED = "a secret of thirty-two characters, shared with the product"
ISSUER = JwtIssuer("https://login.example", "scopegate", ("HS256",), "", "", Secret(SHARED), "sub", "admin", "grants")


@pytest.fixture
async def port(store: Store) -> AsyncIterator[Port]:
    async with management_port(store, issuers=[ISSUER], trusted_proxies=[ip_network("127.0.0.1/32"), ip_network("10.0.0.0/8")]) as running:
        yield running


def user(subject: str, **claims: object) -> str:
    return jwt.encode(
        {"iss": "https://login.example", "aud": "scopegate", "sub": subject, "exp": int(time.time()) + 60, "grants": "*", **claims}, SHARED, "HS256"
    )


async def told(port: Port, **query: str) -> list[dict[str, Any]]:
    """What the log holds, oldest first, once what waits is written."""
    assert port.backlog
    await port.backlog.finish(5)
    answer = await port.ask("GET", AUDIT + ("?" + "&".join(f"{name}={value}" for name, value in query.items()) if query else ""))
    assert answer.status == 200, answer.body
    return list(answer.json["items"])[::-1]


async def test_a_change_is_told_with_caller_address_request_and_token(port: Port, store: Store) -> None:
    made = await port.ask("POST", TOKENS, {"name": "mine", "grants": ["worklogs"]}, key=user("ana"), X_Request_Id="req-1")
    token_id = made.json["token"]["id"]
    await port.ask("DELETE", f"{TOKENS}/{token_id}", X_Request_Id="req-2")
    create, revoke = await told(port)
    assert set(create) == {"seq", "at", "action", "subject", "via", "from", "request_id", "token_id", "owner", "details", "hash"}
    assert [create[name] for name in ("seq", "action", "subject", "via", "from", "request_id", "token_id", "owner")] == [
        1,
        "token.create",
        "ana",
        "jwt",
        "127.0.0.1",
        "req-1",
        token_id,
        "ana",
    ]
    assert [revoke[name] for name in ("action", "subject", "via", "request_id", "owner")] == ["token.revoke", "operator", "admin_key", "req-2", "ana"]
    assert (await RedisAuditLog(store).verify()).fault is None


@pytest.mark.parametrize(
    ("sent", "address"),
    [("203.0.113.9", "203.0.113.9"), ("198.51.100.1, 203.0.113.9, 10.1.1.1", "203.0.113.9"), ("nonsense", "127.0.0.1"), ("", "127.0.0.1")],
)
async def test_from_is_the_clients_address_behind_a_trusted_proxy(port: Port, sent: str, address: str) -> None:
    """Seen to fail with the peer's address in the guard."""
    await port.ask("POST", TOKENS, {"name": "x", "grants": ["worklogs"]}, X_Forwarded_For=sent)
    await port.ask("GET", TOKENS, key="w" * 40, X_Forwarded_For=sent)
    assert [each["from"] for each in await told(port)] == [address, address]


async def test_from_is_the_peer_where_it_is_no_trusted_proxy(store: Store) -> None:
    async with management_port(store) as port:
        await port.ask("POST", TOKENS, {"name": "x", "grants": ["worklogs"]}, X_Forwarded_For="203.0.113.9")
        assert [each["from"] for each in await told(port)] == ["127.0.0.1"]


async def test_signing_in_and_out_are_told_and_no_code_or_id(port: Port, store: Store) -> None:
    link = (await port.ask("POST", "/api/v1/sign-in-links", {}, key=user("ana"))).json["url"]
    path = "/sign-in/" + link.rpartition("/")[2]
    entered = await port.ask("GET", path, key=None)
    cookie = entered.headers["set-cookie"].partition(";")[0]
    assert (await port.ask("GET", path, key=None)).status == 410
    origin = f"http://127.0.0.1:{port.port}"
    assert (await port.ask("POST", "/api/v1/sign-out", {}, key=None, Cookie=cookie, Origin="http://evil.example")).status == 403
    assert (await port.ask("POST", "/api/v1/sign-out", {}, key=None, Cookie=cookie, Origin=origin)).status == 200
    entries = await told(port)
    assert sorted((each["action"], each["subject"], each["details"].get("code", "")) for each in entries) == [
        ("call.refused", "", "link_used"),
        ("call.refused", "", "origin_refused"),
        ("link.offer", "ana", ""),
        ("session.sign_in", "ana", ""),
        ("session.sign_out", "ana", ""),
    ]
    stored = repr(entries)
    for secret in (link.rpartition("/")[2], cookie.partition("=")[2]):
        assert len(secret) > 20
        assert secret not in stored


@pytest.mark.parametrize("accept", ["text/html,*/*;q=0.8", "*/*"])
async def test_a_link_that_was_used_is_told_whoever_comes_with_it(port: Port, accept: str) -> None:
    """Seen to fail for browsers where the pages render the refusal by themselves."""
    path = "/sign-in/" + (await port.ask("POST", "/api/v1/sign-in-links", {}, key=user("ana"))).json["url"].rpartition("/")[2]
    assert (await port.ask("GET", path, key=None, Accept=accept)).status == 200
    again = await port.ask("GET", path, key=None, Accept=accept)
    assert (again.status, again.headers["content-type"].partition(";")[0]) == (410, "text/html" if "html" in accept else "application/problem+json")
    details = {"method": "GET", "route": "/sign-in/{code}", "status": 410, "code": "link_used"}
    assert [each["details"] for each in await told(port) if each["action"] == "call.refused"] == [details]
    assert port.counters.management["/sign-in/{code}", "GET", 410, "link_used"] == 1


async def test_refused_calls_are_told_with_pattern_and_code(port: Port) -> None:
    """Seen to fail without ``_NOTED``, and with the path instead of the pattern."""
    token_id = (await port.make())["token"]["id"]
    one = f"{TOKENS}/{token_id}"
    await port.ask("GET", f"{one}?q=secret", key=user("ben"))
    await port.ask("GET", one, key=None)
    await port.ask("GET", one, key="sgt_abcdefghijkl_" + "S" * 38)
    await port.ask("POST", TOKENS, {"name": ""})
    await port.ask("PATCH", one, {"grants": []})
    await port.ask("GET", AUDIT, key=user("ben"))
    await port.ask("GET", "/nothing/here")
    refused = [each for each in await told(port) if each["action"] == "call.refused"]
    assert [(each["details"]["status"], each["details"]["code"], each["subject"], each["token_id"]) for each in refused] == [
        (404, "not_found", "ben", token_id),
        (401, "admin_key_missing", "", token_id),
        (401, "admin_key_wrong", "", token_id),
        (422, "invalid", "operator", ""),
        (409, "immutable", "operator", token_id),
        (403, "admin_only", "ben", ""),
    ]
    assert {each["details"]["route"] for each in refused} == {"/api/v1/tokens/{id}", TOKENS, AUDIT}
    assert "secret" not in repr(refused)
    assert "SSSS" not in repr(refused)


async def test_each_call_that_is_refused_is_told_whatever_is_wrong_about_it(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    """But paths and methods that the port does not have. Seen to fail with 401, 403, 409, 410 and 422 alone."""
    monkeypatch.setattr(oauth, "REVOCATIONS", RateLimit(1, 60_000))
    monkeypatch.setattr(server, "_LINGER_S", 0.05)
    form = {"raw": b"token=x", "Content_Type": "application/x-www-form-urlencoded"}
    await port.ask("POST", "/oauth2/revoke", key=None, **form)
    answers = [
        await port.ask("GET", TOKENS, Host="evil.example"),
        await port.ask("GET", "/api/v1/tokens/..%2f"),
        await port.ask("POST", "/oauth2/revoke", key=None, **form),
        await port.ask("POST", TOKENS, raw=b"{", key=user("ana")),
        await port.ask("POST", TOKENS, raw=b"x", Content_Type="text/plain", key=user("ana")),
        await port.ask("POST", TOKENS, raw=b" " * 65_537, key=user("ana")),
        await port.ask("PUT", TOKENS),
        await port.ask("GET", "/nothing"),
    ]
    assert [answer.status for answer in answers] == [421, 400, 429, 400, 415, 413, 405, 404]
    refused = [(each["details"]["code"], each["details"]["route"], each["subject"]) for each in await told(port)]
    assert refused == [
        ("host_unknown", TOKENS, ""),
        ("path_ambiguous", "", ""),
        ("rate_limited", "/oauth2/revoke", ""),
        ("json_invalid", TOKENS, "ana"),
        ("media_type_unsupported", TOKENS, "ana"),
        ("body_too_large", TOKENS, "ana"),
    ]


async def test_a_flood_of_wrong_keys_does_not_fill_the_store(port: Port) -> None:
    for _ in range(A_MINUTE + 20):
        assert (await port.ask("GET", TOKENS, key="w" * 40)).status == 401
    entries = await told(port)
    assert len(entries) == A_MINUTE + 1
    assert entries[-1]["details"] == {"more": 20, "callers": "unknown"}


async def test_a_token_as_request_id_is_not_kept(port: Port) -> None:
    secret = (await port.make())["secret"]
    await port.ask("POST", TOKENS, {"name": "x", "grants": ["worklogs"]}, X_Request_Id=secret)
    assert secret not in repr(await told(port))


async def test_only_admins_read_the_log(port: Port) -> None:
    assert (await port.ask("GET", AUDIT, key=None)).status == 401
    refused = await port.ask("GET", AUDIT, key=user("ana"))
    assert (refused.status, refused.json["code"]) == (403, "admin_only")
    assert (await port.ask("GET", AUDIT, key=user("root", admin=True))).status == 200


async def test_pages_and_filters(port: Port) -> None:
    ids = [(await port.make(owner=owner))["token"]["id"] for owner in ("u1", "u1", "u2")]
    await port.ask("DELETE", f"{TOKENS}/{ids[1]}", key=user("root", admin=True))
    first = await port.ask("GET", f"{AUDIT}?limit=3")
    assert [each["seq"] for each in first.json["items"]] == [4, 3, 2]
    assert first.headers["link"] == f'<{AUDIT}?limit=3&cursor={first.json["next"]}>; rel="next"'
    second = await port.ask("GET", f"{AUDIT}?limit=3&cursor={first.json['next']}")
    assert ([each["seq"] for each in second.json["items"]], second.json["next"]) == ([1], None)
    assert [each["token_id"] for each in await told(port, action="token.create")] == ids
    assert [each["action"] for each in await told(port, token=ids[1])] == ["token.create", "token.revoke"]
    assert [each["token_id"] for each in await told(port, subject="root")] == [ids[1]]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "cursor=x", "cursor=7", "cursor=0-0", "cursor=1-99999999999999999999", "unknown=1", "limit=1&limit=2"]
)
async def test_a_wrong_query_is_told_by_its_field(port: Port, query: str) -> None:
    answer = await port.ask("GET", f"{AUDIT}?{query}")
    assert answer.status == 422, answer.body
    assert answer.json["errors"][0]["field"] == query.partition("=")[0]


async def test_a_store_that_takes_no_writes_gives_no_link_and_no_session(port: Port, valkey: EmbeddedStore) -> None:
    """What is not noted is not done: 503, and nothing that lets anybody in is told. A refusal is answered as ever, and noted later."""
    link = (await port.ask("POST", "/api/v1/sign-in-links", {}, key=user("ana"))).json["url"]
    assert ask(valkey.socket, "ACL", "SETUSER", "default", "-xadd", timeout_s=5) == b"+OK"
    try:
        offered = await port.ask("POST", "/api/v1/sign-in-links", {}, key=user("ana"))
        entered = await port.ask("GET", "/sign-in/" + link.rpartition("/")[2], key=None)
        made = await port.ask("POST", TOKENS, {"name": "x", "grants": ["worklogs"]})
        assert [each.status for each in (offered, entered, made)] == [503, 503, 503]
        assert "set-cookie" not in entered.headers
        assert b"sign-in/" not in offered.body
        assert (await port.ask("GET", TOKENS, key="w" * 40)).status == 401
        assert (await port.ask("GET", TOKENS)).json["items"] == []
    finally:
        assert ask(valkey.socket, "ACL", "SETUSER", "default", "+xadd", timeout_s=5) == b"+OK"
    assert [each["action"] for each in await told(port)] == ["link.offer", "call.refused"]
    assert KEY not in repr(await told(port))
