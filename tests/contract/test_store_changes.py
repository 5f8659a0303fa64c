"""ports.TokenRegister on a real server: both keys at once, durable, with indexes that mend themselves."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.token_text import TokenText, digest, make_token
from gateway.flow.issuance import Issuance
from gateway.ports import StoreUnavailable
from gateway.store.connection import StoreOptions
from gateway.store.embedded import EmbeddedStore
from gateway.store.server import Store
from gateway.store.token_register import RedisTokenRegister
from gateway.store.token_store import RedisTokenStore
from gateway.store.wire import ask
from tests.contract.conftest import Make, draft
from tests.harness.relay import Cable, Relay

KEPT_MS = 90 * 86_400_000


async def created(register: RedisTokenRegister, token: TokenText, clock_ms: int | None = None) -> str:
    now_ms = time.time_ns() // 1_000_000 if clock_ms is None else clock_ms
    return (await register.create(draft(token), max_per_owner=100, clock_ms=now_ms, max_skew_ms=60_000)).outcome


async def both(store: Store, token_id: str) -> tuple[bytes | None, bytes | None, int, int]:
    """Live value, the same in the info hash, and when each key ends."""
    async with store.session() as (session, _):
        live, info = store.keys.live(token_id), store.keys.info(token_id)
        _, *_, (value, copy, ends, kept) = await session.ask(
            ("MULTI",), ("GET", live), ("HGET", info, "live"), ("PEXPIRETIME", live), ("PEXPIRETIME", info), ("EXEC",)
        )
    return value, copy, ends, kept


async def test_both_keys_are_made_together_with_their_ends(store: Store, make: Make, register: RedisTokenRegister) -> None:
    token = await make()
    record = (await register.record(token.id))[0]
    assert record is not None
    value, copy, ends, kept = await both(store, token.id)
    assert value is not None
    assert value == copy
    assert (ends, kept) == (record.expires_at, record.expires_at + KEPT_MS)


async def test_both_keys_change_at_once(store: Store, make: Make, issuance: Issuance) -> None:
    """While a token changes all the time, no reader ever sees one key ahead of the other."""
    token = await make()
    done = asyncio.Event()
    versions = set()

    async def change() -> None:
        for _ in range(15):
            await issuance.regenerate(token.id)
            await issuance.suspend(token.id)
            await issuance.resume(token.id)
            await issuance.rename(token.id, name="other")
        done.set()

    async def watch() -> None:
        while not done.is_set():
            value, copy, _, _ = await both(store, token.id)
            assert value == copy
            versions.add(value)

    await asyncio.gather(change(), watch())
    assert len(versions) > 5


async def test_every_change_raises_the_version_of_both_keys(tokens: RedisTokenStore, make: Make, issuance: Issuance) -> None:
    token = await make()
    for version, work in enumerate((issuance.regenerate, issuance.suspend, issuance.resume, issuance.revoke), 2):
        await work(token.id)
        record = (await tokens.fetch(token.id)).record
        assert record is not None
        assert record.version == (await issuance.get(token.id)).version == version


async def test_revoked_token_lives_no_more_and_is_known_for_90_days(store: Store, make: Make, issuance: Issuance) -> None:
    token = await make()
    await issuance.revoke(token.id)
    value, copy, _, kept = await both(store, token.id)
    assert value is None
    assert copy is not None
    assert abs(kept - KEPT_MS - issuance.now_ms()) < 60_000
    await issuance.rename(token.id, name="late")  # does not bring it back, nor keep it longer
    assert (await both(store, token.id))[3] == kept
    assert (await both(store, token.id))[0] is None


async def test_scripts_survive_a_script_flush(make: Make, issuance: Issuance, valkey: EmbeddedStore) -> None:
    token = await make()
    for work in (issuance.regenerate, issuance.suspend, issuance.resume, issuance.revoke):
        assert ask(valkey.socket, "SCRIPT", "FLUSH", timeout_s=5) == b"+OK"
        await work(token.id)
    ask(valkey.socket, "SCRIPT", "FLUSH", timeout_s=5)
    await make()


async def test_id_that_exists_is_taken_and_stays_as_it_was(register: RedisTokenRegister, store: Store, make: Make) -> None:
    token = await make()
    before = await both(store, token.id)
    assert await created(register, TokenText(token.id, "other")) == "taken"
    async with store.session() as (session, _):  # also where the index has lost it
        await session.write(("DEL", store.keys.ids))
    assert await created(register, TokenText(token.id, "other")) == "taken"
    assert await both(store, token.id) == before


async def test_change_on_an_emptied_store_is_unavailable_not_unknown(
    make: Make, issuance: Issuance, register: RedisTokenRegister, valkey: EmbeddedStore
) -> None:
    token = await make()
    ask(valkey.socket, "FLUSHALL", timeout_s=5)
    for work in (issuance.get, issuance.revoke, issuance.regenerate):
        with pytest.raises(StoreUnavailable, match="was emptied"):
            await work(token.id)
    with pytest.raises(StoreUnavailable, match="was emptied"):
        await created(register, make_token("sgt", os.urandom))


async def test_lost_index_of_all_is_made_anew_when_read(store: Store, make: Make, register: RedisTokenRegister) -> None:
    ids = {(await make(owner=owner)).id for owner in ("u1", "u1", "u2")}
    async with store.session() as (session, _):
        await session.write(("DEL", store.keys.ids, store.keys.owner("u1"), store.keys.owner("u2")))
    assert {record.id for _, record in (await register.page(owner=None, cursor="", count=10))[0]} == ids
    assert len((await register.page(owner="u1", cursor="", count=10))[0]) == 2


async def test_lost_owners_index_is_mended_when_all_are_read(store: Store, make: Make, register: RedisTokenRegister) -> None:
    token = await make()
    async with store.session() as (session, _):
        await session.write(("DEL", store.keys.owner("u1")))
    assert (await register.page(owner="u1", cursor="", count=10))[0] == []
    await register.page(owner=None, cursor="", count=10)
    assert [record.id for _, record in (await register.page(owner="u1", cursor="", count=10))[0]] == [token.id]


async def test_index_entries_without_a_record_are_taken_out(store: Store, make: Make, register: RedisTokenRegister) -> None:
    token = await make()
    async with store.session() as (session, now_ms):
        await session.write(("ZADD", store.keys.ids, now_ms - 61_000, "oldoldoldold"), ("ZADD", store.keys.ids, now_ms, "newnewnewnew"))
    assert [record.id for _, record in (await register.page(owner=None, cursor="", count=10))[0]] == [token.id]
    async with store.session() as (session, _):
        (members,) = await session.ask(("ZRANGE", store.keys.ids, 0, -1))
    assert members == [token.id.encode()]


async def test_prefix_of_the_store_may_hold_any_character(options: StoreOptions, tmp_path: Path) -> None:
    store = Store(replace(options, prefix="a*[b]?\\:", data_dir=tmp_path / "other"))
    await store.start()
    register = RedisTokenRegister(store)
    token = make_token("sgt", os.urandom)
    assert await created(register, token) == "done"
    async with store.session() as (session, _):
        await session.write(("DEL", store.keys.ids))
    assert [record.id for _, record in (await register.page(owner=None, cursor="", count=10))[0]] == [token.id]
    await store.close()


async def test_answered_change_was_confirmed_to_be_in_the_append_only_file(make: Make, issuance: Issuance, valkey: EmbeddedStore, store: Store) -> None:
    """The order of commands on the wire: the script, its answer, then WAITAOF."""
    token = await make()
    ask(valkey.socket, "CONFIG", "RESETSTAT", timeout_s=5)
    for work in (issuance.regenerate, issuance.suspend, issuance.resume, issuance.revoke):
        await work(token.id)
    async with store.session() as (session, _):
        stats = (await session.ask(("INFO", "commandstats")))[0].decode()
    assert "cmdstat_waitaof:calls=4," in stats


async def test_embedded_server_without_its_append_only_file_refuses_to_confirm(own_server: EmbeddedStore, tmp_path: Path) -> None:
    store = Store(StoreOptions(own_server.url, tmp_path / "data", timeout_s=5, embedded=True))
    await store.start()
    ask(own_server.socket, "CONFIG", "SET", "appendonly", "no", timeout_s=5)
    with pytest.raises(StoreUnavailable) as refused:
        await created(RedisTokenRegister(store), make_token("sgt", os.urandom))
    assert refused.value.written
    await store.close()


async def test_server_of_the_operators_own_without_append_only_file_carries_on(own_server: EmbeddedStore, tmp_path: Path) -> None:
    ask(own_server.socket, "CONFIG", "SET", "appendonly", "no", timeout_s=5)
    store = Store(StoreOptions(own_server.url, tmp_path / "data", timeout_s=5))
    await store.start()
    assert await created(RedisTokenRegister(store), make_token("sgt", os.urandom)) == "done"
    await store.close()


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), "is full"),
        (("REPLICAOF", "127.0.0.1", "1"), "read-only replica"),
        (("ACL", "SETUSER", "default", "-evalsha", "-eval"), "does not let this user"),
        (("CONFIG", "SET", "min-replicas-to-write", "3"), "too few replicas follow it"),
    ],
    ids=["full", "read-only", "narrow ACL", "too few replicas"],
)
async def test_store_that_takes_no_change_is_unavailable_and_nothing_was_written(
    own_server: EmbeddedStore, tmp_path: Path, break_it: tuple[str, ...], told: str
) -> None:
    store = Store(StoreOptions(own_server.url, tmp_path / "data", timeout_s=5, embedded=True))
    await store.start()
    register, token = RedisTokenRegister(store), make_token("sgt", os.urandom)
    assert await created(register, token) == "done"
    assert ask(own_server.socket, *break_it, timeout_s=5) == b"+OK"
    with pytest.raises(StoreUnavailable, match=told) as refused:
        await register.suspend(token.id)
    assert not refused.value.written
    ask(own_server.socket, "REPLICAOF", "NO", "ONE", timeout_s=5)  # a replica is asked nothing
    record = (await RedisTokenStore(store).fetch(token.id)).record
    assert record is not None
    assert (record.state, record.digest) == ("active", digest(token.text))
    await store.close()


async def test_what_fails_after_a_change_was_made_says_that_it_may_have_been(own_server: EmbeddedStore, tmp_path: Path) -> None:
    """Seen to fail with a refusal's ``written`` left out."""
    store = Store(StoreOptions(own_server.url, tmp_path / "data", timeout_s=5, embedded=True))
    await store.start()
    register, token = RedisTokenRegister(store), make_token("sgt", os.urandom)
    assert await created(register, token) == "done"
    assert ask(own_server.socket, "ACL", "SETUSER", "default", "-zmscore", timeout_s=5) == b"+OK"
    with pytest.raises(StoreUnavailable, match="does not let this user") as refused:
        await register.suspend(token.id)
    assert refused.value.written
    assert ask(own_server.socket, "ACL", "SETUSER", "default", "+zmscore", timeout_s=5) == b"+OK"
    record, _ = await register.record(token.id)
    assert record is not None
    assert record.state == "suspended"
    await store.close()


async def test_what_fails_after_a_change_says_that_it_may_have_been_made(own_server: EmbeddedStore, tmp_path: Path) -> None:
    """Seen to fail with ``written`` told by the command alone that failed (store/session.py)."""

    def look(cable: Cable, data: bytes) -> None:
        if b"ZMSCORE" in data:  # asked when the change has been made and is in the append-only file
            cable.down.hold()

    with Relay(own_server.socket) as relay:
        store = Store(StoreOptions(f"redis://127.0.0.1:{relay.port}", tmp_path / "data", timeout_s=0.5, embedded=True))
        await store.start()
        register, token = RedisTokenRegister(store), make_token("sgt", os.urandom)
        assert await created(register, token) == "done"
        relay.on_question = look
        with pytest.raises(StoreUnavailable) as refused:
            await register.revoke(token.id)
        assert refused.value.written
        relay.mend()
        record = (await register.record(token.id))[0]
        assert record is not None
        assert record.state == "revoked"
        await store.close()


async def test_the_first_end_of_a_process_is_refused_as_soon_as_any_where_the_store_stands_still(own_server: EmbeddedStore, tmp_path: Path) -> None:
    """Seen to fail with listening to confirmations before the store is asked: both took their time, one after the other."""
    store = Store(StoreOptions(own_server.url, tmp_path / "data", timeout_s=1, embedded=True))
    await store.start()
    register, token = RedisTokenRegister(store), make_token("sgt", os.urandom)
    assert await created(register, token) == "done"
    assert own_server.pid
    os.kill(own_server.pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable) as refused:
            await register.revoke(token.id)
        assert time.monotonic() - begun < 1.9
        assert not refused.value.written
    finally:
        os.kill(own_server.pid, signal.SIGCONT)
    await store.close()
