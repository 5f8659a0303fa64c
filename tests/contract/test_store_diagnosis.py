"""The store examined for real: the shipped Valkey, Debian's Redis, by TLS, filled up, read-only, refusing, or not there."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
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
from tests.harness.relay import Relay
from tests.harness.valkey_server import USER, ValkeyServer
from tests.harness.waiting import eventually


async def found(options: StoreOptions) -> dict[str, Finding]:
    """By check, each one line without a secret that says what to do where something is."""
    findings = await examine_store(options)
    assert all("\n" not in each.text and "s3cret" not in each.text for each in findings)
    assert all(each.level == "ok" or re.search("[:;] [a-z]+ ", each.text) for each in findings)
    by_check = {each.check: each for each in findings}
    assert len(by_check) == len(findings)
    return by_check


async def test_the_shipped_server_is_fine_and_nothing_is_changed_in_it(own_server: EmbeddedStore, tmp_path: Path) -> None:
    options = StoreOptions(own_server.url, tmp_path / "data", timeout_s=5, lease_s=10, embedded=True)
    told = await found(options)
    assert {check: each.level for check, each in told.items()} == dict.fromkeys(
        ["store", "durability", "store memory", "store changes", "store pushes", "store identity", "store pace", "clock"], "ok"
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


@pytest.fixture
def reached(tmp_path: Path) -> Iterator[tuple[ValkeyServer, Relay]]:
    """A server on a port, and a relay before it."""
    with ValkeyServer(tmp_path / "server") as server, Relay(server.port) as relay:
        yield server, relay


def command(*words: str) -> Callable[[ValkeyServer, Relay], object]:
    """A state that the server comes into by a command."""

    def done(server: ValkeyServer, _: Relay) -> object:
        with server.client() as client:
            return client.execute_command(*words)

    return done


def be_the_only_client(server: ValkeyServer, _: Relay) -> object:
    """A server that takes one client, which is the one that is returned."""
    client = server.client()
    client.config_set("maxclients", "1")
    return client


def hears(said: bytes, instead: bytes) -> Callable[[ValkeyServer, Relay], object]:
    """What a server would say that can't be had here, or not be brought into that state."""
    return lambda _, relay: setattr(relay, "on_answer", lambda data: data.replace(said, instead))


def answers_late(_: ValkeyServer, relay: Relay) -> None:
    def late(data: bytes) -> bytes:
        time.sleep(0.3)
        return data

    relay.on_answer = late


def limit_to(percent: int) -> Callable[[ValkeyServer, Relay], object]:
    """A memory limit of which so much is used."""

    def done(server: ValkeyServer, _: Relay) -> object:
        with server.client() as client:
            return client.config_set("maxmemory", str(client.info("memory")["used_memory"] * 100 // percent))

    return done


STATES = {
    "too old": (hears(b"valkey_version:9.", b"valkey_version:7."), "store", "fail", "which is too old: use at least Redis 6.2 or Valkey 7.2"),
    "no append-only file": (command("CONFIG", "SET", "appendonly", "no"), "durability", "fail", "loses every token: set appendonly yes on it"),
    "its file can't be written": (
        hears(b"write_status:ok", b"write_status:er"),
        "durability",
        "fail",
        "could not write its append-only file the last time: free",
    ),
    "fsync left to the system": (command("CONFIG", "SET", "appendfsync", "no"), "durability", "warn", "a revoke too: set appendfsync everysec, or always"),
    "evicts": (
        command("CONFIG", "SET", "maxmemory-policy", "volatile-ttl"),
        "store memory",
        "warn",
        "serve would not start: set maxmemory-policy noeviction on it",
    ),
    "nearly full": (limit_to(90), "store memory", "warn", "changes are refused once it is full: raise its maxmemory soon"),
    "full": (command("CONFIG", "SET", "maxmemory", "1"), "store changes", "fail", "is full (OOM): raise its maxmemory"),
    "too few replicas": (command("CONFIG", "SET", "min-replicas-to-write", "1"), "store changes", "fail", "follow it (NOREPLICAS): mend them, or lower its"),
    "a user who may not change": (
        command("ACL", "SETUSER", USER, "-@write"),
        "store changes",
        "fail",
        "does not let this user do what the gateway needs: widen",
    ),
    "a user who may run no script": (
        command("ACL", "SETUSER", USER, "-eval"),
        "store changes",
        "fail",
        "does not let this user do what the gateway needs: widen",
    ),
    "a replica": (command("REPLICAOF", "127.0.0.1", "1"), "store changes", "fail", "is a read-only replica: name its primary in store.url"),
    "another store": (command("SET", "sg:meta", "0" * 32), "store identity", "fail", "is not the one that"),
    "far away": (answers_late, "store pace", "warn", "a slow moment of the store refuses requests: raise store.timeout"),
    "another password": (command("ACL", "SETUSER", USER, "resetpass", ">another"), "store", "fail", "refuses the user or the password of store.url: mend"),
    "no more clients": (be_the_only_client, "store", "fail", "has as many clients as it takes: raise its maxclients"),
    "loading": (lambda server, _: server.load_slowly(), "store", "fail", "is still loading its data: wait until it is done"),
    "frozen": (lambda server, _: server.freeze(), "store", "fail", "did not answer within 1000 ms (store.timeout): look at its load, or raise the limit"),
    "down": (lambda server, relay: (server.kill(), relay.refuse()), "store", "fail", "nothing listens there; start it, or mend store.url"),
}


@pytest.mark.parametrize("name", STATES)
async def test_each_state_is_told_with_what_to_do(name: str, reached: tuple[ValkeyServer, Relay], tmp_path: Path) -> None:
    """Seen to fail without the change and without the script that are tried, with a line that has no advice, and with one that has a wrong reason."""
    server, relay = reached
    bring_about, check, level, said = STATES[name]
    options = StoreOptions(server.url(relay.port), tmp_path / "data", timeout_s=1, lease_s=10)
    store = Store(options)
    await store.start()
    await store.close()
    healthy = await found(options)
    assert healthy[check].level == "ok"
    held = bring_about(server, relay)
    told = (await found(options))[check]
    del held
    assert told.level == level
    assert said in told.text


async def test_server_that_is_followed_by_a_replica_is_told_with_what_a_fail_over_loses(reached: tuple[ValkeyServer, Relay], tmp_path: Path) -> None:
    server, _ = reached
    with ValkeyServer(tmp_path / "replica", replicaof=["127.0.0.1", server.port]), server.client() as client:
        eventually(lambda: client.info("replication")["connected_slaves"] == 1, "a replica")
        told = (await found(StoreOptions(server.url(), tmp_path / "data", timeout_s=5, lease_s=10)))["durability"]
    assert told.level == "ok"
    assert "a fail-over to a replica may lose the last changes" in told.text


@pytest.mark.parametrize(
    ("ahead_s", "level", "said"), [(2.5, "warn", "let NTP set both; from 60 s on"), (-90, "fail", "no token can be made: let NTP set both")]
)
async def test_clock_that_differs_from_the_stores_is_told(
    reached: tuple[ValkeyServer, Relay], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead_s: float, level: str, said: str
) -> None:
    server, _ = reached
    ours = time.time
    monkeypatch.setattr(time, "time", lambda: ours() + ahead_s)
    told = (await found(StoreOptions(server.url(), tmp_path / "data", timeout_s=5, lease_s=10)))["clock"]
    assert told.level == level
    assert said in told.text


async def test_damaged_memory_of_the_stores_id_is_told(reached: tuple[ValkeyServer, Relay], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "store.id").write_text("damaged")
    told = (await found(StoreOptions(reached[0].url(), tmp_path / "data", timeout_s=5, lease_s=10)))["store identity"]
    assert told.level == "fail"
    assert "does not hold a store's id: restore it, or run `scopegate store adopt`" in told.text


async def test_store_that_may_throw_tokens_out_is_told_though_it_is_allowed(reached: tuple[ValkeyServer, Relay], tmp_path: Path) -> None:
    command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")(*reached)
    command("CONFIG", "SET", "maxmemory", "100mb")(*reached)
    told = await found(StoreOptions(reached[0].url(), tmp_path / "data", timeout_s=5, lease_s=10, allow_eviction=True))
    assert told["store"].level == "ok"
    assert told["store memory"].level == "warn"
    assert "once full, tokens vanish, by store.allow_eviction: set maxmemory-policy noeviction on it" in told["store memory"].text
