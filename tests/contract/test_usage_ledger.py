"""ports.UsageLedger on a real server."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from gateway.core.route import Route
from gateway.core.scope import Scope
from gateway.core.token_record import Reuse
from gateway.flow.issuance import Issuance
from gateway.ports import Refusal
from gateway.store import usage_ledger
from gateway.store.connection import StoreOptions
from gateway.store.embedded import EmbeddedStore
from gateway.store.server import Store
from gateway.store.token_store import RedisTokenStore
from gateway.store.usage_ledger import RedisUsageLedger, RedisUsageReader
from tests.contract.conftest import Make

WORKLOGS = Route("/4/worklogs/**", ("GET", "POST"), Scope("worklogs", "Worklogs"))
TEAMS = Route("/4/teams/{id}", ("GET",), Scope("teams", "Teams"))
DAY_MS = 86_400_000


def used(ledger: RedisUsageLedger, token_id: str, now_ms: int, route: Route = WORKLOGS, method: str = "GET", address: str = "192.0.2.1") -> None:
    ledger.used(token_id, route, method, address, now_ms)


def refusal(at: int, request_id: str = "r", code: str = "scope_missing", client: str = "192.0.2.1") -> Refusal:
    return Refusal(at, request_id, client, "GET", "/4/teams/1", "/4/teams/{id}", 403, code, "teams:view", ("worklogs:view",), ("teams:view",))


async def now(store: Store) -> int:
    async with store.session() as (_, now_ms):
        return now_ms


async def test_last_use_is_read_back_and_changes_no_version(store: Store, make: Make, issuance: Issuance, tokens: RedisTokenStore) -> None:
    token, unused = await make(), await make()
    ledger = RedisUsageLedger(store)
    used(ledger, token.id, 1_000)
    used(ledger, token.id, 1_795_000_000_123)
    assert (await issuance.get(token.id)).last_used_at is None  # nothing is written beside a request
    assert await ledger.flush()
    assert (await issuance.get(token.id)).last_used_at == 1_795_000_000_123
    assert {found.id: found.last_used_at for found in (await issuance.list()).items} == {token.id: 1_795_000_000_123, unused.id: None}
    assert (await issuance.suspend(token.id)).token.last_used_at == 1_795_000_000_123
    record = (await tokens.fetch(unused.id)).record
    assert record is not None
    assert record.version == 1


async def test_latest_of_several_workers_stays(store: Store, make: Make, issuance: Issuance) -> None:
    token = await make()
    for used_ms in (2_000, 3_000, 1_000):
        ledger = RedisUsageLedger(store)
        used(ledger, token.id, used_ms)
        assert await ledger.flush()
    assert (await issuance.get(token.id)).last_used_at == 3_000


async def test_use_during_a_flush_is_written_by_the_next(store: Store, make: Make, issuance: Issuance) -> None:
    token = await make()
    ledger = RedisUsageLedger(store)
    used(ledger, token.id, 1_000)
    flush = asyncio.create_task(ledger.flush())
    await asyncio.sleep(0)
    used(ledger, token.id, 2_000)  # the batch has been taken, its answer is not there yet
    assert await flush
    assert await ledger.flush()
    assert (await issuance.get(token.id)).last_used_at == 2_000


async def test_notes_wait_while_the_store_is_away(own_server: EmbeddedStore, tmp_path: Path) -> None:
    store = Store(StoreOptions(own_server.url, tmp_path / "data", timeout_s=2, embedded=True))
    await store.start()
    ledger = RedisUsageLedger(store)
    assert own_server.pid
    os.kill(own_server.pid, signal.SIGKILL)
    used(ledger, "a" * 12, 1)
    assert not await ledger.flush()
    used(ledger, "a" * 12, 2)
    used(ledger, "b" * 12, 3)
    until = time.monotonic() + 10
    while not own_server.revive():
        assert time.monotonic() < until
        await asyncio.sleep(0.01)
    assert await ledger.flush()
    async with store.session() as (session, _):
        (scores,) = await session.ask(("ZMSCORE", store.keys.last_used, "a" * 12, "b" * 12))
    assert scores == [b"2", b"3"]
    await store.close()


async def test_more_tokens_than_one_command_takes_are_all_written(store: Store) -> None:
    ledger = RedisUsageLedger(store)
    for number in range(2_345):
        used(ledger, f"{number:012}", number)
    assert await ledger.flush()
    async with store.session() as (session, _):
        assert await session.ask(("ZCARD", store.keys.last_used)) == [2_345]


async def test_memory_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_ledger, "_NOTED", 10)
    ledger = RedisUsageLedger(store)
    for number in range(50):
        used(ledger, f"{number:012}", number)
    used(ledger, f"{3:012}", 99)  # one that waits already may grow later
    assert await ledger.flush()
    async with store.session() as (session, _):
        assert await session.ask(("ZCARD", store.keys.last_used), ("ZSCORE", store.keys.last_used, f"{3:012}")) == [10, b"99"]


async def test_task_flushes_by_itself_and_what_is_left_at_the_end(store: Store, make: Make, issuance: Issuance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_ledger, "FLUSH_S", 0.01)
    token, last = await make(), await make()
    ledger = RedisUsageLedger(store)
    task = asyncio.create_task(ledger.run())
    used(ledger, token.id, 5)
    until = time.monotonic() + 10
    while (await issuance.get(token.id)).last_used_at is None:
        assert time.monotonic() < until
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    used(ledger, last.id, 6)
    await ledger.close()
    assert (await issuance.get(last.id)).last_used_at == 6


async def test_last_address_goes_with_the_last_use_whichever_worker_writes_last(store: Store, make: Make, issuance: Issuance) -> None:
    """Seen to fail with the address written without a look at the time."""
    token = await make()
    early, late = RedisUsageLedger(store), RedisUsageLedger(store)
    used(early, token.id, 1_000, address="192.0.2.1")
    used(late, token.id, 2_000, address="2001:db8::1")
    assert await late.flush()
    assert await early.flush()
    record = await issuance.get(token.id)
    assert (record.last_used_at, record.last_used_from) == (2_000, "2001:db8::1")


async def test_counts_of_several_workers_and_days_add_up(store: Store) -> None:
    token_id, reader, now_ms = "a" * 12, RedisUsageReader(store), await now(store)
    for _ in range(2):
        ledger = RedisUsageLedger(store)
        for method, route, ago in (("GET", WORKLOGS, 0), ("GET", WORKLOGS, 0), ("POST", WORKLOGS, 0), ("WEBSOCKET", WORKLOGS, 0), ("GET", TEAMS, 29)):
            used(ledger, token_id, now_ms - ago * DAY_MS, route, method)
            if ago:
                assert await ledger.flush()
        used(ledger, token_id, now_ms - 30 * DAY_MS)  # too long ago for what is asked
        ledger.refused(token_id, refusal(now_ms))
        assert await ledger.flush()
    today = now_ms // DAY_MS
    usage = await reader.usage(token_id, 30)
    assert usage.today in {today, today + 1}
    assert set(usage.routes) == {
        (today, "view", "worklogs", "/4/worklogs/**", 4),
        (today, "manage", "worklogs", "/4/worklogs/**", 4),
        (today - 29, "view", "teams", "/4/teams/{id}", 2),
    }
    assert usage.refused == {today: 2}
    assert await reader.usage("b" * 12, 30) == (usage.today, [], {})


async def test_what_is_kept_ends_by_itself(store: Store) -> None:
    """Counts after 35 days, refusals after 7. Seen to fail without EXPIREAT and EXPIRE."""
    ledger, now_ms = RedisUsageLedger(store), await now(store)
    used(ledger, "a" * 12, now_ms)
    ledger.refused("a" * 12, refusal(now_ms))
    assert await ledger.flush()
    async with store.session() as (session, _):
        counts, refusals = await session.ask(("TTL", store.keys.used("a" * 12, now_ms // DAY_MS)), ("TTL", store.keys.refused("a" * 12)))
    assert 34 * 86_400 < counts <= 35 * 86_400
    assert 0 < refusals <= 7 * 86_400


async def test_last_fifty_refusals_are_kept_in_the_order_of_their_time(store: Store) -> None:
    """Seen to fail without the order in refusals(), and without LTRIM."""
    early, late = RedisUsageLedger(store), RedisUsageLedger(store)
    for number in range(60):
        (early if number % 2 else late).refused("a" * 12, refusal(number, str(number)))
    assert await late.flush()
    assert await early.flush()
    for number in range(100, 105):
        early.refused("a" * 12, refusal(number, str(number)))
    assert await early.flush()
    found = await RedisUsageReader(store).refusals("a" * 12)
    assert len(found) == 50
    assert [each.at for each in found] == sorted((each.at for each in found), reverse=True)
    assert found[0] == refusal(104, "104")
    async with store.session() as (session, _):
        assert await session.ask(("LLEN", store.keys.refused("a" * 12))) == [50]


async def test_memory_of_refusals_and_reuses_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_ledger, "_REFUSED", 3)
    monkeypatch.setattr(usage_ledger, "_REUSED", 3)
    ledger = RedisUsageLedger(store)
    for number in range(200):
        ledger.refused(f"{number % 5:012}", refusal(number, code="token_revoked", client=f"192.0.2.{number}"))
    assert sum(map(len, ledger._refusals.values())) == 40 * 3
    assert len(ledger._reuses) == 3
    assert await ledger.flush()
    async with store.session() as (session, _):
        assert await session.ask(("HLEN", store.keys.notices)) == [3]


async def test_reuse_is_one_notice_a_token_and_address_a_minute_and_the_mark_is_the_last(store: Store, make: Make, issuance: Issuance) -> None:
    """Seen to fail without the throttle in store/scripts/reused.lua."""
    token = await make()
    for at, client in ((1_000, "192.0.2.1"), (3_000, "192.0.2.1"), (2_000, "192.0.2.2")):
        ledger = RedisUsageLedger(store)
        ledger.refused(token.id, refusal(at, code="token_regenerated", client=client))
        assert await ledger.flush()
    assert (await issuance.get(token.id)).reuse == Reuse(3_000, "192.0.2.1", "regenerated")
    async with store.session() as (session, _):
        assert await session.ask(("ZRANGE", store.keys.due, 0, -1)) == [[f"reuse_{token.id}_1000".encode(), f"reuse_{token.id}_2000".encode()]]
