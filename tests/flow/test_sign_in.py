"""Links, sessions and cookies through a socket: what works once, what another site can't have done, and what a frame may show."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest

from gateway.ports import StoreUnavailable
from gateway.settings import JwtIssuer, Secret
from gateway.store.server import Store
from gateway.store.session import Session
from gateway.store.token_register import RedisTokenRegister
from tests.flow.management_port import Answer, Port, management_port

ROOT = Path(__file__).parents[2]
SHARED = "a secret of thirty-two characters, shared with the product"
ISSUER = JwtIssuer("https://login.example", "scopegate", ("HS256",), "", "", Secret(SHARED), "sub", "admin", "grants")
PUBLIC = "https://tokens.example"
APP = "https://app.example"
TOKENS, LINKS, OUT = "/api/v1/tokens", "/api/v1/sign-in-links", "/api/v1/sign-out"
NEW = {"name": "x", "grants": ["worklogs"]}


def user(subject: str = "ana") -> str:
    return jwt.encode({"iss": ISSUER.issuer, "aud": ISSUER.audience, "sub": subject, "exp": int(time.time()) + 60, "grants": "*"}, SHARED, "HS256")


def secure(store: Store) -> AbstractAsyncContextManager[Port]:
    """A port behind TLS, as browsers see it."""
    return management_port(store, ["tokens.example"], [ISSUER], PUBLIC, [APP, "https://other.example"])


@pytest.fixture
async def port(store: Store) -> AsyncIterator[Port]:
    async with management_port(store, issuers=[ISSUER]) as running:
        yield running


async def link(port: Port, **body: Any) -> str:
    """The path of a new link."""
    offered = await port.ask("POST", LINKS, body or None, key=user())
    assert offered.status == 201, offered.body
    assert offered.json["expires_in"] == 300
    return "/" + str(offered.json["url"]).split("/", 3)[3]


async def entered(port: Port, **body: Any) -> Answer:
    answer = await port.ask("GET", await link(port, **body), key=None, Accept="text/html")
    assert answer.status == 200, answer.body
    return answer


def cookie(answer: Answer) -> str:
    return answer.headers["set-cookie"].partition(";")[0]


async def test_a_link_works_once_and_then_a_page_says_what_to_do(port: Port) -> None:
    path = await link(port)
    assert (await port.ask("GET", path, key=None)).status == 200
    again = await port.ask("GET", path, key=None, Accept="text/html,*/*;q=0.8")
    assert again.status == 410
    assert b"ask for a new one" in again.body
    assert again.headers["content-type"].startswith("text/html")
    assert "set-cookie" not in again.headers
    assert path.rpartition("/")[2].encode() not in again.body
    assert (await port.ask("GET", path, key=None)).json["code"] == "link_used"


async def test_looking_at_a_link_does_not_use_it_up(port: Port) -> None:
    """Programs that check links send HEAD. Seen to fail where the route takes HEAD."""
    path = await link(port)
    assert (await port.ask("HEAD", path, key=None)).status == 405
    assert (await port.ask("GET", path, key=None)).status == 200


@pytest.mark.parametrize("code", ["x", "x" * 43, "x" * 4000, "%00", "*", "link:x"])
async def test_a_made_up_link_leads_nowhere(port: Port, code: str) -> None:
    answer = await port.ask("GET", f"/sign-in/{code}", key=None)
    assert answer.status in {400, 404, 410}
    assert "set-cookie" not in answer.headers


async def test_the_page_of_a_link_tells_no_other_page_of_it(port: Port) -> None:
    answer = await entered(port)
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert b"<script" not in answer.body


async def test_the_cookie_over_http_is_strict_and_hidden_from_scripts(port: Port) -> None:
    sent = (await entered(port)).headers["set-cookie"]
    assert sent.startswith("scopegate-session=")
    for part in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"):
        assert part in sent
    for part in ("Domain", "Secure", "Partitioned"):
        assert part not in sent


async def test_the_cookie_over_https_is_bound_to_the_host(store: Store) -> None:
    async with secure(store) as port:
        sent = (await entered(port)).headers["set-cookie"]
        assert sent.startswith("__Host-scopegate-session=")
        for part in ("HttpOnly", "SameSite=Strict", "Secure", "Path=/"):
            assert part in sent
        for part in ("Domain", "Partitioned"):
            assert part not in sent
        unbound = cookie(await entered(port)).replace("__Host-", "")
        assert (await port.ask("GET", TOKENS, key=None, Cookie=unbound)).status == 401, "a cookie that another host of the domain could set"


async def test_in_a_frame_the_cookie_is_partitioned_and_only_that_page_may_show_ours(store: Store) -> None:
    """Seen to fail where the frame's ancestors are all that are configured."""
    async with secure(store) as port:
        answer = await entered(port, embedded_in=APP)
        sent = answer.headers["set-cookie"]
        for part in ("__Host-", "HttpOnly", "SameSite=None", "Secure", "Partitioned"):
            assert part in sent
        assert answer.headers["content-security-policy"].endswith(f"frame-ancestors 'self' {APP}")
        page = await port.ask("GET", "/tokens", key=None, Cookie=cookie(answer))
        assert page.status == 200
        assert page.headers["content-security-policy"].endswith(f"frame-ancestors 'self' {APP}")
        alone = await port.ask("GET", "/tokens", key=None, Cookie=cookie(await entered(port)))
        assert alone.headers["content-security-policy"].endswith("frame-ancestors 'none'")
        out = await port.ask("POST", OUT, key=None, Cookie=cookie(answer), Origin=PUBLIC)
        for part in ("Partitioned", "SameSite=None", "Max-Age=0"):
            assert part in out.headers["set-cookie"], "else the browser keeps it"


async def test_a_link_for_a_frame_of_another_origin_is_not_made(store: Store) -> None:
    async with secure(store) as port:
        for origin in ("https://evil.example", f"{APP}.evil.example", "null", "https://app.example/", "*"):
            refused = await port.ask("POST", LINKS, {"embedded_in": origin}, key=user())
            assert (refused.status, refused.json["errors"][0]["field"]) == (422, "embedded_in")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Origin": "OWN.evil.example"}, 403),
        ({"Origin": "OWN", "Sec_Fetch_Site": "cross-site"}, 403),
        ({"Origin": "OWN", "Sec_Fetch_Site": "same-site"}, 403),
        ({"Origin": "OWN", "Sec_Fetch_Site": "none"}, 403),
        ({"Referer": "OWN/tokens"}, 403),
        ({"Origin": "OWN"}, 201),
        ({"Origin": "OWN", "Sec_Fetch_Site": "same-origin"}, 201),
    ],
)
async def test_a_page_of_another_origin_changes_nothing_with_a_browsers_session(port: Port, fields: dict[str, str], status: int) -> None:
    """Seen to fail without each of the two checks."""
    session = cookie(await entered(port))
    own = f"http://127.0.0.1:{port.port}"
    sent = {name: value.replace("OWN", own) for name, value in fields.items()}
    answer = await port.ask("POST", TOKENS, NEW, key=None, Cookie=session, **sent)
    assert answer.status == status, answer.body
    assert len((await port.ask("GET", TOKENS)).json["items"]) == (status == 201)
    if status == 403:
        assert answer.json["code"] == "origin_refused"
        assert (await port.ask("POST", OUT, key=None, Cookie=session, **sent)).status == 403
        assert (await port.ask("GET", TOKENS, key=None, Cookie=session)).status == 200, "still signed in"


async def test_a_change_by_a_form_of_another_site_is_refused_whatever_its_type(port: Port) -> None:
    session = cookie(await entered(port))
    body = b'{"name":"x","grants":["worklogs"],"a":"="}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json"):
        answer = await port.ask("POST", TOKENS, raw=body, key=None, Cookie=session, Origin="https://evil.example", Content_Type=kind)
        assert answer.json["code"] == "origin_refused"


async def test_behind_tls_a_page_that_came_without_it_changes_nothing(store: Store) -> None:
    """Who sits on the wire can serve one. Seen to fail where the Host's own http origin counts as well."""
    async with secure(store) as port:
        session = cookie(await entered(port))
        for origin, status in ((PUBLIC.replace("https", "http"), 403), (PUBLIC, 201)):
            assert (await port.ask("POST", TOKENS, NEW, key=None, Cookie=session, Host="tokens.example", Origin=origin)).status == status


async def test_a_page_of_another_origin_reads_nothing_either(port: Port) -> None:
    session = cookie(await entered(port))
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
        assert (await port.ask("GET", TOKENS, key=None, Cookie=session, Sec_Fetch_Site=site)).status == status


async def test_who_sends_the_key_itself_needs_no_origin(port: Port) -> None:
    assert (await port.ask("POST", TOKENS, NEW, Origin="https://evil.example", Sec_Fetch_Site="cross-site")).status == 201


async def test_signing_out_ends_one_session_or_all(port: Port) -> None:
    own = f"http://127.0.0.1:{port.port}"
    first, second, third = [cookie(await entered(port)) for _ in range(3)]

    async def signed_in() -> list[bool]:
        return [(await port.ask("GET", TOKENS, key=None, Cookie=one)).status == 200 for one in (first, second, third)]

    out = await port.ask("POST", OUT, key=None, Cookie=first, Origin=own)
    assert out.json == {"ended": 1}
    assert "Max-Age=0" in out.headers["set-cookie"]
    assert await signed_in() == [False, True, True]
    unused = await link(port)
    assert (await port.ask("POST", OUT, {"everywhere": True}, key=None, Cookie=second, Origin=own)).json == {"ended": 2}
    assert await signed_in() == [False, False, False]
    assert (await port.ask("GET", unused, key=None)).status == 410
    again = await port.ask("POST", OUT, key=None, Cookie=second, Origin=own)
    assert (again.status, again.json["code"]) == (401, "admin_key_missing")
    assert "sign in again" in again.json["detail"]


async def test_a_product_can_end_the_sessions_of_its_user(port: Port) -> None:
    session = cookie(await entered(port))
    assert (await port.ask("POST", OUT, {"everywhere": True}, key=user("ben"))).json == {"ended": 0}
    assert (await port.ask("GET", TOKENS, key=None, Cookie=session)).status == 200
    assert (await port.ask("POST", OUT, {"everywhere": True}, key=user("ana"))).json == {"ended": 1}
    assert (await port.ask("GET", TOKENS, key=None, Cookie=session)).status == 401


async def test_who_leaves_is_signed_out(port: Port) -> None:
    """Seen to fail with only the tokens ended."""
    session = cookie(await entered(port))
    assert (await port.ask("POST", "/api/v1/owners/ana/revoke")).status == 200
    assert (await port.ask("GET", TOKENS, key=None, Cookie=session)).status == 401


async def test_a_session_makes_no_other_session(port: Port) -> None:
    session = cookie(await entered(port))
    answer = await port.ask("POST", LINKS, key=None, Cookie=session, Origin=f"http://127.0.0.1:{port.port}")
    assert answer.status == 403


async def test_signing_in_again_ends_the_session_before_it(port: Port) -> None:
    """Else an id that somebody planted or copied would live on. Seen to fail without."""
    before = cookie(await entered(port))
    answer = await port.ask("GET", await link(port), key=None, Cookie=before)
    assert cookie(answer) != before
    assert (await port.ask("GET", TOKENS, key=None, Cookie=before)).status == 401
    assert (await port.ask("GET", TOKENS, key=None, Cookie=cookie(answer))).status == 200


@contextmanager
def failing(of: type, name: str, *, written: bool = False) -> Iterator[None]:
    """A store that fails there."""

    async def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable("gone", written=written)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of, name, fail)
        yield


def is_told(answer: Answer, *, changed: bool) -> None:
    """A 503 that says whether something may have been changed."""
    assert answer.status == 503, answer.body
    assert (b"may have been made" in answer.body, b"Nothing was changed" in answer.body) == (changed, not changed)


async def acts(port: Port) -> list[tuple[str, str, str, dict[str, Any]]]:
    """What the audit log holds of those who came and went, oldest first."""
    items = (await port.ask("GET", "/api/v1/audit")).json["items"]
    return [(each["action"], each["subject"], each["owner"], each["details"]) for each in reversed(items) if each["action"].startswith(("session.", "owner."))]


@pytest.mark.parametrize("accept", ["*/*", "text/html"])
async def test_a_link_is_good_until_the_session_begins_and_is_noted(port: Port, accept: str) -> None:
    """Seen to fail (410 the second time, and a session that nobody has) where it is used up first and noted last."""
    path, before = await link(port), cookie(await entered(port))
    for name in ("script", "write"):
        with failing(Session, name):
            answer = await port.ask("GET", path, key=None, Accept=accept, Cookie=before)
        if name == "script":
            is_told(answer, changed=False)
            assert (await port.ask("GET", TOKENS, key=None, Cookie=before)).status == 200, "the session until then lives on"
            assert len(await acts(port)) == 1
    assert answer.status == 200, "all is in the script"
    assert [act[0] for act in await acts(port)] == ["session.sign_in"] * 2
    assert (await port.ask("GET", TOKENS, key=None, Cookie=before)).status == 401


async def test_a_link_whose_answer_was_lost_is_told_so_and_noted(port: Port) -> None:
    path = await link(port)
    with failing(Session, "settle", written=True):
        is_told(await port.ask("GET", path, key=None), changed=True)
    assert [act[0] for act in await acts(port)] == ["session.sign_in"]
    assert (await port.ask("GET", path, key=None)).status == 410


@pytest.mark.parametrize("body", [{}, {"everywhere": True}])
async def test_a_sign_out_that_can_not_be_noted_ends_nothing(port: Port, body: dict[str, bool]) -> None:
    """Seen to fail where the sessions are ended first."""
    session, own = cookie(await entered(port)), f"http://127.0.0.1:{port.port}"
    with failing(Session, "script"):
        is_told(await port.ask("POST", OUT, body, key=None, Cookie=session, Origin=own), changed=False)
    assert (await port.ask("GET", TOKENS, key=None, Cookie=session)).status == 200
    assert [act[0] for act in await acts(port)] == ["session.sign_in"]
    with failing(Session, "settle", written=True):
        is_told(await port.ask("POST", OUT, body, key=None, Cookie=session, Origin=own), changed=True)
    assert (await port.ask("GET", TOKENS, key=None, Cookie=session)).status == 401
    assert (await acts(port))[1:] == [("session.sign_out", "ana", "ana", {"ended": 1, "everywhere": len(body)})]


@pytest.mark.parametrize("sessions", [0, 1, 3])
async def test_the_entry_of_a_sign_out_says_how_many_sessions_ended(port: Port, sessions: int) -> None:
    """What ends nothing is not noted."""
    for _ in range(sessions):
        await entered(port)
    assert (await port.ask("POST", OUT, {"everywhere": True}, key=user())).json == {"ended": sessions}
    assert (await acts(port))[sessions:] == [("session.sign_out", "ana", "ana", {"ended": sessions, "everywhere": 1})][:sessions]


@pytest.mark.parametrize("fails", ["ids_of", "revoke"])
async def test_who_leaves_is_signed_out_and_that_is_told_though_the_tokens_fail(port: Port, fails: str) -> None:
    """Seen to fail with the store's own word for the tokens passed on, with no entry for the sessions, and with that of the owner at the end."""
    session = cookie(await entered(port))
    await port.ask("POST", TOKENS, NEW, key=user())
    with failing(RedisTokenRegister, fails):
        is_told(await port.ask("POST", "/api/v1/owners/revoke", {"owner": "ana"}), changed=True)
    assert (await port.ask("GET", TOKENS, key=None, Cookie=session)).status == 401
    told = [("session.sign_out", "operator", "ana", {"ended": 1, "everywhere": 1}), ("owner.revoke", "operator", "ana", {"tokens": 1})]
    assert (await acts(port))[1:] == told[: 1 + (fails == "revoke")]


async def test_a_link_that_was_not_used_ends_with_the_sessions_and_is_noted(port: Port) -> None:
    unused = await link(port)
    assert (await port.ask("POST", OUT, {"everywhere": True}, key=user())).json == {"ended": 0}
    assert await acts(port) == [("session.sign_out", "ana", "ana", {"ended": 0, "everywhere": 1})]
    assert (await port.ask("GET", unused, key=None)).status == 410


@pytest.mark.parametrize("value", ["", "x", "x" * 5000, '"', "a=b", "ana", "%00"])
async def test_a_cookie_of_any_shape_is_nobodys(port: Port, value: str) -> None:
    answer = await port.ask("GET", TOKENS, key=None, Cookie=f"scopegate-session={value}")
    assert answer.status == 401


@pytest.mark.parametrize("body", [{"everywhere": "yes"}, {"everywhere": 1}, {"all": True}, []])
async def test_a_sign_out_that_is_not_understood_ends_nothing(port: Port, body: object) -> None:
    session = cookie(await entered(port))
    answer = await port.ask("POST", OUT, body, key=None, Cookie=session, Origin=f"http://127.0.0.1:{port.port}")
    assert answer.status in {400, 422}
    assert (await port.ask("GET", TOKENS, key=None, Cookie=session)).status == 200


async def test_the_address_of_a_link_is_the_public_one(store: Store) -> None:
    async with secure(store) as port:
        offered = await port.ask("POST", LINKS, key=user(), Host="localhost")
        assert offered.json["url"].startswith(f"{PUBLIC}/sign-in/")


async def test_the_example_of_the_docs_makes_a_link(port: Port) -> None:
    """The code in docs/sign-in.md, as it stands there, against this port."""
    code = re.findall(r"```python\n(import time.*?)```", (ROOT / "docs" / "sign-in.md").read_text(), re.DOTALL)[0]
    product: dict[str, Any] = {}
    exec(
        compile(code.replace(PUBLIC + ".com", f"http://127.0.0.1:{port.port}").replace("https://app.example.com", ISSUER.issuer), "sign-in.md", "exec"), product
    )
    url = await asyncio.to_thread(product["link_for"], "ana", ["teams:view"], SHARED)
    entered_by = await port.ask("GET", "/" + url.split("/", 3)[3], key=None)
    own = f"http://127.0.0.1:{port.port}"
    made = await port.ask("POST", TOKENS, {"name": "x", "access": "full"}, key=None, Cookie=cookie(entered_by), Origin=own)
    assert (made.json["token"]["owner"], made.json["token"]["grants"]) == ("ana", ["teams:view"])


async def test_ways_in_are_told_where_no_provider_is_configured(port: Port) -> None:
    assert (await port.ask("GET", "/sign-in", key=None)).headers["location"] == "/tokens"
    assert (await port.ask("GET", "/sign-in/oidc", key=None)).status == 404
    assert b"sign-in/oidc" not in (await port.ask("GET", "/tokens", key=None)).body
