"""Pages of a list stay steady whatever happens between them, and cost what a page costs, however long the list is."""

from __future__ import annotations

import html
import os
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.core.token_text import digest, make_token
from gateway.policy_file.load import parse_policy
from gateway.ports import TokenDraft
from gateway.store.records import draft_fields
from gateway.store.server import Store
from gateway.store.session import Session
from tests.flow.management_port import ISSUER, KEY, POLICY, Port, management_port, user_jwt

TOKENS = "/api/v1/tokens"
BORN = 1_790_000_000_000  # ms


@pytest.fixture
async def port(store: Store) -> AsyncIterator[Port]:
    async with management_port(store, issuers=[ISSUER]) as running:
        running.policy = parse_policy(POLICY.replace(b"max_per_owner: 5", b"max_per_owner: 100000"), "policy.yaml")
        yield running


async def fill(store: Store, owner: str, count: int, *, apart_ms: int = 1) -> list[str]:
    """So many tokens of an owner, written as the create script writes them, the oldest first."""
    keys = store.keys
    ids: list[str] = []
    async with store.session() as (session, _):
        for first in range(0, count, 500):
            commands: list[Any] = []
            for number in range(first, min(first + 500, count)):
                token, born = make_token("sgt", os.urandom), BORN + number * apart_ms
                draft = TokenDraft(token.id, digest(token.text), f"t{number}", owner, "custom", ("worklogs:view",), ("worklogs", "teams"), 0, (), "")
                rest = ("state", "active", "version", 1, "created_at", born, "expires_at", born + 10**12, "previous", "", "overlap_until", 0)
                commands.append(("HSET", keys.info(token.id), *draft_fields(draft), *rest))
                commands += [("ZADD", key, born, token.id) for key in (keys.ids, keys.owner(owner))]
                ids.append(token.id)
            await session.write(*commands)
    return ids


class Asked:
    """Counts what is asked of the store: commands and round trips."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.commands = self.trips = 0
        real = Session._exchange

        async def counted(session: Session, commands: Any, **options: Any) -> Any:
            self.commands += len(commands)
            self.trips += 1
            return await real(session, commands, **options)

        patch.setattr(Session, "_exchange", counted)

    def since(self) -> tuple[int, int]:
        found = self.commands, self.trips
        self.commands = self.trips = 0
        return found


@pytest.mark.parametrize("caller", ["user", "admin", "admin of one owner"])
async def test_a_page_of_10000_tokens_costs_what_a_page_of_50_costs(port: Port, store: Store, caller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first page, one far behind, and the last one. Seen to fail where a listing reads the whole index."""
    many = await fill(store, "many", 10_000)
    if caller != "admin":
        await fill(store, "few", 51)
    key = {"few": user_jwt("few"), "many": user_jwt("many")} if caller == "user" else {"few": KEY, "many": KEY}
    query = {owner: f"&owner={owner}" if caller == "admin of one owner" else "" for owner in ("few", "many")}
    asked = Asked(monkeypatch)

    async def cost(owner: str, cursor: str = "") -> tuple[int, int]:
        asked.since()
        answer = await port.ask("GET", f"{TOKENS}?limit=50{query[owner]}{cursor}", key=key[owner])
        assert answer.status == 200
        assert len(answer.json["items"]) == 50
        return asked.since()

    first = await cost("many")
    if caller != "admin":
        assert await cost("few") == first
    for number in (5_000, 50):
        assert await cost("many", f"&cursor={BORN + number}-{many[number]}") == first
    commands, trips = first
    assert trips <= 5
    assert commands <= 2 * 50 + 10


@pytest.mark.parametrize("caller", ["user", "admin"])
@pytest.mark.parametrize("apart_ms", [0, 1])
async def test_pages_tell_every_token_once_while_others_are_made_and_ended(port: Port, store: Store, caller: str, apart_ms: int) -> None:
    """Also where many were made in one millisecond. Seen to fail with a cursor that is a number of tokens, or a time alone."""
    there = await fill(store, "ana", 23, apart_ms=apart_ms)
    await fill(store, "ben", 7, apart_ms=apart_ms)
    key = user_jwt("ana") if caller == "user" else KEY
    path: str | None = f"{TOKENS}?limit=4"
    seen: list[dict[str, Any]] = []
    made: set[str] = set()
    while path:
        answer = await port.ask("GET", path, key=key)
        assert answer.status == 200
        seen += answer.json["items"]
        for owner in ("ana", "ben"):
            made.add((await port.make(owner=owner))["token"]["id"])
        # One that was told already, and one that is still to come.
        told = {item["id"] for item in seen}
        for token_id in (seen[-1]["id"], next((token_id for token_id in reversed(there) if token_id not in told), seen[0]["id"])):
            assert (await port.ask("DELETE", f"{TOKENS}/{token_id}")).status == 200
        assert len(answer.json["items"]) == 4 or answer.json["next"] is None
        link = re.fullmatch(rf'<({TOKENS}\?[!-~]*limit=4[!-~]*)>; rel="next"', answer.headers.get("link", ""))
        assert (link is None) == (answer.json["next"] is None)
        path = link[1] if link else None
    ids = [item["id"] for item in seen]
    assert len(set(ids)) == len(ids)
    assert not made & set(ids)
    assert [token_id for token_id in ids if token_id in there] == sorted(
        there, key=lambda token_id: (there.index(token_id) if apart_ms else 0, token_id), reverse=True
    )
    assert {item["owner"] for item in seen} == ({"ana"} if caller == "user" else {"ana", "ben"})
    times = [item["created_at"] for item in seen]
    assert times == sorted(times, reverse=True)


async def test_a_users_cursor_opens_no_others_list(port: Port, store: Store) -> None:
    """Seen to fail where the cursor alone says what is listed."""
    others = await fill(store, "ben", 9)
    await fill(store, "ana", 3)
    for cursor in (f"{BORN + 8}-{others[8]}", f"{BORN + 99}-{'z' * 12}"):
        for query in ("", "&owner=ben", "&q=t", "&owner=ben&state=active"):
            answer = await port.ask("GET", f"{TOKENS}?cursor={cursor}{query}", key=user_jwt("ana"))
            assert answer.status == 200
            assert {item["owner"] for item in answer.json["items"]} <= {"ana"}


async def test_a_cursor_behind_the_last_token_is_an_empty_last_page(port: Port, store: Store) -> None:
    await fill(store, "ana", 3)
    answer = await port.ask("GET", f"{TOKENS}?cursor=1-{'0' * 12}")
    assert (answer.status, answer.json, answer.headers.get("link")) == (200, {"items": [], "next": None}, None)


@pytest.mark.parametrize(("path", "claims"), [("/tokens", {}), ("/owners", {"admin": True})])
async def test_a_search_that_has_not_seen_all_says_so_and_leads_on(port: Port, store: Store, path: str, claims: dict[str, Any]) -> None:
    """Seen to fail where the page says that no token matches."""
    await fill(store, "ana", 10_003)
    link = (await port.ask("POST", "/api/v1/sign-in-links", key=user_jwt("ana", **claims))).json["url"]
    cookie = (await port.ask("GET", "/" + link.split("/", 3)[3], key=None)).headers["set-cookie"].split(";")[0]

    async def page(target: str) -> str:
        return (await port.ask("GET", target, key=None, Cookie=cookie, Accept="text/html")).body.decode()

    async def older(shown: str) -> str:
        assert "None among the newest 10,000; look further." in shown
        assert "No token matches" not in shown
        (target,) = re.findall(r'href="([^"]*)">Older<', shown)
        return await page(html.unescape(target))

    found = await older(await page(f"{path}?q=t0"))  # the oldest of all
    assert re.findall(r"<bdi>(t\d+)</bdi></a>", found) == ["t0"]
    assert "No older token matches." in await older(await page(f"{path}?state=revoked"))
