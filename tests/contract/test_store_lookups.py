"""ports.TokenStore on a real server."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.core.token_text import TokenText, digest, make_token
from gateway.flow.issuance import Issuance
from gateway.ports import NOT_AT_HAND, StoreUnavailable
from gateway.store.connection import StoreOptions
from gateway.store.embedded import EmbeddedStore
from gateway.store.link import RECONNECT_S
from gateway.store.server import Store
from gateway.store.token_register import RedisTokenRegister
from gateway.store.token_store import RedisTokenStore
from gateway.store.wire import ask
from tests.contract.conftest import Make, draft

NOBODY = "000000000000"


@asynccontextmanager
async def opened(options: StoreOptions) -> AsyncIterator[Store]:
    store = Store(options)
    await store.start()
    try:
        yield store
    finally:
        await store.close()


async def calls(store: Store, command: str) -> int:
    """How often the server ran a command since CONFIG RESETSTAT."""
    async with store.session() as (session, _):
        text = (await session.ask(("INFO", "commandstats")))[0].decode()
    lines = [line for line in text.splitlines() if line.startswith(f"cmdstat_{command}:")]
    return int(lines[0].partition("calls=")[2].partition(",")[0]) if lines else 0


async def test_look_up_gives_the_record_and_the_stores_time(tokens: RedisTokenStore, make: Make) -> None:
    token = await make(grants=("worklogs:manage", "teams:view"), ips=("10.0.0.0/8", "::1/128"))
    record, now_ms = await tokens.fetch(token.id)
    assert record is not None
    assert (record.id, record.owner, record.state, record.version) == (token.id, "u1", "active", 1)
    assert record.digest == digest(token.text)
    assert record.grants.levels == {"worklogs": 2, "teams": 1}
    assert record.allowed_ips == (ip_network("10.0.0.0/8"), ip_network("::1/128"))
    assert record.created_at <= now_ms < record.expires_at
    assert record.expires_at - record.created_at == 86_400_000


async def test_no_such_token_is_none(tokens: RedisTokenStore) -> None:
    assert (await tokens.fetch(NOBODY)).record is None


@pytest.mark.parametrize("owner", ['a"b\\c', "名前", "{x}", "a b", "\u2028"])
async def test_any_owner_comes_back_as_it_was(tokens: RedisTokenStore, make: Make, register: RedisTokenRegister, owner: str) -> None:
    token = await make(owner=owner)
    record = (await tokens.fetch(token.id)).record
    assert record is not None
    assert record.owner == owner
    assert [found.id for _, found in (await register.page(owner=owner, cursor="", count=10))[0]] == [token.id]


async def test_look_ups_of_one_turn_are_one_round_trip(tokens: RedisTokenStore, store: Store, make: Make, valkey: EmbeddedStore) -> None:
    made = [await make() for _ in range(20)]
    await tokens.fetch(made[0].id)
    ask(valkey.socket, "CONFIG", "RESETSTAT", timeout_s=5)
    answers = await asyncio.gather(*(tokens.fetch(token.id) for token in made for _ in range(3)))
    assert [answer.record and answer.record.id for answer in answers] == [token.id for token in made for _ in range(3)]
    assert await calls(store, "mget") == 1
    assert await calls(store, "hget") == 0


async def test_ended_and_unknown_tokens_take_one_more_round_trip(
    tokens: RedisTokenStore, store: Store, make: Make, register: RedisTokenRegister, valkey: EmbeddedStore
) -> None:
    living, ended = await make(), await make()
    await register.revoke(ended.id)
    ask(valkey.socket, "CONFIG", "RESETSTAT", timeout_s=5)
    answers = await asyncio.gather(*(tokens.fetch(token_id) for token_id in (living.id, ended.id, NOBODY)))
    assert [answer.record and answer.record.state for answer in answers] == ["active", "revoked", None]
    assert await calls(store, "mget") == 1
    assert await calls(store, "hget") == 2


async def test_holder_of_an_ended_secret_can_be_told_why(tokens: RedisTokenStore, make: Make) -> None:
    token = await make(lifetime_ms=40)
    deadline = time.monotonic() + 10
    while True:
        record, now_ms = await tokens.fetch(token.id)
        assert record is not None  # before and after the live key's end
        if now_ms > record.expires_at + 50 or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.01)
    assert record.digest == digest(token.text)
    assert now_ms > record.expires_at


async def test_several_are_fetched_together_and_absent_ones_left_out(tokens: RedisTokenStore, make: Make, register: RedisTokenRegister) -> None:
    first, second = await make(), await make()
    await register.revoke(second.id)
    records, now_ms = await tokens.fetch_many([first.id, second.id, NOBODY, first.id])
    assert {token_id: record.state for token_id, record in records.items()} == {first.id: "active", second.id: "revoked"}
    assert abs(now_ms - time.time() * 1000) < 60_000


async def test_equal_grants_and_addresses_are_shared(tokens: RedisTokenStore, make: Make) -> None:
    facts = {"grants": ("teams:view",), "ips": ("10.0.0.0/8",)}
    first, second = [(await tokens.fetch((await make(**facts)).id)).record for _ in range(2)]
    assert first is not None
    assert second is not None
    assert first.grants is second.grants
    assert first.allowed_ips is second.allowed_ips


async def test_1000_cancelled_look_ups_never_cross(tokens: RedisTokenStore, make: Make) -> None:
    made = [await make() for _ in range(25)]
    noise = random.Random(3)

    async def one(token: TokenText) -> bool:
        record = (await tokens.fetch(token.id)).record
        assert record is not None
        assert (record.id, record.digest) == (token.id, digest(token.text))
        return True

    told = 0
    for _ in range(50):
        tasks = [asyncio.create_task(one(noise.choice(made))) for _ in range(40)]
        for turn in range(4):
            for task in noise.sample(tasks, 5):
                task.cancel()
            await asyncio.sleep(0 if turn % 2 else 0.0002)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(outcome is True or isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        told += outcomes.count(True)
    assert told > 500


async def test_emptied_store_is_unavailable_and_knows_no_unknown_token(
    tokens: RedisTokenStore, make: Make, valkey: EmbeddedStore, options: StoreOptions
) -> None:
    token = await make()
    ask(valkey.socket, "FLUSHALL", timeout_s=5)
    for token_id in (token.id, NOBODY):
        with pytest.raises(StoreUnavailable, match=r"was emptied.*store adopt"):
            await tokens.fetch(token_id)
    with pytest.raises(StoreUnavailable, match=r"was emptied.*store adopt"):  # also after a restart
        async with opened(options):
            pass


async def test_another_store_is_unavailable_until_it_is_adopted(tokens: RedisTokenStore, store: Store, make: Make, options: StoreOptions) -> None:
    token = await make()
    async with store.session() as (session, _):
        await session.write(("SET", store.keys.meta, "0" * 32))
    with pytest.raises(StoreUnavailable, match="is not the one"):
        await tokens.fetch(token.id)
    adopter = Store(options)
    await adopter.adopt()
    await adopter.close()
    deadline = time.monotonic() + 10
    while True:  # a gateway that runs notices it
        try:
            assert (await tokens.fetch(token.id)).record is not None
            break
        except StoreUnavailable:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)


async def test_adopted_empty_store_knows_no_token(tokens: RedisTokenStore, make: Make, valkey: EmbeddedStore, options: StoreOptions) -> None:
    token = await make()
    ask(valkey.socket, "FLUSHALL", timeout_s=5)
    adopter = Store(options)
    await adopter.adopt()
    await adopter.close()
    async with opened(options) as store:
        assert (await RedisTokenStore(store).fetch(token.id)).record is None


async def test_first_start_of_a_second_node_takes_the_store_as_it_is(
    store: Store, tokens: RedisTokenStore, make: Make, options: StoreOptions, tmp_path: Path
) -> None:
    token = await make()
    async with opened(replace(options, data_dir=tmp_path / "second")) as second:
        assert (await RedisTokenStore(second).fetch(token.id)).record is not None
        assert second.identity.id == store.identity.id
    assert (tmp_path / "second" / "store.id").read_bytes().strip() == store.identity.id


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b"not json", b'["x"]'])
async def test_damaged_record_takes_no_other_look_up_with_it(tokens: RedisTokenStore, store: Store, make: Make, value: bytes) -> None:
    damaged, sound = await make(), await make()
    async with store.session() as (session, _):
        await session.write(("SET", store.keys.live(damaged.id), value))
    outcomes = await asyncio.gather(tokens.fetch(damaged.id), tokens.fetch(sound.id), return_exceptions=True)
    assert isinstance(outcomes[0], StoreUnavailable)
    assert damaged.id in str(outcomes[0])
    assert not isinstance(outcomes[1], BaseException)
    assert outcomes[1].record is not None


async def test_record_of_another_token_is_never_taken(tokens: RedisTokenStore, store: Store, make: Make) -> None:
    mine, other = await make(), await make()
    async with store.session() as (session, _):
        await session.write(("COPY", store.keys.live(other.id), store.keys.live(mine.id), "REPLACE"))
    with pytest.raises(StoreUnavailable, match="another record"):
        await tokens.fetch(mine.id)


async def back_within_a_second(tokens: RedisTokenStore, token_id: str) -> None:
    """Service is back (G5)."""
    back = time.monotonic()
    while True:
        try:
            assert (await tokens.fetch(token_id)).record is not None
            break
        except StoreUnavailable:
            assert time.monotonic() - back < 1
            await asyncio.sleep(0.02)


async def test_store_that_is_gone_fails_at_once_and_is_back_without_a_restart(own_server: EmbeddedStore, tmp_path: Path) -> None:
    async with opened(StoreOptions(own_server.url, tmp_path / "data", timeout_s=2, embedded=True)) as store:
        tokens = RedisTokenStore(store)
        issued = await _created(store)
        assert own_server.pid
        os.kill(own_server.pid, signal.SIGKILL)
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match=r"cannot be reached|connection was lost|nothing listens"):
                await tokens.fetch(issued.id)
        deadline = time.monotonic() + 10
        while not own_server.revive():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        await back_within_a_second(tokens, issued.id)


async def test_frozen_store_fails_within_its_limit_and_thaws(own_server: EmbeddedStore, tmp_path: Path) -> None:
    async with opened(StoreOptions(own_server.url, tmp_path / "data", timeout_s=0.3, embedded=True)) as store:
        tokens = RedisTokenStore(store)
        issued = await _created(store)
        await tokens.fetch(issued.id)
        assert own_server.pid
        os.kill(own_server.pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            outcomes = await asyncio.gather(*(tokens.fetch(issued.id) for _ in range(10)), return_exceptions=True)
            await asyncio.sleep(0.15)
            more = await asyncio.gather(tokens.fetch(issued.id), return_exceptions=True)
            assert all(isinstance(outcome, StoreUnavailable) for outcome in [*outcomes, *more])
            assert time.monotonic() - started < 2
        finally:
            os.kill(own_server.pid, signal.SIGCONT)
        deadline = time.monotonic() + 5
        while True:
            try:
                record = (await tokens.fetch(issued.id)).record
                break
            except StoreUnavailable:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)
        assert record is not None
        assert record.id == issued.id


@pytest.mark.parametrize("command", ["mget", "time", "hget"])
async def test_look_up_that_is_refused_says_why(own_server: EmbeddedStore, tmp_path: Path, command: str) -> None:
    """Seen to fail with an error reply taken for the store's id: "the store is not the one that …"."""
    async with opened(StoreOptions(own_server.url, tmp_path / "data", timeout_s=5)) as store:
        ask(own_server.socket, "ACL", "SETUSER", "default", f"-{command}", timeout_s=5)
        with pytest.raises(StoreUnavailable, match="does not let this user do what the gateway needs"):
            await RedisTokenStore(store).fetch(NOBODY)


async def test_closed_store_answers_nobody(options: StoreOptions) -> None:
    store = Store(options)
    await store.start()
    tokens = RedisTokenStore(store)
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await tokens.fetch(NOBODY)


async def _created(store: Store) -> TokenText:
    token = make_token("sgt", os.urandom)
    await RedisTokenRegister(store).create(draft(token), max_per_owner=100, clock_ms=time.time_ns() // 1_000_000, max_skew_ms=60_000)
    return token


async def test_regenerated_record_holds_both_digests(tokens: RedisTokenStore, issuance: Issuance, make: Make) -> None:
    token = await make()
    issued = await issuance.regenerate(token.id, overlap_s=60)
    record = (await tokens.fetch(token.id)).record
    assert record is not None
    assert (record.digest, record.previous, record.version) == (digest(issued.secret), digest(token.text), 2)
    assert issued.secret not in repr(record)


@pytest.mark.parametrize("records", [0, 100])
async def test_server_that_becomes_a_replica_is_asked_no_more_until_it_is_a_primary_again(own_server: EmbeddedStore, tmp_path: Path, records: int) -> None:
    """Seen to fail without ``give_up``, and, by a look-up that is answered after the link was made anew, without HELLO's role."""
    async with opened(StoreOptions(own_server.url, tmp_path / "data", timeout_s=2)) as store:
        tokens = RedisTokenStore(store, records=records, lease_s=0.4)
        beats = asyncio.create_task(tokens.run())
        issued = await _created(store)
        assert (await tokens.fetch(issued.id)).record is not None
        ask(own_server.socket, "REPLICAOF", "127.0.0.1", "1", timeout_s=5)
        deadline = time.monotonic() + 10
        said = ""
        while not said:
            assert time.monotonic() < deadline
            try:
                await tokens.fetch(issued.id)
                await asyncio.sleep(0.02)
            except StoreUnavailable as why:
                said = str(why)
        assert said.endswith("is a read-only replica: name its primary in store.url")
        for _ in range(25):  # through several new connections
            with pytest.raises(StoreUnavailable, match="read-only replica"):
                await tokens.fetch(issued.id)
            assert tokens.at_hand(issued.id) == (NOT_AT_HAND, 0)
            await asyncio.sleep(0.02)
        ask(own_server.socket, "REPLICAOF", "NO", "ONE", timeout_s=5)
        await back_within_a_second(tokens, issued.id)
        beats.cancel()


@pytest.mark.parametrize("frozen", [False, True])
async def test_connections_whose_beginning_fails_are_closed_without_the_garbage_collector(own_server: EmbeddedStore, tmp_path: Path, frozen: bool) -> None:
    """Seen to fail (refused) without ``disconnect`` in the link. The one in ``connect`` is for a Python whose StreamWriter has no finaliser."""
    async with opened(StoreOptions(own_server.url, tmp_path / "data", timeout_s=0.2)) as store:
        tokens = RedisTokenStore(store, records=100)
        before = len(list(Path("/proc/self/fd").iterdir()))
        assert own_server.pid
        if frozen:
            os.kill(own_server.pid, signal.SIGSTOP)
        else:
            assert ask(own_server.socket, "ACL", "SETUSER", "default", "-client|tracking", timeout_s=5) == b"+OK"
        gc.disable()
        try:
            for _ in range(5):
                with pytest.raises(StoreUnavailable):
                    await tokens.fetch(NOBODY)
                await asyncio.sleep(RECONNECT_S)
            assert len(list(Path("/proc/self/fd").iterdir())) <= before
        finally:
            gc.enable()
            os.kill(own_server.pid, signal.SIGCONT)
