"""What the facts of a store mean: what can be lost, and what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.finding import Finding
from gateway.ports import StoreUnavailable
from gateway.store import diagnosis
from gateway.store.connection import StoreOptions
from gateway.store.diagnosis import StoreFacts
from gateway.store.identity import StoreIdentity

GOOD = StoreFacts({"aof_enabled": "1"}, "everysec", "", waitaof=True, latency_s=0.0002, ahead_s=0.0, certificate_ends=None, changes="", pushes="", id=b"a" * 32)
OPTIONS = StoreOptions("redis://127.0.0.1", Path("data"))


def info(**facts: str) -> StoreFacts:
    return replace(GOOD, info={**GOOD.info, **facts})


@pytest.mark.parametrize(
    ("facts", "level", "said"),
    [
        (GOOD, "ok", "survives a crash; a power loss may take the last second, a revoke too"),
        (replace(GOOD, fsync="always"), "ok", "survives a crash and a power loss"),
        (replace(GOOD, fsync="always", waitaof=False), "ok", "survives a crash and a power loss"),
        (replace(GOOD, fsync="no"), "warn", "a power loss may take the last half minute, a revoke too: set appendfsync everysec, or always"),
        (replace(GOOD, fsync=None), "ok", "the server does not say how often it is synced, WAITAOF"),
        (replace(GOOD, waitaof=False), "warn", "no WAITAOF: a crash of the store while its disk is slow may take up to 2 s of answered changes"),
        (info(aof_enabled="0"), "fail", "keeps nothing on disk: its next restart loses every token: set appendonly yes on it"),
        (replace(info(aof_enabled="0"), snapshots="3600 1"), "warn", "a crash loses every change since its last snapshot, so a revoked token may work again"),
        (replace(info(aof_enabled="0"), snapshots=None), "warn", "a crash loses every change since its last snapshot"),
        (info(aof_last_write_status="err"), "fail", "could not write its append-only file the last time: free its disk"),
        (info(connected_slaves="1"), "ok", "a fail-over to a replica may lose the last changes"),
    ],
)
def test_what_can_be_lost_is_said(facts: StoreFacts, level: str, said: str) -> None:
    found = diagnosis.durability(facts)
    assert found.level == level
    assert said in found.text


@pytest.mark.parametrize(
    ("facts", "allow", "level", "said"),
    [
        (info(used_memory="2097152"), False, "ok", "2.0 MiB used, no limit, noeviction"),
        (info(maxmemory_policy="volatile-lru"), False, "warn", "with a limit the store would evict tokens (volatile-lru), and serve would not start"),
        (info(used_memory="79", maxmemory="100"), False, "ok", "(79 %)"),
        (info(used_memory="80", maxmemory="100"), False, "warn", "(80 %), noeviction: changes are refused once it is full: raise its maxmemory soon"),
        (info(used_memory="95", maxmemory="100"), False, "fail", "raise its maxmemory"),
        (info(used_memory="1", maxmemory="100", maxmemory_policy="allkeys-lru"), True, "warn", "once full, tokens vanish, by store.allow_eviction"),
    ],
)
def test_room_and_eviction_are_told(facts: StoreFacts, allow: bool, level: str, said: str) -> None:
    found = diagnosis.memory(facts, allow_eviction=allow)
    assert found.level == level
    assert said in found.text


@pytest.mark.parametrize(
    ("ahead", "level", "said"),
    [
        (0.0, "ok", "within 0.1 s"),
        (-0.9, "ok", "within 0.9 s"),
        (1.5, "warn", "1.5 s ahead of the store's"),
        (-60.0, "warn", "60.0 s behind"),
        (60.1, "fail", "no token can be made"),
    ],
)
def test_clocks_that_differ_are_told(ahead: float, level: str, said: str) -> None:
    found = diagnosis.clock(replace(GOOD, ahead_s=ahead))
    assert found.level == level
    assert said in found.text


@pytest.mark.parametrize(
    ("latency", "timeout", "lease", "level", "said"),
    [
        (0.0002, 0.25, 2.0, "ok", "answers in 0.2 ms, store.timeout 250 ms, store.lease 2 s"),
        (0.1, 0.25, 2.0, "warn", "raise store.timeout"),
        (0.0002, 1.1, 2.0, "warn", "set store.timeout to half of store.lease or less"),
        (0.0002, 1.0, 2.0, "ok", "answers in"),
    ],
)
def test_latency_timeout_and_lease_must_fit(latency: float, timeout: float, lease: float, level: str, said: str) -> None:
    found = diagnosis.pace(replace(GOOD, latency_s=latency), replace(OPTIONS, timeout_s=timeout, lease_s=lease))
    assert found.level == level
    assert said in found.text


def test_store_that_takes_no_changes_fails_in_its_own_words() -> None:
    assert diagnosis.changes(GOOD).level == "ok"
    assert diagnosis.changes(replace(GOOD, changes="it is full: make room")) == ("store changes", "fail", "it is full: make room", "")


def test_store_that_does_not_push_fails() -> None:
    assert diagnosis.pushes(GOOD).level == "ok"
    found = diagnosis.pushes(replace(GOOD, pushes="refused"))
    assert found.level == "fail"
    assert "no proxy before it" in found.text


@pytest.mark.parametrize(
    ("url", "level"),
    [("redis://:s3cret@cache.example:6379", "warn"), ("redis://:s3cret@127.0.0.1", ""), ("redis://localhost/1", ""), ("unix:///run/s.sock", "")],
)
def test_records_that_cross_a_network_in_the_clear_are_told(url: str, level: str) -> None:
    found = diagnosis.transport(GOOD, replace(OPTIONS, url=url), 0)
    assert [each.level for each in found] == ([level] if level else [])
    assert "s3cret" not in str(found)


def test_certificate_that_ends_soon_is_told() -> None:
    def days(count: float) -> Finding:
        (found,) = diagnosis.transport(replace(GOOD, certificate_ends=1e9 + count * 86_400), replace(OPTIONS, url="rediss://h"), 1e9)
        return found

    assert days(14.1) == ("store transport", "ok", "TLS; its certificate holds for 14 more days", "")
    assert (days(13.9).level, days(13.9).text) == ("warn", "TLS; its certificate holds for 13 more days: renew it")


def test_store_that_is_not_the_remembered_one_fails(tmp_path: Path) -> None:
    known = StoreIdentity(tmp_path / "store.id")
    assert "the store is new: the first start writes" in diagnosis.identity(None, known).text
    assert "this node has not met it yet" in diagnosis.identity(b"b" * 32, known).text
    known.remember(b"a" * 32)
    assert diagnosis.identity(b"a" * 32, known).level == "ok"
    for found, said in ((b"b" * 32, "is not the one that"), (None, "was emptied")):
        told = diagnosis.identity(found, known)
        assert told.level == "fail"
        assert said in told.text
        assert "scopegate store adopt" in told.text
    known.path.write_text("damaged")
    with pytest.raises(StoreUnavailable, match="does not hold a store's id"):
        diagnosis.identity(b"a" * 32, known)


@pytest.mark.parametrize(
    ("facts", "name"), [({"valkey_version": "9.1.2", "redis_version": "7.2.4"}, "Valkey 9.1.2"), ({"redis_version": "7.0.15"}, "Redis 7.0.15")]
)
def test_valkey_is_known_from_redis(facts: dict[str, str], name: str) -> None:
    assert replace(GOOD, info=facts).name == name
