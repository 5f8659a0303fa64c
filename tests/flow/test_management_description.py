"""The description of the management API is true: each route is in it, each code that it tells of a call is one that the call gives, and (by what every
answer of a test port is held against) there is no other.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import jwt
import pytest
from openapi_spec_validator import validate

from gateway.core.route import RateLimit
from gateway.management import guard, key_sets, oauth, payload, server
from gateway.management.app import build_management
from gateway.management.calls import CALLS, Call
from gateway.management.problem import MANAGEMENT_REASONS
from gateway.ports import StoreUnavailable
from gateway.settings import JwtIssuer
from gateway.store.link import Link
from gateway.store.server import Store
from tests.flow.management_port import CLIENT, ISSUER, KEY, Answer, Port, management_port, user_jwt
from tests.harness.described import DOCUMENT, operation_of

UNREAD = JwtIssuer("https://unread.example", "scopegate", ("RS256",), "https://unread.example/keys", "", None, "sub", "", "")
HERE = CALLS
CODES = sorted({code for call in HERE for code in call.all_codes})
RIGHT: dict[str, Any] = {
    "POST /api/v1/tokens": {"name": "x", "grants": ["worklogs"]},
    "PATCH /api/v1/tokens/{id}": {"name": "y"},
    "POST /api/v1/explain": {"method": "GET", "path": "/worklogs"},
    "POST /api/v1/owners/revoke": {"owner": "ana"},
}


@pytest.fixture
async def port(store: Store) -> AsyncIterator[Port]:
    async with management_port(store, issuers=[ISSUER, UNREAD], clients=[CLIENT]) as running:
        yield running


class Caller:
    """Makes a call that would be right, with one thing changed."""

    def __init__(self, port: Port, call: Call) -> None:
        self.port = port
        self.call = call
        self.id = ""

    async def send(self, *, body: Any = None, path: str = "", key: str | None = KEY, suffix: str = "", **fields: Any) -> Answer:
        if "{id}" in self.call.path and not self.id:
            self.id = await self.fresh()
        path = path or self.call.path.replace("{owner}", "ana").replace("{id}", self.id)
        if self.call.form and "raw" not in fields:
            fields = {"raw": b"token=sgt_x", "Content_Type": "application/x-www-form-urlencoded", **fields}
        elif self.call.body is not None and "raw" not in fields:
            fields["raw"] = payload_of(RIGHT.get(f"{self.call.method} {self.call.path}", {}) | (body or {}))
        return await self.port.ask(self.call.method, path + suffix, key=key, **fields)

    async def fresh(self) -> str:
        made = await self.port.make(owner=secrets.token_hex(8))
        return str(made["token"]["id"])

    async def session(self) -> str:
        """A cookie of somebody who is signed in."""
        link = (await self.port.ask("POST", "/api/v1/sign-in-links")).json["url"]
        return (await self.port.ask("GET", "/" + link.split("/", 3)[3], key=None)).headers["set-cookie"].split(";")[0]


def payload_of(body: dict[str, Any]) -> bytes:
    import json

    return json.dumps(body).encode()


async def _already_done(caller: Caller, _: pytest.MonkeyPatch) -> Answer:
    caller.id = await caller.fresh()
    key = secrets.token_hex(8)
    assert (await caller.send(Idempotency_Key=key)).status == caller.call.status
    return await caller.send(Idempotency_Key=key)


async def _admin_only(caller: Caller, _: pytest.MonkeyPatch) -> Answer:
    if caller.call.path == "/api/v1/sign-in-links":
        return await caller.send(key=None, Cookie=await caller.session(), Origin=f"http://127.0.0.1:{caller.port.port}")
    return await caller.send(key=user_jwt("ben"), body={"owner": "ana"} if caller.call.body is payload.NewToken else None)


async def _body_too_large(caller: Caller, _: pytest.MonkeyPatch) -> Answer:
    return await caller.send(raw=b" " * 65_537, **({"Content_Type": "application/x-www-form-urlencoded"} if caller.call.form else {}))


async def _client_unknown(caller: Caller, _: pytest.MonkeyPatch) -> Answer:
    return await caller.send(key=None, Authorization="Basic eDp5")


async def _clock_skew(caller: Caller, patch: pytest.MonkeyPatch) -> Answer:
    patch.setattr(caller.port.issuance, "_clock_ms", lambda: 0)
    return await caller.send()


async def _grant_not_allowed(caller: Caller, _: pytest.MonkeyPatch) -> Answer:
    caller.id = str((await caller.port.make(owner="ben"))["token"]["id"])
    return await caller.send(key=user_jwt("ben", grants=["worklogs:view"]))


async def _internal_error(caller: Caller, patch: pytest.MonkeyPatch) -> Answer:
    def fail(_: str) -> None:
        raise ZeroDivisionError

    caller.id = await caller.fresh()
    patch.setattr(guard, "canonicalise", fail)
    return await caller.send()


async def _invalid(caller: Caller, _: pytest.MonkeyPatch) -> Answer:
    if caller.call.query is not None:
        return await caller.send(suffix="?nonsense=1")
    return await caller.send(body={"nonsense": 1})


async def _keys_unavailable(caller: Caller, patch: pytest.MonkeyPatch) -> Answer:
    patch.setattr(key_sets, "_WAIT_S", 0.01)
    head, claims, _signature = jwt.encode({"iss": UNREAD.issuer, "sub": "x"}, "k" * 32, "HS256", headers={"kid": "1"}).split(".")
    head = jwt.utils.base64url_encode(b'{"alg":"RS256","kid":"1","typ":"JWT"}').decode()
    return await caller.send(key=f"{head}.{claims}.AAAA")


async def _not_active(caller: Caller, _: pytest.MonkeyPatch) -> Answer:
    caller.id = await caller.fresh()
    assert (await caller.port.ask("DELETE", f"/api/v1/tokens/{caller.id}")).status == 200
    return await caller.send()


async def _not_found(caller: Caller, _: pytest.MonkeyPatch) -> Answer:
    caller.id = "0" * 12
    return await caller.send(body={"token_id": caller.id} if caller.call.body is payload.Question else None)


async def _origin_refused(caller: Caller, _: pytest.MonkeyPatch) -> Answer:
    return await caller.send(key=None, Cookie=await caller.session(), Origin="http://evil.example", Sec_Fetch_Site="cross-site")


async def _rate_limited(caller: Caller, patch: pytest.MonkeyPatch) -> Answer:
    patch.setattr(oauth, "REVOCATIONS", RateLimit(1, 60_000))
    await caller.send()
    return await caller.send()


async def _request_timeout(caller: Caller, patch: pytest.MonkeyPatch) -> Answer:
    patch.setattr(payload, "BODY_TIMEOUT_S", 0.05)
    patch.setattr(server, "_LINGER_S", 0.05)
    caller.id = await caller.fresh()
    return await caller.send(Content_Length="5000")


async def _store_unavailable(caller: Caller, patch: pytest.MonkeyPatch) -> Answer:
    def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable("gone")

    caller.id, cookie = await caller.fresh(), await caller.session()
    patch.setattr(Store, "session", fail)
    patch.setattr(Link, "ask", fail)
    return await caller.send(key=None, Cookie=cookie, Origin=f"http://127.0.0.1:{caller.port.port}")


async def _too_many_tokens(caller: Caller, _: pytest.MonkeyPatch) -> Answer:
    for _number in range(5):
        await caller.send(body={"owner": "carl"})
    return await caller.send(body={"owner": "carl"})


def changed(**fields: Any) -> Callable[[Caller, pytest.MonkeyPatch], Awaitable[Answer]]:
    """The right call, with these fields."""

    async def send(caller: Caller, _: pytest.MonkeyPatch) -> Answer:
        return await caller.send(**fields)

    return send


PROVOKED: dict[str, Callable[[Caller, pytest.MonkeyPatch], Awaitable[Answer]]] = {
    "admin_key_missing": changed(key=None),
    "admin_key_wrong": changed(key="w" * 40),
    "admin_only": _admin_only,
    "already_done": _already_done,
    "body_too_large": _body_too_large,
    "client_unknown": _client_unknown,
    "clock_skew": _clock_skew,
    "credential_ambiguous": changed(Authorization="Bearer a, Bearer b"),
    "expectation_failed": changed(Expect="more"),
    "form_invalid": changed(raw=b"x=y", Content_Type="application/x-www-form-urlencoded"),
    "grant_not_allowed": _grant_not_allowed,
    "host_unknown": changed(Host="evil.example"),
    "immutable": changed(body={"grants": []}),
    "internal_error": _internal_error,
    "invalid": _invalid,
    "json_invalid": changed(raw=b"{"),
    "jwt_invalid": changed(key="a.b.c"),
    "keys_unavailable": _keys_unavailable,
    "media_type_unsupported": changed(Content_Type="text/plain"),
    "not_active": _not_active,
    "not_found": _not_found,
    "origin_refused": _origin_refused,
    "path_ambiguous": changed(suffix=";x"),
    "rate_limited": _rate_limited,
    "request_invalid": changed(Host=""),
    "request_timeout": _request_timeout,
    "store_unavailable": _store_unavailable,
    "too_many_tokens": _too_many_tokens,
}


@pytest.mark.parametrize("code", CODES)
async def test_each_call_gives_the_code_that_is_told_of_it(port: Port, code: str) -> None:
    """Seen to fail with a code more in the table's row of any call."""
    for call in HERE:
        if code in call.all_codes:
            with pytest.MonkeyPatch.context() as patch:
                answer = await PROVOKED[code](Caller(port, call), patch)
            assert (answer.status, answer.json["code"]) == (MANAGEMENT_REASONS[code].status, code), f"{call.method} {call.path}: {answer.body!r}"


@pytest.mark.parametrize("call", HERE, ids=lambda call: f"{call.method} {call.path}")
async def test_each_call_gives_the_answer_that_is_told_of_it(port: Port, call: Call) -> None:
    """The port holds the answer's body against the description. Seen to fail with a field left out of the model of each answer."""
    answer = await Caller(port, call).send()
    assert answer.status == call.status, answer.body


def test_each_route_of_the_api_is_in_the_table_and_each_call_of_the_table_has_a_route() -> None:
    """Seen to fail with a route more, and with a row more."""
    app = build_management(
        **dict.fromkeys(("issuance", "sign_in", "callers", "policy", "counters", "readiness", "once", "holding", "limits", "trail", "usage"), None)
    )  # type: ignore[arg-type]
    routes = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None and route.method != "HEAD"}
    api = {(method, path) for method, path in routes if path.startswith(("/api/", "/oauth2/")) and path != guard.DESCRIPTION}
    assert {(call.method, call.path) for call in CALLS} == api


def test_the_description_is_a_valid_document() -> None:
    validate(DOCUMENT)


def test_each_call_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for operations in DOCUMENT["paths"].values() for operation in operations.values()]
    assert len(set(names)) == len(names) == len(CALLS)


async def test_the_description_is_open_to_all_and_alike_for_all(port: Port) -> None:
    found = [await port.ask("GET", guard.DESCRIPTION, key=key) for key in (None, KEY, "w" * 40, user_jwt("ana"))]
    assert {answer.status for answer in found} == {200}
    assert len({answer.body for answer in found}) == 1
    document = found[0].json
    assert document["openapi"].startswith("3.1")
    assert sorted(document["paths"]) == sorted({call.path for call in HERE})
    assert found[0].headers["content-type"] == "application/json"


async def test_the_description_takes_no_other_method(port: Port) -> None:
    answer = await port.ask("POST", guard.DESCRIPTION, {})
    assert (answer.status, answer.json["code"]) == (405, "method_not_allowed")


def test_every_payload_that_is_read_stands_in_the_description() -> None:
    bodies = {call.body.__name__ for call in CALLS if call.body is not None}
    assert {name.removesuffix("-Input") for name in DOCUMENT["components"]["schemas"]} >= bodies


def test_an_idempotency_key_is_told_where_it_is_read() -> None:
    told = [
        call.path
        for call in CALLS
        if any(
            p["name"] == "Idempotency-Key" for p in (operation_of(call.method, call.path.replace("{id}", "0" * 12).replace("{owner}", "x")) or {})["parameters"]
        )
    ]
    assert told == ["/api/v1/tokens", "/api/v1/tokens/{id}/regenerate"]
