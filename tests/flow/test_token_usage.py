"""Usage and refusals as owners read them, through a gateway that runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.core.token_text import make_text
from gateway.store.server import Store
from tests.flow.management_port import management_port
from tests.flow.test_callers import ISSUER, user
from tests.harness.gateway import GatewayProcess
from tests.harness.upstream import CLOSE, ScriptedUpstream
from tests.harness.waiting import eventually


@pytest.fixture(scope="module")
def pair(shared_upstream: ScriptedUpstream) -> Iterator[GatewayProcess]:
    """A gateway with two workers."""
    with GatewayProcess(shared_upstream.url, settings={"workers": 2}) as gateway:
        yield gateway
        assert "Traceback" not in gateway.log()
        assert "report this" not in gateway.log()


def usage(gateway: GatewayProcess, token_id: str, requests: int, refused: int = 0) -> dict[str, Any]:
    """The token's usage once so many requests and refusals are counted."""

    def counted() -> dict[str, Any] | None:
        told: dict[str, Any] = gateway.api("GET", f"/tokens/{token_id}/usage")
        sums = tuple(sum(day[name] for day in told["days"]) for name in ("requests", "refused"))
        return told if sums >= (requests, refused) else None

    found = eventually(counted, "the counts")
    assert found is not None
    return found


def test_usage_of_all_workers_adds_up_by_day_route_and_scope(pair: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Seen to fail with each worker's count written by SET instead of added."""
    token = pair.make("worklogs", "teams")
    for _ in range(12):  # each on a connection of its own: the kernel spreads them
        assert pair.ask("GET", "/4/worklogs/1", token=token.secret).status == 200
    pair.ask("POST", "/4/worklogs/1", token=token.secret, body=b"x")
    pair.ask("POST", "/4/worklogs/search", token=token.secret, body=b"x")
    pair.ask("GET", "/4/accounts/1?q=private", token=token.secret)
    told = usage(pair, token.id, 14, 1)
    today = datetime.now(UTC).date().isoformat()
    assert (len(told["days"]), told["days"][-1]) == (30, {"day": today, "requests": 14, "refused": 1})
    assert told["routes"] == [
        {"route": "/4/worklogs/**", "scope": "worklogs", "access": "view", "requests": 12, "last_day": today},
        *(route for route in told["routes"] if route["requests"] == 1),
    ]
    assert {(route["route"], route["access"]) for route in told["routes"][1:]} == {("/4/worklogs/**", "manage"), ("/4/worklogs/search", "view")}
    assert told["scopes"] == [{"scope": "worklogs", "view": 13, "manage": 1}]
    assert (told["unused_scopes"], told["narrowed_grants"]) == (["teams"], ["worklogs:manage"])
    assert told["last_used_from"] == "127.0.0.1"
    assert told["last_used_at"] == pair.api("GET", f"/tokens/{token.id}")["token"]["last_used_at"]


def test_a_request_that_the_upstream_fails_is_a_use_and_no_refusal(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    token = gateway.make("worklogs")
    upstream.scripts["broken"] = [CLOSE]
    assert gateway.ask("POST", "/4/worklogs/broken", token=token.secret, body=b"x").status == 502
    told = usage(gateway, token.id, 1)
    assert told["days"][-1]["refused"] == 0
    assert gateway.api("GET", f"/tokens/{token.id}/denials") == {"items": []}


def test_refusals_are_told_newest_first_with_their_decision_and_without_the_query(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    token = gateway.make("worklogs:view")
    gateway.ask("GET", "/4/teams/7?q=private", "X-Request-Id: first", token=token.secret)
    gateway.ask("DELETE", "/4/worklogs/7", "X-Request-Id: second", token=token.secret)
    gateway.ask("GET", "/4/nowhere", "X-Request-Id: third", token=token.secret)

    def told() -> list[dict[str, Any]]:
        return list(gateway.api("GET", f"/tokens/{token.id}/denials")["items"])

    items = eventually(lambda: found if len(found := told()) == 3 else [], "three refusals")
    assert [item["request_id"] for item in items] == ["third", "second", "first"]
    assert datetime.fromisoformat(items[2].pop("at"))
    assert items[2] == {
        "request_id": "first",
        "client": "127.0.0.1",
        "method": "GET",
        "path": "/4/teams/7",
        "route": "/4/teams/**",
        "status": 403,
        "code": "scope_missing",
        "required_scope": "teams:view",
        "granted": ["worklogs:view"],
        "missing": ["teams:view"],
    }
    assert (items[0]["code"], items[0]["route"], items[0]["required_scope"]) == ("route_unmapped", "", None)
    assert token.secret not in str(items)


def test_who_does_not_hold_the_secret_leaves_no_trace_at_the_token(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """A text with the token's id and another secret. Seen to fail with the denial of an unknown token given its record."""

    token = gateway.make("worklogs")
    forged = make_text("sgt", token.id, bytes)
    assert gateway.ask("GET", "/4/worklogs/1", token=forged).status == 401
    gateway.ask("GET", "/4/teams/1", "X-Request-Id: true", token=token.secret)
    items = eventually(lambda: gateway.api("GET", f"/tokens/{token.id}/denials")["items"], "the true refusal")
    assert [item["request_id"] for item in items] == ["true"]


@pytest.mark.parametrize("end", ["regenerate", "revoke"])
def test_a_secret_used_after_its_end_is_marked_on_the_token_with_time_and_address(end: str, gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    token = gateway.make("worklogs")
    if end == "regenerate":
        gateway.api("POST", f"/tokens/{token.id}/regenerate")
    else:
        gateway.api("DELETE", f"/tokens/{token.id}")
    assert gateway.api("GET", f"/tokens/{token.id}")["token"]["reuse"] is None
    with gateway.wire(source="127.0.0.9") as wire:
        from tests.harness.wire import request

        wire.send(request("GET", "/4/worklogs/1", token=token.secret))
        assert wire.answer().status == 401
    reuse = eventually(lambda: gateway.api("GET", f"/tokens/{token.id}")["token"]["reuse"], "the mark")
    assert datetime.fromisoformat(reuse.pop("at"))
    assert reuse == {"from": "127.0.0.9", "kind": f"{end.removesuffix('e')}ed"}


def test_a_token_that_another_replaces_ends_with_that_ones_first_use(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Seen to fail without the notice in store/scripts/used.lua."""
    old = gateway.make("worklogs")
    kept = gateway.make("worklogs")
    beside = gateway.make("worklogs:view", replaces=kept.id)
    new = gateway.make("worklogs:view", replaces=old.id, end_replaced=True)
    assert gateway.api("GET", f"/tokens/{old.id}")["token"]["replaced_by"] == new.id
    assert gateway.ask("GET", "/4/worklogs/1", token=old.secret).status == 200
    for token in (beside, new):
        assert gateway.ask("GET", "/4/worklogs/1", token=token.secret).status == 200
    eventually(lambda: gateway.api("GET", f"/tokens/{old.id}")["token"]["state"] == "revoked", "the end of the old one")
    assert gateway.ask("GET", "/4/worklogs/1", token=old.secret).status == 401
    assert gateway.ask("GET", "/4/worklogs/1", token=kept.secret).status == 200


@pytest.mark.parametrize(
    ("facts", "wrong"),
    [
        ({"replaces": "AAAAAAAAAAAA"}, "replaces"),
        ({"replaces": "no id"}, "replaces"),
        ({"replaces": None}, "replaces"),
        ({"end_replaced": True}, "end_replaced"),
        ({"end_replaced": "true"}, "end_replaced"),
    ],
)
def test_a_replacement_of_nothing_is_refused_and_makes_nothing(facts: dict[str, Any], wrong: str, gateway: GatewayProcess) -> None:

    before = gateway.api("GET", "/tokens?limit=1")["items"]
    status, _, body = gateway.admin("POST", "/api/v1/tokens", {"name": "x", "access": "full", **facts})
    assert (status, [fault["field"] for fault in json.loads(body)["errors"]]) == (422, [wrong])
    assert gateway.api("GET", "/tokens?limit=1")["items"] == before


async def test_a_users_usage_and_refusals_are_no_others_and_no_other_may_replace_its_token(store: Store) -> None:
    """Seen to fail with the record fetched without the one who asks."""
    async with management_port(store, issuers=[ISSUER]) as port:
        made = (await port.ask("POST", "/api/v1/tokens", {"name": "mine", "grants": ["worklogs"]}, key=user("ana"))).json["token"]
        for call in ("usage", "denials"):
            path = f"/api/v1/tokens/{made['id']}/{call}"
            assert (await port.ask("GET", path, key=user("ana"))).status == 200
            assert (await port.ask("GET", path)).status == 200
            assert (await port.ask("GET", path, key=user("ben"))).json["code"] == "not_found"
        refused = await port.ask("POST", "/api/v1/tokens", {"name": "x", "grants": ["worklogs"], "replaces": made["id"]}, key=user("ben"))
        assert (refused.status, refused.json["errors"]) == (422, [{"field": "replaces", "message": f'there is no token "{made["id"]}"'}])
        assert (await port.ask("GET", f"/api/v1/tokens/{made['id']}")).json["token"]["replaced_by"] is None


async def test_a_token_is_replaced_by_one_of_its_owner_alone_for_admins_too(store: Store) -> None:
    """Its owner reads the id of what replaces it. Seen to fail without the comparison of owners in Issuance."""
    async with management_port(store, issuers=[ISSUER]) as port:
        made = (await port.make(owner="ana"))["token"]
        facts = {"name": "x", "grants": ["worklogs"], "replaces": made["id"]}
        for owner in ({}, {"owner": "ben"}):
            refused = await port.ask("POST", "/api/v1/tokens", {**facts, **owner})
            assert (refused.status, [fault["field"] for fault in refused.json["errors"]]) == (422, ["replaces"])
            assert refused.json["errors"][0]["message"] == 'is a token of "ana": the new one must have the same owner'
        told = await port.ask("POST", "/api/v1/tokens", {**facts, "owner": "", "replaces": "0" * 12})
        assert [fault["field"] for fault in told.json["errors"]] == ["owner", "replaces"]
        assert (await port.ask("GET", f"/api/v1/tokens/{made['id']}", key=user("ana"))).json["token"]["replaced_by"] is None
        new = (await port.make(owner="ana", replaces=made["id"]))["token"]
        assert (await port.ask("GET", f"/api/v1/tokens/{made['id']}", key=user("ana"))).json["token"]["replaced_by"] == new["id"]
        assert (await port.ask("GET", f"/api/v1/tokens/{new['id']}", key=user("ana"))).status == 200


@pytest.mark.parametrize("by", ["another's token", "one that is gone"])
async def test_a_replaced_tokens_page_opens_whatever_became_of_the_one_in_its_place(by: str, store: Store) -> None:
    """Seen to fail, with 404, where the page demands the other token."""
    async with management_port(store, issuers=[ISSUER]) as port:
        made = (await port.make(owner="ana"))["token"]
        other = (await port.make(owner="ben"))["token"]["id"] if by == "another's token" else "0" * 12
        async with store.session() as (session, _):
            await session.write(("HSET", store.keys.info(made["id"]), "replaced_by", other))
        link = (await port.ask("POST", "/api/v1/sign-in-links", key=user("ana"))).json["url"]
        cookie = (await port.ask("GET", "/" + link.split("/", 3)[3], key=None)).headers["set-cookie"].split(";")[0]
        page = await port.ask("GET", f"/tokens/{made['id']}", key=None, Cookie=cookie, Accept="text/html")
        assert page.status == 200
        assert other not in page.body.decode()


def test_answers_tell_of_the_expiry_in_the_last_fourteen_days_alone(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Upstream's own fields of that name are dropped. Seen to fail with SOON_MS at 15 days."""
    upstream.scripts["forged"] = [b"HTTP/1.1 200 OK\r\nX-Scopegate-Token-Expires: never\r\nContent-Length: 0\r\n\r\n"]
    soon = gateway.api("POST", "/tokens", {"name": "x", "grants": ["worklogs"], "expires_in_days": 14})
    later = gateway.api("POST", "/tokens", {"name": "x", "grants": ["worklogs"], "expires_in_days": 15})
    for target, status in (("/4/worklogs/1", 200), ("/4/worklogs/forged", 200), ("/4/teams/1", 403)):
        told = gateway.ask("GET", target, token=soon["secret"])
        assert (told.status, told.all("X-Scopegate-Token-Expires")) == (status, [soon["token"]["expires_at"]])
        untold = gateway.ask("GET", target, token=later["secret"])
        assert (untold.status, untold.all("X-Scopegate-Token-Expires")) == (status, [])
    assert all("x-scopegate-token-expires" not in seen.names for seen in upstream.seen)
