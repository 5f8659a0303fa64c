"""Who is signed in in a browser, and the links that lead there. Only digests of ids and codes are here: who reads the store can't sign in with it."""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.core.principal import Principal
from gateway.core.scope import parse_grants
from gateway.ports import BrowserSession
from gateway.store.server import Store

_LINK: Final = "link"
_SESSION: Final = "session"
_ONCE: Final = "once"


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

    async def offer(self, code: bytes, session: BrowserSession, lifetime_ms: int) -> None:
        await self._keep(code, _LINK, session, lifetime_ms)

    async def take(self, code: bytes) -> BrowserSession | None:
        async with self._store.session() as (session, _):
            # GETDEL: of two who come with one link, one gets it.
            (value,) = await session.write(("GETDEL", self._keys.session(_name(_LINK, code))))
        return _read(value)

    async def open(self, session_id: bytes, session: BrowserSession) -> None:
        await self._keep(session_id, _SESSION, session, session.ends_ms - session.since_ms)

    async def find(self, session_id: bytes) -> BrowserSession | None:
        async with self._store.session() as (session, now_ms):
            (value,) = await session.ask(("GET", self._keys.session(_name(_SESSION, session_id))))
        found = _read(value)
        return found if found is not None and now_ms < found.ends_ms else None

    async def end(self, session_id: bytes) -> None:
        async with self._store.session() as (session, _):
            (value,) = await session.write(("GETDEL", self._keys.session(_name(_SESSION, session_id))))
            found = _read(value)
            if found is not None:
                await session.write(("ZREM", self._keys.sessions(found.principal.subject), _name(_SESSION, session_id)))

    async def end_all(self, subject: str) -> int:
        index = self._keys.sessions(subject)
        async with self._store.session() as (session, _):
            (members,) = await session.ask(("ZRANGE", index, 0, -1))
            if not members:
                return 0
            ended = await session.write(*(("DEL", self._keys.session(member.decode())) for member in members), ("ZREM", index, *members))
        return sum(count for member, count in zip(members, ended, strict=False) if member.startswith(_SESSION.encode()))

    async def once(self, name: bytes, lifetime_ms: int) -> bool:
        async with self._store.session() as (session, _):
            (done,) = await session.write(("SET", self._keys.session(_name(_ONCE, name)), "1", "NX", "PX", lifetime_ms))
        return done is not None

    async def _keep(self, digest: bytes, kind: str, kept: BrowserSession, lifetime_ms: int) -> None:
        who, name = kept.principal, _name(kind, digest)
        grants = None if who.grants is None else who.grants.text
        async with self._store.session() as (session, now_ms):
            ends_ms = now_ms + lifetime_ms
            value = msgspec.json.encode(_Kept(who.subject, who.admin, who.via, grants, kept.embedded, now_ms, ends_ms))
            index = self._keys.sessions(who.subject)
            await session.write(
                ("SET", self._keys.session(name), value, "PXAT", ends_ms),
                ("ZADD", index, ends_ms, name),
                ("ZREMRANGEBYSCORE", index, "-inf", f"({now_ms}"),
                ("PEXPIREAT", index, ends_ms, "GT"),
                ("PEXPIREAT", index, ends_ms, "NX"),
            )


def _name(kind: str, digest: bytes) -> str:
    return f"{kind}:{digest.hex()}"


def _read(value: bytes | None) -> BrowserSession | None:
    if value is None:
        return None
    kept = msgspec.json.decode(value, type=_Kept)
    grants = None if kept.grants is None else parse_grants(kept.grants.split())
    return BrowserSession(Principal(kept.subject, kept.admin, kept.via, grants), kept.embedded, kept.since_ms, kept.ends_ms)
