"""The store examined for real: the shipped Valkey, Debian's Redis, by TLS, filled up, read-only, refusing, or not there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.finding import Finding
from gateway.settings import TlsFiles
from gateway.store.connection import StoreOptions
from gateway.store.diagnosis import examine_store
from gateway.store.embedded import EmbeddedStore
from gateway.store.server import Store
from gateway.store.wire import ask
from tests.harness.certificates import authority, issue
from tests.harness.redis_server import RedisServer


async def found(options: StoreOptions) -> dict[str, Finding]:
    findings = await examine_store(options)
    assert all("\n" not in each.text and "s3cret" not in each.text for each in findings)
    by_check = {each.check: each for each in findings}
    assert len(by_check) == len(findings)
    return by_check


async def test_the_shipped_server_is_fine_and_nothing_is_changed_in_it(own_server: EmbeddedStore, tmp_path: Path) -> None:
    options = StoreOptions(own_server.url, tmp_path / "data", timeout_s=5, lease_s=10, embedded=True)
    told = await found(options)
    assert {check: each.level for check, each in told.items()} == dict.fromkeys(
        ["store", "durability", "store memory", "store pushes", "store identity", "store pace", "clock"], "ok"
    )
    assert told["store"].found.startswith(f"Valkey 9.1.2 at {own_server.url}, a primary, answers in ")
    assert "WAITAOF: an answered change survives a crash; a power loss may take the last second" in told["durability"].found
    assert "the store is new" in told["store identity"].found
    assert ask(own_server.socket, "DBSIZE", timeout_s=5) == b":0"
    assert not options.data_dir.exists()


async def test_settings_of_the_server_are_read_from_it(own_server: EmbeddedStore, tmp_path: Path) -> None:
    options = StoreOptions(own_server.url, tmp_path / "data", timeout_s=5, lease_s=10)
    ask(own_server.socket, "CONFIG", "SET", "appendfsync", "always", timeout_s=5)
    assert "survives a crash and a power loss" in (await found(options))["durability"].found
    ask(own_server.socket, "CONFIG", "SET", "appendonly", "no", timeout_s=5)
    assert (await found(options))["durability"].level == "fail"
    ask(own_server.socket, "CONFIG", "SET", "save", "60 1", timeout_s=5)
    assert (await found(options))["durability"].level == "warn"
    ask(own_server.socket, "CONFIG", "SET", "maxmemory", "1100000", timeout_s=5)
    assert (await found(options))["store memory"].level in {"warn", "fail"}
    ask(own_server.socket, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru", timeout_s=5)
    told = (await found(options))["store"]
    assert told.level == "fail"
    assert "evicts keys (allkeys-lru), so tokens would vanish" in told.found


async def test_store_that_was_emptied_fails(own_server: EmbeddedStore, tmp_path: Path) -> None:
    options = StoreOptions(own_server.url, tmp_path / "data", timeout_s=5, lease_s=10)
    store = Store(options)
    await store.start()
    await store.close()
    assert (await found(options))["store identity"].level == "ok"
    ask(own_server.socket, "FLUSHALL", timeout_s=5)
    told = (await found(options))["store identity"]
    assert told.level == "fail"
    assert "was emptied" in told.found


async def test_replica_fails_as_serve_would(own_server: EmbeddedStore, tmp_path: Path) -> None:
    ask(own_server.socket, "REPLICAOF", "127.0.0.1", "1", timeout_s=5)
    told = (await found(StoreOptions(own_server.url, tmp_path, timeout_s=5, lease_s=10)))["store"]
    assert told.level == "fail"
    assert "read-only replica: name its primary in store.url" in told.found


async def test_user_who_may_not_ask_is_told_what_is_missing(own_server: EmbeddedStore, tmp_path: Path) -> None:
    ask(own_server.socket, "ACL", "SETUSER", "gate", "on", ">s3cret", "~sg:*", "&*", "+@all", "-config", "-client|tracking", timeout_s=5)
    told = await found(StoreOptions(f"unix://gate:s3cret@{own_server.socket}", tmp_path, timeout_s=5, lease_s=10))
    assert told["store"].level == "ok"
    assert "does not say how often it is synced" in told["durability"].found
    assert told["store pushes"].level == "fail"
    assert "widen its ACL" in told["store pushes"].found


async def test_debians_redis_by_tls_says_what_a_crash_can_take(tmp_path: Path) -> None:
    ca = authority(tmp_path)
    shown, ours = issue(ca, "server", "DNS:localhost", days=10), issue(ca, "client")
    with RedisServer(tmp_path / "redis", tls=shown, ca=ca.certificate, appendonly="yes", requirepass="s3cret") as server:
        files = TlsFiles(ca.certificate, ours.certificate, ours.key)
        options = StoreOptions(f"rediss://:s3cret@localhost:{server.port}", tmp_path / "data", timeout_s=5, lease_s=10, tls=files)
        told = await found(options)
        assert told["store"].found.startswith("Redis ")
        assert told["store pushes"].level == "ok"
        assert (told["store transport"].level, told["store transport"].text) == ("warn", "TLS; its certificate holds for 9 more days: renew it")
        assert told["durability"].level == "warn"
        assert "no WAITAOF" in told["durability"].found
        assert "a power loss the last 2 s, a revoke too" in told["durability"].found
        alone = await found(replace(options, tls=TlsFiles(ca.certificate)))
        assert list(alone) == ["store"]
        assert "asks for a client certificate" in alone["store"].found


@pytest.mark.parametrize("url", ["redis://:s3cret@127.0.0.1:1", "unix:///nowhere/s.sock"])
async def test_store_that_is_not_there_is_one_line(url: str, tmp_path: Path) -> None:
    told = await found(StoreOptions(url, tmp_path, timeout_s=1))
    assert list(told) == ["store"]
    assert told["store"].level == "fail"
    assert "cannot be reached" in told["store"].found
