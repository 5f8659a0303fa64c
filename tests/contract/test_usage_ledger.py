"""ports.UsageLedger on a real server."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from gateway.flow.issuance import Issuance
from gateway.store import usage_ledger
from gateway.store.connection import StoreOptions
from gateway.store.embedded import EmbeddedStore
from gateway.store.server import Store
from gateway.store.token_store import RedisTokenStore
from gateway.store.usage_ledger import RedisUsageLedger
from tests.contract.conftest import Make


async def test_last_use_is_read_back_and_changes_no_version(store: Store, make: Make, issuance: Issuance, tokens: RedisTokenStore) -> None:
    token, unused = await make(), await make()
    ledger = RedisUsageLedger(store)
    ledger.used(token.id, 1_000)
    ledger.used(token.id, 1_795_000_000_123)
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
        ledger.used(token.id, used_ms)
        assert await ledger.flush()
    assert (await issuance.get(token.id)).last_used_at == 3_000


async def test_use_during_a_flush_is_written_by_the_next(store: Store, make: Make, issuance: Issuance) -> None:
    token = await make()
    ledger = RedisUsageLedger(store)
    ledger.used(token.id, 1_000)
    flush = asyncio.create_task(ledger.flush())
    await asyncio.sleep(0)
    ledger.used(token.id, 2_000)  # the batch has been taken, its answer is not there yet
    assert await flush
    assert await ledger.flush()
    assert (await issuance.get(token.id)).last_used_at == 2_000


async def test_notes_wait_while_the_store_is_away(own_server: EmbeddedStore, tmp_path: Path) -> None:
    store = Store(StoreOptions(own_server.url, tmp_path / "data", timeout_s=2, embedded=True))
    await store.start()
    ledger = RedisUsageLedger(store)
    assert own_server.pid
    os.kill(own_server.pid, signal.SIGKILL)
    ledger.used("a" * 12, 1)
    assert not await ledger.flush()
    ledger.used("a" * 12, 2)
    ledger.used("b" * 12, 3)
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
        ledger.used(f"{number:012}", number)
    assert await ledger.flush()
    async with store.session() as (session, _):
        assert await session.ask(("ZCARD", store.keys.last_used)) == [2_345]


async def test_memory_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_ledger, "_NOTED", 10)
    ledger = RedisUsageLedger(store)
    for number in range(50):
        ledger.used(f"{number:012}", number)
    ledger.used(f"{3:012}", 99)  # one that waits already may grow later
    assert await ledger.flush()
    async with store.session() as (session, _):
        assert await session.ask(("ZCARD", store.keys.last_used), ("ZSCORE", store.keys.last_used, f"{3:012}")) == [10, b"99"]


async def test_task_flushes_by_itself_and_what_is_left_at_the_end(store: Store, make: Make, issuance: Issuance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_ledger, "FLUSH_S", 0.01)
    token, last = await make(), await make()
    ledger = RedisUsageLedger(store)
    task = asyncio.create_task(ledger.run())
    ledger.used(token.id, 5)
    until = time.monotonic() + 10
    while (await issuance.get(token.id)).last_used_at is None:
        assert time.monotonic() < until
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    ledger.used(last.id, 6)
    await ledger.close()
    assert (await issuance.get(last.id)).last_used_at == 6
