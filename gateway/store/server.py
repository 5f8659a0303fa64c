"""One store: its hot link, its sessions for changes, its id, and what is asked of a server before it is used."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from gateway.ports import StoreUnavailable
from gateway.store.audit_chain import AuditChain
from gateway.store.channel import Command
from gateway.store.confirmations import Confirmations
from gateway.store.connection import StoreOptions, address, code, unavailable
from gateway.store.identity import StoreIdentity, new_id
from gateway.store.keys import Keys
from gateway.store.link import Link
from gateway.store.session import Session, Sessions

OLDEST_REDIS: Final = (6, 2)
OLDEST_VALKEY: Final = (7, 2)


class Store:
    """A Redis or Valkey server as the gateway uses it. ``start`` comes first, ``close`` last."""

    def __init__(self, options: StoreOptions) -> None:
        self.options = options
        self.keys = Keys(options.prefix)
        self.identity = StoreIdentity(options.data_dir / "store.id")
        self.link = Link(options)
        self.confirmations = Confirmations(options, self.keys)
        self.chain = AuditChain(options, self.keys, self.identity)
        self._sessions = Sessions(options)

    async def start(self) -> None:
        """Check the server and its id. StoreUnavailable says what is wrong and what to do; the store is closed then."""
        try:
            await self._check()
        except BaseException:
            await self.close()
            raise

    async def adopt(self) -> None:
        """Accept the store as it is, empty or another than before, and remember it."""
        async with self._sessions.session() as session:
            await check_server(session, self.options)
            (found,) = await session.ask(("GET", self.keys.meta))
            self.identity.remember(found if found is not None else await self._name(session))
            self.chain.forget()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[tuple[Session, int]]:
        """A session on the store that we know, and the store's time in Unix milliseconds. StoreUnavailable where it is another."""
        async with self.asked() as (session, now_ms, _):
            yield session, now_ms

    @asynccontextmanager
    async def asked(self, *commands: Command) -> AsyncIterator[tuple[Session, int, list[Any]]]:
        """The same with the replies to commands that change nothing and are asked together with the store's id: one round trip less."""
        async with self._sessions.session() as session:
            found, clock, *replies = await session.ask(("GET", self.keys.meta), ("TIME",), *commands)
            self.identity.confirm(found)
            yield session, milliseconds(clock), replies

    async def ping(self, *, changes: bool = False) -> None:
        """StoreUnavailable unless the store answers look-ups and is the one that we know; with ``changes``, unless it takes changes too."""
        found, tried = await self.link.ask([("GET", self.keys.meta), trial(self.keys)])
        if isinstance(found, Exception):
            raise unavailable(found, self.options)
        self.identity.confirm(found)
        if isinstance(tried, Exception) and (changes or is_read_only(tried)):
            raise unavailable(tried, self.options)

    async def close(self) -> None:
        """End all connections."""
        await self.link.close()
        await self.confirmations.close()
        await self._sessions.close()

    async def _check(self) -> None:
        async with self._sessions.session() as session:
            await check_server(session, self.options)
            self.identity.load()
            (found,) = await session.ask(("GET", self.keys.meta))
            if found is None and not self.identity.id:
                found = await self._name(session)
            if not self.identity.id and found is not None:
                # A store that others made: this node remembers it from now on.
                self.identity.remember(found)
        self.identity.confirm(found)
        self.chain.load()

    async def _name(self, session: Session) -> bytes:
        await session.write(("SET", self.keys.meta, new_id(), "NX"))
        await session.settle()
        found: bytes = (await session.ask(("GET", self.keys.meta)))[0]  # of two first starts at once, one wins
        return found


def trial(keys: Keys) -> Command:
    """A change that changes nothing, but is refused where a change would be: by a replica, and where memory or disk are full."""
    return ("ZADD", keys.workers, "XX", 0, "-")


def is_read_only(reply: object) -> bool:
    """Whether this is what a replica says to a change."""
    return code(reply) == "READONLY"


def milliseconds(clock: list[bytes]) -> int:
    """A TIME reply as Unix milliseconds."""
    return int(clock[0]) * 1000 + int(clock[1]) // 1000


async def check_server(session: Session, options: StoreOptions) -> None:
    """Refuse, by StoreUnavailable with a line that says what to do, a server on which tokens would not be safe."""
    where = f"the store at {address(options.url)}"
    info = info_facts((await session.ask(("INFO",)))[0])
    if info.get("loading") == "1":
        raise StoreUnavailable(f"{where} is still loading its data: wait until it is done")
    valkey = info.get("valkey_version")
    version = valkey or info.get("redis_version", "0")
    name, oldest = ("Valkey", OLDEST_VALKEY) if valkey else ("Redis", OLDEST_REDIS)
    if _version(version) < oldest:
        raise StoreUnavailable(f"{where} is {name} {version}, which is too old: use at least Redis 6.2 or Valkey 7.2")
    if info.get("role", "master") != "master":
        raise StoreUnavailable(f"{where} is a read-only replica: name its primary in store.url")
    policy = info.get("maxmemory_policy", "noeviction")
    if int(info.get("maxmemory", "0")) and policy != "noeviction" and not options.allow_eviction:
        raise StoreUnavailable(
            f"{where} has a memory limit and evicts keys ({policy}), so tokens would vanish: set maxmemory-policy noeviction, or store.allow_eviction: true"
        )


def info_facts(text: bytes) -> dict[str, str]:
    pairs: list[Any] = [line.partition(":") for line in text.decode("utf-8", "replace").splitlines()]
    return {name: value for name, colon, value in pairs if colon}


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in text.split(".")[:2])
