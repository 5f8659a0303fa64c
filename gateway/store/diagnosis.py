"""What the store of a configuration is like: who it is, what it loses by a crash, how much room it has, what its clock says.

Nothing is changed in it. First the facts are asked for, then judged by plain functions. What ``serve`` would refuse is told in its words.
"""

from __future__ import annotations

import asyncio
import ssl
import statistics
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from gateway.core.finding import Finding, certificate, fail, ok, warn
from gateway.ports import StoreUnavailable
from gateway.settings.values import is_local
from gateway.store.channel import Channel, Command
from gateway.store.connection import FAILURES, StoreOptions, address, connect, unavailable
from gateway.store.identity import StoreIdentity
from gateway.store.keys import Keys
from gateway.store.server import check_server, info_facts, trial
from gateway.store.session import Sessions

_T = TypeVar("_T")

_PINGS: Final = 5
_SKEW_WARN_S: Final = 1
_SKEW_FAIL_S: Final = 60  # design: creating a token is refused from here on


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What a server told. ``fsync`` and ``snapshots`` are None where it does not let us ask; ``waitaof``: it can confirm that a change is in its
    append-only file; ``ahead_s``: how far our clock is ahead of its own; ``certificate_ends``: Unix time, None without TLS; ``changes`` and
    ``pushes``: "" where it takes changes and tells of them, else why not; ``id``: what it says who it is.
    """

    info: Mapping[str, str]
    fsync: str | None
    snapshots: str | None
    waitaof: bool
    latency_s: float
    ahead_s: float
    certificate_ends: float | None
    changes: str
    pushes: str
    id: bytes | None

    @property
    def name(self) -> str:
        """Program and version."""
        valkey = self.info.get("valkey_version")
        return f"Valkey {valkey}" if valkey else f"Redis {self.info.get('redis_version', 'of an unknown version')}"


async def examine_store(options: StoreOptions) -> list[Finding]:
    """All findings on the store; one alone where it can't be reached."""
    try:
        refused = await _refusal(options)
        facts = await gather(options)
    except StoreUnavailable as why:
        return [fail("store", str(why))]
    where = address(options.url)
    reached = fail("store", refused) if refused else ok("store", f"{facts.name} at {where}, a primary, answers in {facts.latency_s * 1000:.1f} ms")
    findings = [reached, durability(facts), memory(facts, allow_eviction=options.allow_eviction), changes(facts), pushes(facts)]
    return [*findings, _identity(facts, options), pace(facts, options), *transport(facts, options, time.time()), clock(facts)]


async def _refusal(options: StoreOptions) -> str:
    """Why ``serve`` would not start with this server, "" if it would. StoreUnavailable where nothing can be asked."""
    sessions = Sessions(options)
    try:
        async with sessions.session() as session:
            await session.ask(("PING",))
            try:
                await check_server(session, options)
            except StoreUnavailable as why:
                return str(why)
            return ""
    finally:
        await sessions.close()


async def gather(options: StoreOptions) -> StoreFacts:
    """Ask the server for all facts. StoreUnavailable where it does not answer."""
    channel = await _within(connect(options), options)
    try:
        (info,) = await _ask(channel, options, ("INFO",))
        if isinstance(info, Exception):
            raise unavailable(info, options)
        rounds = []
        for _ in range(_PINGS):
            began = time.perf_counter()
            await _ask(channel, options, ("PING",))
            rounds.append(time.perf_counter() - began)
        before = time.time()
        (clock_reply,) = await _ask(channel, options, ("TIME",))
        ours = (before + time.time()) / 2
        keys = Keys(options.prefix)
        fsync, save, waited, found, *tried = await _ask(
            channel,
            options,
            ("CONFIG", "GET", "appendfsync"),
            ("CONFIG", "GET", "save"),
            ("WAITAOF", 0, 0, 0),
            ("GET", keys.meta),
            trial(keys),
            ("EVAL", "return 1", 0),
        )
        return StoreFacts(
            info=info_facts(info),
            fsync=_config(fsync),
            snapshots=_config(save),
            waitaof=not isinstance(waited, Exception),
            latency_s=statistics.median(rounds),
            ahead_s=0.0 if isinstance(clock_reply, Exception) else ours - int(clock_reply[0]) - int(clock_reply[1]) / 1e6,
            certificate_ends=_certificate_ends(channel),
            changes=next((str(unavailable(reply, options)) for reply in tried if isinstance(reply, Exception)), ""),
            pushes=await _push_fault(options),
            id=None if isinstance(found, Exception) else found,
        )
    finally:
        channel.abort()


def durability(facts: StoreFacts) -> Finding:
    """What a crash of the store, and what a power loss, can take of what was answered."""
    check = "durability"
    if facts.info.get("aof_last_write_status", "ok") != "ok":
        return fail(check, "the store could not write its append-only file the last time", "free its disk, and look at its log")
    if facts.info.get("aof_enabled") != "1":
        if facts.snapshots == "":
            return fail(check, "the store keeps nothing on disk: its next restart loses every token", "set appendonly yes on it")
        return warn(
            check,
            "the store has no append-only file: a crash loses every change since its last snapshot, so a revoked token may work again",
            "set appendonly yes on it",
        )
    replicas = "; a fail-over to a replica may lose the last changes" if facts.info.get("connected_slaves", "0") != "0" else ""
    if facts.fsync == "always":
        return ok(check, f"append-only file, fsync always: an answered change survives a crash and a power loss{replicas}")
    if facts.fsync == "no":
        return warn(
            check,
            f"append-only file, fsync left to the system: a power loss may take the last half minute, a revoke too{replicas}",
            "set appendfsync everysec, or always",
        )
    how = "fsync every second" if facts.fsync else "the server does not say how often it is synced"
    if not facts.waitaof:
        return warn(
            check,
            f"append-only file, {how}, no WAITAOF: a crash of the store while its disk is slow may take up to 2 s of answered changes, a power loss the "
            f"last 2 s, a revoke too{replicas}",
            "use Redis 7.2, Valkey 7.2 or later, or set appendfsync always",
        )
    return ok(check, f"append-only file, {how}, WAITAOF: an answered change survives a crash; a power loss may take the last second, a revoke too{replicas}")


def memory(facts: StoreFacts, *, allow_eviction: bool) -> Finding:
    """Room for tokens, and whether any is thrown out when there is none. A server that evicts is refused by ``serve``, so that is told elsewhere."""
    check = "store memory"
    used, limit = int(facts.info.get("used_memory", "0")), int(facts.info.get("maxmemory", "0"))
    policy = facts.info.get("maxmemory_policy", "noeviction")
    if not limit:
        if policy != "noeviction":
            return warn(
                check,
                f"{_mib(used)} used, no limit; with a limit the store would evict tokens ({policy}), and serve would not start",
                "set maxmemory-policy noeviction on it",
            )
        return ok(check, f"{_mib(used)} used, no limit, noeviction")
    found = f"{_mib(used)} of {_mib(limit)} used ({used * 100 // limit} %), {policy}"
    if policy != "noeviction" and allow_eviction:
        return warn(check, f"{found}: once full, tokens vanish, by store.allow_eviction", "set maxmemory-policy noeviction on it")
    if used * 100 >= limit * 95:
        return fail(check, f"{found}: changes are refused once it is full", "raise its maxmemory")
    if used * 100 >= limit * 80:
        return warn(check, f"{found}: changes are refused once it is full", "raise its maxmemory soon")
    return ok(check, found)


def changes(facts: StoreFacts) -> Finding:
    """Does it take changes, and scripts, by which all of them are made?"""
    return fail("store changes", facts.changes) if facts.changes else ok("store changes", "taken, and scripts run")


def pushes(facts: StoreFacts) -> Finding:
    """Does it tell of changes (RESP3, CLIENT TRACKING)? Without, nothing may be cached."""
    if facts.pushes:
        return fail("store pushes", facts.pushes, "use the server itself and no proxy before it, and allow its user HELLO and CLIENT")
    return ok("store pushes", "RESP3 and CLIENT TRACKING: workers hear of each change")


def identity(found: bytes | None, known: StoreIdentity) -> Finding:
    """Is it the store that this node remembers? StoreUnavailable where the memory is damaged."""
    check = "store identity"
    known.load()
    if not known.id:
        return ok(check, f"{'this node has not met it yet' if found else 'the store is new'}: the first start writes {known.path}")
    if found == known.id:
        return ok(check, f"{found.decode()}, as {known.path} remembers")
    return fail(check, known.difference(found))


def pace(facts: StoreFacts, options: StoreOptions) -> Finding:
    """Do latency, store.timeout and store.lease fit together?"""
    check = "store pace"
    found = f"answers in {facts.latency_s * 1000:.1f} ms, store.timeout {options.timeout_s * 1000:g} ms, store.lease {options.lease_s:g} s"
    if facts.latency_s * 4 > options.timeout_s:
        return warn(check, f"{found}: a slow moment of the store refuses requests", "raise store.timeout to four times the latency or more")
    if options.timeout_s * 2 > options.lease_s:
        return warn(check, f"{found}: one answer that does not come lets the lease run out", "set store.timeout to half of store.lease or less")
    return ok(check, found)


def transport(facts: StoreFacts, options: StoreOptions, now: float) -> list[Finding]:
    """How long its certificate still holds; whether records and password travel in the clear."""
    if facts.certificate_ends is not None:
        return [certificate("store transport", "TLS; its certificate", facts.certificate_ends, now)]
    parts = urlsplit(options.url)
    if parts.scheme == "redis" and not is_local(parts.hostname or "localhost"):
        return [warn("store transport", f"{address(options.url)} is reached without TLS: who reads that network reads records and password", "use rediss://")]
    return []


def clock(facts: StoreFacts) -> Finding:
    """Our clock against the store's: expiry is judged by the store's time."""
    off = abs(facts.ahead_s)
    found = f"this machine's is {off:.1f} s {'ahead of' if facts.ahead_s > 0 else 'behind'} the store's"
    if off > _SKEW_FAIL_S:
        return fail("clock", f"{found}: no token can be made", "let NTP set both")
    if off > _SKEW_WARN_S:
        return warn("clock", found, "let NTP set both; from 60 s on no token can be made")
    return ok("clock", f"within {max(off, 0.1):.1f} s of the store's")


def _identity(facts: StoreFacts, options: StoreOptions) -> Finding:
    try:
        return identity(facts.id, StoreIdentity(options.data_dir / "store.id"))
    except StoreUnavailable as why:
        return fail("store identity", str(why))


async def _push_fault(options: StoreOptions) -> str:
    """Why the store would not tell us of changes, "" if it does."""
    try:
        channel = await _within(connect(options, protocol=3), options)
    except StoreUnavailable as why:
        return str(why)
    try:
        (reply,) = await _ask(channel, options, ("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", f"{options.prefix}live:"))
    finally:
        channel.abort()
    return str(unavailable(reply, options)) if isinstance(reply, Exception) else ""


async def _ask(channel: Channel, options: StoreOptions, *commands: Command) -> list[Any]:
    """The replies; an error reply stands in its place."""
    return await _within(channel.ask(*commands), options)


async def _within(work: Awaitable[_T], options: StoreOptions) -> _T:
    """What it gives, within store.timeout; its failure as StoreUnavailable."""
    try:
        async with asyncio.timeout(options.timeout_s):
            return await work
    except FAILURES as error:
        raise unavailable(error, options) from error


def _config(reply: Any) -> str | None:
    """The value in a CONFIG GET reply; None where it was refused or the server knows no such setting."""
    return str(reply[1].decode()) if isinstance(reply, list) and len(reply) == 2 else None


def _certificate_ends(channel: Channel) -> float | None:
    shown = channel.certificate
    return float(ssl.cert_time_to_seconds(shown["notAfter"])) if shown else None


def _mib(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"
