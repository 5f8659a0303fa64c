"""One table: every kind of caller crossed with every call of the API. Another's token is to a user as one that never was."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import jwt
import pytest

from gateway.core.principal import NOBODY
from gateway.flow.issuance import IssuanceRefused
from gateway.policy_file.load import parse_policy
from gateway.settings import JwtIssuer, Secret
from gateway.store.server import Store
from tests.flow.management_port import KEY, Answer, Port, management_port

SHARED = "a secret of thirty-two characters, shared with the product"
ISSUER = JwtIssuer("https://login.example", "scopegate", ("HS256",), "", "", Secret(SHARED), "sub", "admin", "grants")
PUBLIC, APP = "https://tokens.example", "https://app.example"
TOKENS = "/api/v1/tokens"
NEW = {"name": "x", "grants": ["worklogs"]}


class Call(NamedTuple):
    """One call, of ana's token where it has one; ``done`` is the status for who may."""

    method: str
    path: str
    body: object
    done: int


CALLS = {
    "create": Call("POST", TOKENS, NEW, 201),
    "create for ana": Call("POST", TOKENS, {**NEW, "owner": "ana"}, 201),
    "list": Call("GET", TOKENS, None, 200),
    "list ana's": Call("GET", f"{TOKENS}?owner=ana", None, 200),
    "show": Call("GET", f"{TOKENS}/ID", None, 200),
    "rename": Call("PATCH", f"{TOKENS}/ID", {"name": "y"}, 200),
    "regenerate": Call("POST", f"{TOKENS}/ID/regenerate", None, 200),
    "suspend": Call("POST", f"{TOKENS}/ID/suspend", None, 200),
    "resume": Call("POST", f"{TOKENS}/ID/resume", None, 200),
    "revoke": Call("DELETE", f"{TOKENS}/ID", None, 200),
    "offer a link": Call("POST", "/api/v1/sign-in-links", None, 201),
    "sign out": Call("POST", "/api/v1/sign-out", None, 200),
}
OF_ONE = [name for name, call in CALLS.items() if "ID" in call.path]
ALL = {name: call.done for name, call in CALLS.items()}
NOT_BY_SESSION = {"offer a link": 403}
MAY: dict[str, dict[str, int]] = {
    "nobody": dict.fromkeys(CALLS, 401),
    "user": ALL,
    "other user": ALL | dict.fromkeys(OF_ONE, 404) | {"create for ana": 403},
    "admin by claim": ALL,
    "admin by key": ALL,
    "session of the user": ALL | NOT_BY_SESSION,
    "session of another user": ALL | dict.fromkeys(OF_ONE, 404) | {"create for ana": 403} | NOT_BY_SESSION,
    "session of an admin": ALL | NOT_BY_SESSION,
    "embedded session of the user": ALL | NOT_BY_SESSION,
    "embedded session of another user": ALL | dict.fromkeys(OF_ONE, 404) | {"create for ana": 403} | NOT_BY_SESSION,
}


def user(subject: str, **claims: object) -> str:
    facts = {"iss": ISSUER.issuer, "aud": ISSUER.audience, "sub": subject, "exp": int(time.time()) + 60, "grants": "*", **claims}
    return jwt.encode({name: value for name, value in facts.items() if value is not None}, SHARED, "HS256")


@pytest.fixture
async def port(store: Store) -> AsyncIterator[Port]:
    async with management_port(store, ["tokens.example"], [ISSUER], PUBLIC, [APP]) as running:
        yield running


KEYS = {
    "user": lambda: user("ana"),
    "other user": lambda: user("ben"),
    "admin by claim": lambda: user("boss", admin=True),
    "admin by key": lambda: KEY,
}
SESSIONS: dict[str, tuple[str, object]] = {
    "session of the user": ("user", None),
    "session of another user": ("other user", None),
    "session of an admin": ("admin by claim", None),
    "embedded session of the user": ("user", {"embedded_in": APP}),
    "embedded session of another user": ("other user", {"embedded_in": APP}),
}


async def shown_by(port: Port, caller: str) -> dict[str, Any]:
    """How a caller of this kind proves to be one: what ``Port.ask`` is given."""
    if caller in KEYS:
        return {"key": KEYS[caller]()}
    if caller not in SESSIONS:
        return {"key": None}
    by, body = SESSIONS[caller]
    offered = await port.ask("POST", "/api/v1/sign-in-links", body, key=KEYS[by]())
    entered = await port.ask("GET", "/" + offered.json["url"].split("/", 3)[3], key=None)
    cookie = entered.headers["set-cookie"].partition(";")[0]
    return {"key": None, "Host": "tokens.example", "Cookie": cookie, "Origin": PUBLIC, "Sec_Fetch_Site": "same-origin"}


async def calls(port: Port, name: str, token_id: str, by: dict[str, Any]) -> Answer:
    call = CALLS[name]
    return await port.ask(call.method, call.path.replace("ID", token_id), call.body, **by)


async def anas_token(port: Port) -> str:
    made = await port.ask("POST", TOKENS, {"name": "ana's", "grants": ["worklogs"]}, key=user("ana"))
    return str(made.json["token"]["id"])


def test_the_table_names_every_call_of_the_api() -> None:
    assert {call for may in MAY.values() for call in may} == set(CALLS)


@pytest.mark.parametrize("caller", MAY)
async def test_each_caller_may_what_the_table_says_and_nothing_else(port: Port, caller: str) -> None:
    """Seen to fail where ``Principal.sees`` always says yes, and where it always says no."""
    by = await shown_by(port, caller)
    got = {}
    for name in CALLS:
        token_id = await anas_token(port)
        answer = await calls(port, name, token_id, by)
        got[name] = answer.status
        if name == "sign out":
            break  # the last: the session has ended
        kept = (await port.ask("GET", f"{TOKENS}/{token_id}")).json["token"]
        if answer.status >= 400 and name in OF_ONE:
            assert (kept["version"], kept["state"], kept["name"]) == (1, "active", "ana's"), "a refused call changes nothing"
        await port.ask("DELETE", f"{TOKENS}/{token_id}")
        for left in (await port.ask("GET", f"{TOKENS}?state=active")).json["items"]:
            await port.ask("DELETE", f"{TOKENS}/{left['id']}")
    assert got == MAY[caller]


@pytest.mark.parametrize("caller", ["other user", "session of another user", "embedded session of another user"])
async def test_anothers_token_looks_just_like_one_that_never_was(port: Port, caller: str) -> None:
    """By status, words and fields, whatever is asked of it. Seen to fail where the state is judged before the owner."""
    by = await shown_by(port, caller)
    theirs, never = await anas_token(port), "0" * 12
    for state in ("active", "suspended", "revoked"):
        for name in OF_ONE:
            there, nowhere = [await calls(port, name, token_id, by) for token_id in (theirs, never)]
            assert there.status == nowhere.status == 404, (name, state)
            assert _without_names(there, theirs) == _without_names(nowhere, never), (name, state)
        await port.ask("POST", f"{TOKENS}/{theirs}/suspend") if state == "active" else await port.ask("DELETE", f"{TOKENS}/{theirs}")


def _without_names(answer: Answer, token_id: str) -> tuple[dict[str, str], str]:
    facts = {name: value for name, value in answer.json.items() if name != "request_id"}
    fields = {name: value for name, value in answer.headers.items() if name not in {"x-request-id", "date"}}
    return fields, json.dumps(facts).replace(token_id, "ID")


@pytest.mark.parametrize("caller", ["other user", "session of another user"])
async def test_anothers_tokens_are_in_no_list_no_search_and_no_count(port: Port, caller: str) -> None:
    token_id = await anas_token(port)
    by = await shown_by(port, caller)
    own = [(await port.ask("POST", TOKENS, {**NEW, "name": f"own {number}"}, **by)).json["token"]["id"] for number in range(3)]
    for query in ("", "?owner=ana", "?q=ana", f"?q={token_id}", "?state=active", "?limit=2", "?state=revoked&owner=ana"):
        answer = await port.ask("GET", TOKENS + query, **by)
        assert answer.status == 200
        assert {item["id"] for item in answer.json["items"]} <= set(own)
        assert token_id not in answer.body.decode()
        assert "ana" not in {item["owner"] for item in answer.json["items"]}
    assert len((await port.ask("GET", TOKENS, **by)).json["items"]) == 3


async def test_anothers_cursor_leads_to_ones_own_tokens_only(port: Port) -> None:
    for _ in range(3):
        await anas_token(port)
    cursor = (await port.ask("GET", f"{TOKENS}?limit=1", key=user("ana"))).json["next"]
    assert cursor
    answer = await port.ask("GET", f"{TOKENS}?cursor={cursor}", key=user("ben"))
    assert answer.status in {200, 422}
    assert not answer.json.get("items")


async def test_how_many_tokens_others_have_does_not_count_for_one(port: Port) -> None:
    """max_per_owner is 5 here. Seen to fail with a limit on all."""
    for _ in range(5):
        await anas_token(port)
    over = await port.ask("POST", TOKENS, NEW, key=user("ana"))
    assert (over.status, over.json["code"]) == (409, "too_many_tokens")
    assert (await port.ask("POST", TOKENS, NEW, key=user("ben"))).status == 201
    assert (await port.ask("POST", TOKENS, {**NEW, "owner": "ana"}, key=KEY)).json["code"] == "too_many_tokens"


@pytest.mark.parametrize(
    ("claim", "asked", "got"),
    [
        (["worklogs:view"], {"grants": ["worklogs:view"]}, ["worklogs:view"]),
        (["worklogs:view"], {"grants": ["worklogs"]}, "grant_not_allowed"),
        (["worklogs"], {"grants": ["worklogs:view"]}, ["worklogs:view"]),
        (["worklogs"], {"grants": ["teams:view"]}, "grant_not_allowed"),
        (["worklogs"], {"grants": ["worklogs", "teams:view"]}, "grant_not_allowed"),
        (["worklogs", "teams:view"], {"access": "full"}, ["worklogs:manage", "teams:view"]),
        (["worklogs", "no-such-scope"], {"access": "full"}, ["worklogs:manage"]),
        (["no-such-scope"], {"access": "full"}, "grant_not_allowed"),
        ([], {"access": "full"}, "grant_not_allowed"),
        (None, {"access": "full"}, "grant_not_allowed"),
        (None, {"grants": ["worklogs:view"]}, "grant_not_allowed"),
        (7, {"grants": ["worklogs:view"]}, "grant_not_allowed"),
        ("*", {"access": "full"}, ["worklogs:manage", "teams:manage"]),
        ("worklogs:view teams", {"access": "full"}, ["worklogs:view", "teams:manage"]),
        (["staff"], {"grants": ["teams"]}, ["teams:manage"]),
        (["staff:view"], {"access": "full"}, ["teams:view"]),
    ],
)
async def test_a_user_grants_what_its_claim_names_and_full_is_that_frozen(port: Port, claim: object, asked: dict[str, object], got: object) -> None:
    """`staff` is what teams were called before. Seen to fail without the check, and, for `staff`, where only present names count."""
    port.policy = parse_policy(
        b"version: 1\nscopes: {worklogs: {title: W}, teams: {title: T, was: [staff]}}\n"
        b"routes: [{path: /worklogs/**, scope: worklogs}, {path: /teams/**, scope: teams}]\n",
        "policy.yaml",
    )
    answer = await port.ask("POST", TOKENS, {"name": "x", **asked}, key=user("ana", grants=claim))
    if isinstance(got, str):
        assert (answer.status, answer.json["code"]) == (403, got)
        assert (await port.ask("GET", TOKENS)).json["items"] == []
    else:
        assert answer.json["token"]["grants"] == got
        assert answer.json["token"]["access"] == asked.get("access", "custom")


@pytest.mark.parametrize(
    ("claim", "status"),
    [("*", 200), (["worklogs", "teams"], 200), (["worklogs", "teams", "plans"], 200), (["worklogs", "staff"], 200)]
    + [(claim, 403) for claim in ([], ["worklogs"], ["worklogs:view", "teams"], None, 7)],
)
@pytest.mark.parametrize("asked", [{"access": "full"}, {"grants": ["worklogs", "teams"]}])
async def test_who_may_grant_less_by_now_gets_no_new_secret(port: Port, asked: dict[str, object], claim: object, status: int) -> None:
    """Seen to fail (200 whatever the claim) where only the owner is looked at."""
    policy = b"version: 1\nscopes:\n  worklogs: {title: W}\n  teams: {title: T, was: [staff]}\n"
    port.policy = parse_policy(policy + b"routes:\n  - {path: /w/**, scope: worklogs}\n  - {path: /t/**, scope: teams}\n", "policy.yaml")
    token_id = (await port.ask("POST", TOKENS, {"name": "x", **asked}, key=user("ana"))).json["token"]["id"]
    path = f"{TOKENS}/{token_id}/regenerate"
    answer = await port.ask("POST", path, key=user("ana", grants=claim), Idempotency_Key="k")
    assert answer.status == status, answer.body
    if status == 403:
        assert answer.json["code"] == "grant_not_allowed"
        assert (await port.ask("GET", f"{TOKENS}/{token_id}")).json["token"]["regenerated_at"] is None
        assert (await port.ask("POST", path, key=user("boss", admin=True, grants=None))).status == 200, "an admin may"
        assert (await port.ask("DELETE", f"{TOKENS}/{token_id}", key=user("ana", grants=claim))).status == 200, "it may be ended"


async def test_a_token_of_a_former_id_is_regenerated_by_who_may_grant_the_scope_of_today(port: Port) -> None:
    token_id = await anas_token(port)
    policy = b"version: 1\nscopes:\n  times: {title: T, was: [worklogs]}\nroutes:\n  - {path: /w/**, scope: times}\n"
    port.policy = parse_policy(policy, "policy.yaml")
    for claim, status in ((["times:view"], 403), (["times"], 200), (["worklogs"], 200)):
        assert (await port.ask("POST", f"{TOKENS}/{token_id}/regenerate", key=user("ana", grants=claim))).status == status


async def test_a_session_may_grant_what_the_jwt_did_that_it_began_with(port: Port) -> None:
    offered = await port.ask("POST", "/api/v1/sign-in-links", key=user("ana", grants=["teams:view"]))
    entered = await port.ask("GET", "/" + offered.json["url"].split("/", 3)[3], key=None)
    by: dict[str, Any] = {"key": None, "Host": "tokens.example", "Cookie": entered.headers["set-cookie"].partition(";")[0], "Origin": PUBLIC}
    assert (await port.ask("POST", TOKENS, NEW, **by)).json["code"] == "grant_not_allowed"
    assert (await port.ask("POST", TOKENS, {"name": "x", "access": "full"}, **by)).json["token"]["grants"] == ["teams:view"]


async def test_an_admin_by_claim_grants_all_for_anybody(port: Port) -> None:
    boss = user("boss", admin=True, grants=None)
    assert (await port.ask("POST", TOKENS, {"name": "x", "access": "full"}, key=boss)).json["token"]["owner"] == "boss"
    assert (await port.ask("POST", TOKENS, {**NEW, "owner": "ana"}, key=boss)).json["token"]["owner"] == "ana"


async def test_the_key_wins_over_a_cookie_that_comes_along(port: Port) -> None:
    by = await shown_by(port, "session of the user")
    made = await port.ask("POST", TOKENS, NEW, **{**by, "key": user("ben")})
    assert made.json["token"]["owner"] == "ben"
    wrong = await port.ask("GET", TOKENS, **{**by, "key": "wrong"})
    assert wrong.status == 401, "a key that is wrong is not made good by a cookie"


async def test_an_issuance_on_nobodys_behalf_does_nothing(port: Port) -> None:
    """What a handler gets that forgets to say on whose behalf. Seen to fail with the operator as its principal."""
    token_id = await anas_token(port)
    nobody = port.issuance.acting_for(NOBODY)
    for call in (nobody.get(token_id), nobody.revoke(token_id), nobody.regenerate(token_id), nobody.rename(token_id, name="x")):
        with pytest.raises(IssuanceRefused) as caught:
            await call
        assert caught.value.code == "not_found"
    with pytest.raises(IssuanceRefused):
        await nobody.create(name="x", policy=port.policy, full=True)
    assert (await nobody.list()).items == []
