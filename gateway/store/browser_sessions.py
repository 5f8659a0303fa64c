"""Who is signed in in a browser, and the links that lead there. Only digests of ids and codes are here: who reads the store can't sign in with it.

What begins and ends is changed by one script, together with the entry of the audit log that tells of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import msgspec

from gateway.core.audit import AuditEntry
from gateway.core.principal import Principal
from gateway.core.scope import parse_grants
from gateway.ports import BrowserSession, StoreUnavailable
from gateway.store.scripts import BEGIN, LEAVE
from gateway.store.server import Store

_LINK: Final = "link"
_SESSION: Final = "session"
_ONCE: Final = "once"
_ATTEMPTS: Final = 20


class _Kept(msgspec.Struct, array_like=True):
    subject: str
    admin: bool
    via: str
    grants: str | None
    embedded: str
    since_ms: int
    ends_ms: int


class RedisSessionStore:
    """ports.SessionStore on a Store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys = store.keys

    async def offer(self, code: bytes, session: BrowserSession, lifetime_ms: int, entry: AuditEntry) -> None:
        await self._begin(_name(_LINK, code), session, lifetime_ms, entry)

    async def offered(self, code: bytes) -> BrowserSession | None:
        return await self._read(_name(_LINK, code))

    async def open(self, session_id: bytes, session: BrowserSession, entry: AuditEntry, *, link: bytes = b"", before: bytes = b"") -> bool:
        names = _name(_LINK, link) if link else "", _name(_SESSION, before) if before else ""
        return await self._begin(_name(_SESSION, session_id), session, session.ends_ms - session.since_ms, entry, *names)

    async def find(self, session_id: bytes) -> BrowserSession | None:
        return await self._read(_name(_SESSION, session_id))

    async def end(self, session_id: bytes, entry: AuditEntry) -> int:
        return await self._leave("", _name(_SESSION, session_id), entry)

    async def end_all(self, subject: str, entry: AuditEntry) -> int:
        return await self._leave(subject, "", entry)

    async def once(self, name: bytes, lifetime_ms: int) -> bool:
        async with self._store.session() as (session, _):
            (done,) = await session.write(("SET", self._keys.session(_name(_ONCE, name)), "1", "NX", "PX", lifetime_ms))
        return done is not None

    async def _read(self, name: str) -> BrowserSession | None:
        async with self._store.session() as (session, now_ms):
            (value,) = await session.ask(("GET", self._keys.session(name)))
        found = _read(value)
        return found if found is not None and now_ms < found.ends_ms else None

    async def _begin(self, name: str, kept: BrowserSession, lifetime_ms: int, entry: AuditEntry, link: str = "", before: str = "") -> bool:
        who = kept.principal
        grants = None if who.grants is None else who.grants.text
        async with self._store.session() as (session, now_ms):
            ends_ms = now_ms + lifetime_ms
            value = msgspec.json.encode(_Kept(who.subject, who.admin, who.via, grants, kept.embedded, now_ms, ends_ms))
            arguments = (self._keys.prefix, name, value, ends_ms, now_ms, link, before)
            begun: int = await self._store.chain.run(session, BEGIN, (self._keys.sessions(who.subject),), arguments, entry, now_ms)
            if begun:
                await session.settle()
        return bool(begun)

    async def _leave(self, subject: str, name: str, entry: AuditEntry) -> int:
        """How many sessions ended. The entry is signed before it is known how many there are, so the script is told a number, and anew if it is another."""
        said = 1
        async with self._store.session() as (session, now_ms):
            for _ in range(_ATTEMPTS):
                told = replace(entry, details={"ended": said, **entry.details})
                arguments = (self._keys.prefix, said, name)
                found: int = await self._store.chain.run(session, LEAVE, (self._keys.sessions(subject),), arguments, told, now_ms)
                if found == said:
                    await session.settle()
                    return found
                said = found
        raise StoreUnavailable("sessions of one subject begin faster than they can be ended: try again")


def _name(kind: str, digest: bytes) -> str:
    return f"{kind}:{digest.hex()}"


def _read(value: bytes | None) -> BrowserSession | None:
    if value is None:
        return None
    kept = msgspec.json.decode(value, type=_Kept)
    grants = None if kept.grants is None else parse_grants(kept.grants.split())
    return BrowserSession(Principal(kept.subject, kept.admin, kept.via, grants), kept.embedded, kept.since_ms, kept.ends_ms)
