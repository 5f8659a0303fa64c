"""Signing in by OpenID Connect at a real provider, and what goes wrong on the way: each a page that says what to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from gateway.flow import sign_in
from gateway.flow.sign_in import Errand
from gateway.management.oidc import OpenIdProvider
from gateway.settings import OidcSettings, Secret
from gateway.store.server import Store
from tests.flow.management_port import Answer, Port, management_port
from tests.harness.certificates import Pair, authority, issue
from tests.harness.openid_provider import SECRET, Provider, openid_provider, signed_in_there

PUBLIC = "https://tokens.example"
BACK = f"{PUBLIC}/sign-in/oidc/callback"
TOKENS = "/api/v1/tokens"


class Pairs(NamedTuple):
    authority: Pair
    provider: Pair


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    known = authority(tmp_path_factory.mktemp("openid"))
    return Pairs(known, issue(known, "provider", "DNS:localhost"))


@pytest.fixture(scope="module")
def provider(pairs: Pairs) -> Iterator[Provider]:
    with openid_provider(pairs.authority, pairs.provider, BACK) as running:
        yield running


def settings(issuer: str, client_id: str = "scopegate", secret: str | None = SECRET) -> OidcSettings:
    return OidcSettings(issuer, client_id, None if secret is None else Secret(secret), ("openid",), "sub", "roles=token-admin", "grants", "Example")


@asynccontextmanager
async def door(store: Store, provider: Provider, chosen: OidcSettings) -> AsyncIterator[Port]:
    """A management port to which one signs in at a provider, once that has been read."""
    client = OpenIdProvider(chosen, BACK, provider.tls)
    reading = asyncio.create_task(client.run())
    async with management_port(store, public_url=PUBLIC, provider=client, hosts=["tokens.example"]) as port:
        async with asyncio.timeout(10):
            while client._known is None or client._keys is None or client._keys.keys is None:
                await asyncio.sleep(0.01)
        yield port
    reading.cancel()


@pytest.fixture
async def port(store: Store, provider: Provider) -> AsyncIterator[Port]:
    async with door(store, provider, settings(provider.issuer)) as running:
        yield running


async def visit(port: Port, path: str, cookie: str = "", accept: str = "text/html") -> Answer:
    return await port.ask("GET", path, key=None, Host="tokens.example", Accept=accept, Cookie=cookie)


async def go(port: Port) -> tuple[str, str]:
    """Where the provider is, and the cookie with which the browser comes back."""
    answer = await visit(port, "/sign-in/oidc")
    assert answer.status == 303, answer.body
    return answer.headers["location"], answer.headers["set-cookie"].partition(";")[0]


def path_of(address: str, **changed: str | None) -> str:
    """The path and query of an address, with some of the query changed."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()} | changed
    return f"{urlsplit(address).path}?{urlencode({name: value for name, value in query.items() if value is not None})}"


def refused(answer: Answer, status: int = 403) -> bool:
    """Whether it is a page that says what to do, and no session."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"].startswith("text/html")
    assert b'href="/sign-in/oidc"' in answer.body
    assert "session" not in answer.headers.get("set-cookie", "")
    return True


async def test_a_user_signs_in_at_the_provider_and_makes_what_its_claim_allows(port: Port, provider: Provider) -> None:
    address, errand = await go(port)
    asked = parse_qs(urlsplit(address).query)
    assert (asked["code_challenge_method"], asked["response_type"], asked["scope"]) == (["S256"], ["code"], ["openid"])
    assert asked["redirect_uri"] == [BACK]
    came_back = await signed_in_there(provider, address, "ana", BACK)
    answer = await visit(port, path_of(came_back), errand)
    assert answer.status == 200, answer.body
    assert b'http-equiv="refresh"' in answer.body
    cookies = answer.headers["set-cookie"].split("\n")
    session = next(line.partition(";")[0] for line in cookies if line.startswith("__Host-scopegate-session="))
    made = await port.ask("POST", TOKENS, {"name": "x", "access": "full"}, key=None, Host="tokens.example", Cookie=session, Origin=PUBLIC)
    assert made.json["token"]["owner"] == "ana"
    assert made.json["token"]["grants"] == ["worklogs:view"]


async def session_of(port: Port, provider: Provider, login: str) -> str:
    address, errand = await go(port)
    answer = await visit(port, path_of(await signed_in_there(provider, address, login, BACK)), errand)
    assert answer.status == 200, answer.body
    return next(line.partition(";")[0] for line in answer.headers["set-cookie"].split("\n") if "-session=" in line)


async def test_an_admin_by_claim_sees_all_and_a_user_does_not(port: Port, provider: Provider) -> None:
    await port.make()
    for login, seen in (("boss", 1), ("ana", 0)):
        session = await session_of(port, provider, login)
        assert len((await port.ask("GET", TOKENS, key=None, Host="tokens.example", Cookie=session)).json["items"]) == seen


async def test_a_public_client_and_another_algorithm_do_as_well(store: Store, provider: Provider) -> None:
    async with door(store, provider, settings(provider.issuer, "public", None)) as port:
        assert await session_of(port, provider, "ana")


async def test_the_cookie_of_the_way_there_is_lax_and_bound_to_the_host(port: Port) -> None:
    cookie = (await visit(port, "/sign-in/oidc")).headers["set-cookie"]
    assert cookie.startswith("__Host-scopegate-errand=")
    for part in ("HttpOnly", "Secure", "SameSite=Lax", "Path=/", "Max-Age=600"):
        assert part in cookie
    assert "Domain" not in cookie


async def test_an_answer_is_taken_once(port: Port, provider: Provider) -> None:
    """Seen to fail (then the provider refuses) without the mark in the store."""
    address, errand = await go(port)
    came_back = path_of(await signed_in_there(provider, address, "ana", BACK))
    answers = await asyncio.gather(*(visit(port, came_back, errand) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [200, 403, 403, 403]
    assert refused(again := await visit(port, came_back, errand))
    assert b"used already" in again.body


@pytest.mark.parametrize("changed", [{"state": "another"}, {"state": ""}, {"state": None}])
async def test_another_state_is_refused_and_leaves_the_right_one_good(port: Port, provider: Provider, changed: dict[str, str | None]) -> None:
    """Seen to fail without the comparison."""
    address, errand = await go(port)
    came_back = await signed_in_there(provider, address, "ana", BACK)
    assert refused(await visit(port, path_of(came_back, **changed), errand))
    assert (await visit(port, path_of(came_back), errand)).status == 200


async def test_a_refused_answer_is_in_the_audit_log_and_counted(port: Port, provider: Provider) -> None:
    """A forged state, and an answer that comes again. Seen to fail where the pages render the refusal by themselves."""
    address, errand = await go(port)
    came_back = path_of(await signed_in_there(provider, address, "ana", BACK))
    assert refused(await visit(port, path_of(came_back, state="forged"), errand))
    assert (await visit(port, came_back, errand)).status == 200
    assert refused(await visit(port, came_back, errand))
    assert port.backlog
    await port.backlog.finish(5)
    items = (await port.ask("GET", "/api/v1/audit", Host="tokens.example")).json["items"]
    noted = [each["details"] for each in items if each["action"] == "call.refused"]
    assert noted == [{"method": "GET", "route": "/sign-in/oidc/callback", "status": 403, "code": "sign_in_refused"}] * 2
    assert port.counters.management["/sign-in/oidc/callback", "GET", 403, "sign_in_refused"] == 2


async def test_without_the_browsers_cookie_or_with_anothers_the_answer_is_refused(port: Port, provider: Provider) -> None:
    address, errand = await go(port)
    _, of_another = await go(port)
    came_back = path_of(await signed_in_there(provider, address, "ana", BACK))
    assert refused(await visit(port, came_back))
    assert refused(await visit(port, came_back, of_another))
    assert refused(await visit(port, came_back, f"{errand.partition('=')[0]}={'x' * 4000}"))


async def test_a_code_that_another_browser_got_is_refused_by_the_provider(port: Port, provider: Provider) -> None:
    """Who puts a stolen code into an own sign-in fails by its verifier. Seen to fail with one verifier for all."""
    stolen = parse_qs(urlsplit(await signed_in_there(provider, (await go(port))[0], "victim", BACK)).query)["code"][0]
    address, errand = await go(port)
    own = await signed_in_there(provider, address, "thief", BACK)
    answer = await visit(port, path_of(own, code=stolen), errand)
    assert refused(answer)
    assert b"asked for by another browser" in answer.body
    assert stolen.encode() not in answer.body


async def test_a_code_that_was_used_is_refused_by_the_provider(port: Port, provider: Provider) -> None:
    address, errand = await go(port)
    came_back = await signed_in_there(provider, address, "ana", BACK)
    used = parse_qs(urlsplit(came_back).query)["code"][0]
    assert (await visit(port, path_of(came_back), errand)).status == 200
    address, errand = await go(port)
    again = parse_qs(urlsplit(address).query)["state"][0]
    assert refused(await visit(port, path_of(came_back, code=used, state=again), errand))


@pytest.mark.parametrize(("field", "says"), [("verifier", b"does not take this code"), ("nonce", b"another sign-in")])
async def test_a_wrong_verifier_and_a_wrong_nonce_are_refused(port: Port, provider: Provider, field: str, says: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen to fail, for the nonce, without its check; for the verifier it is the provider that refuses."""
    address, errand = await go(port)
    came_back = path_of(await signed_in_there(provider, address, "ana", BACK))
    right = Errand.of
    monkeypatch.setattr(sign_in.Errand, "of", lambda errand_id: right(errand_id)._replace(**{field: "x" * 43}))
    answer = await visit(port, came_back, errand)
    assert refused(answer)
    assert says in answer.body


@pytest.mark.parametrize("issuer", ["https://evil.example", None, ""])
async def test_the_answer_of_another_provider_is_refused(port: Port, provider: Provider, issuer: str | None) -> None:
    """RFC 9207. Seen to fail without the comparison."""
    address, errand = await go(port)
    came_back = await signed_in_there(provider, address, "ana", BACK)
    answer = await visit(port, path_of(came_back, iss=issuer), errand)
    assert refused(answer)
    assert b"of another provider" in answer.body


async def test_who_breaks_off_at_the_provider_can_begin_again(port: Port, provider: Provider) -> None:
    address, errand = await go(port)
    answer = await visit(port, path_of(await signed_in_there(provider, address, "ana", BACK, aborts=True)), errand)
    assert refused(answer)
    assert b"access_denied" in answer.body


async def test_what_an_answer_says_never_comes_back_as_markup(port: Port) -> None:
    address, errand = await go(port)
    state = parse_qs(urlsplit(address).query)["state"][0]
    issuer = f"https://{urlsplit(address).netloc}"
    query = urlencode({"state": state, "iss": issuer, "error": "<script>alert(1)</script>", "error_description": "<b>x"})
    answer = await visit(port, f"/sign-in/oidc/callback?{query}", errand)
    assert refused(answer)
    assert b"<script>" not in answer.body
    assert b"<b>" not in answer.body


async def test_with_a_wrong_secret_of_ours_nobody_comes_in(store: Store, provider: Provider) -> None:
    async with door(store, provider, settings(provider.issuer, secret="not the secret")) as port:
        address, errand = await go(port)
        assert refused(await visit(port, path_of(await signed_in_there(provider, address, "ana", BACK)), errand))


async def test_a_provider_that_goes_away_meanwhile_is_told_as_such(store: Store, pairs: Pairs) -> None:
    with openid_provider(pairs.authority, pairs.provider, BACK) as own:
        async with door(store, own, settings(own.issuer)) as port:
            address, errand = await go(port)
            came_back = path_of(await signed_in_there(own, address, "ana", BACK))
            own.kill()
            answer = await visit(port, came_back, errand)
            assert refused(answer, 503)
            assert b"try again in a moment" in answer.body
            assert "retry-after" in answer.headers


async def test_a_provider_that_was_never_there_is_told_as_such_and_the_port_works(store: Store, tmp_path: Path) -> None:
    client = OpenIdProvider(settings("https://localhost:9"), BACK)
    reading = asyncio.create_task(client.run())
    async with management_port(store, public_url=PUBLIC, provider=client, hosts=["tokens.example"]) as port:
        assert refused(await visit(port, "/sign-in/oidc"), 503)
        assert (await visit(port, "/sign-in/oidc", accept="application/json")).json["code"] == "provider_unavailable"
        assert (await port.ask("GET", TOKENS)).status == 200
    assert not reading.done()
    reading.cancel()


async def test_the_way_to_the_provider_is_offered_where_one_is_not_signed_in(port: Port) -> None:
    assert (await visit(port, "/sign-in")).headers["location"] == "/sign-in/oidc"
    page = await visit(port, "/tokens")
    assert page.status == 401
    assert b'href="/sign-in/oidc"' in page.body
    assert b"Sign in with Example" in page.body
