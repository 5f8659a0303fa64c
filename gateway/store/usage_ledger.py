"""How tokens are used: noted in memory, written in batches beside the requests, into keys of its own.

The live keys are never touched, so that use changes no record's version. While the store is away the notes wait, up to a bound; what is
lost then, or by a crash, are some counts, never a request. A batch whose answer is lost is not written twice: counts are rather too low than too high.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from itertools import islice
from typing import Any, Final

import msgspec

from gateway.core.route import Route
from gateway.core.scope import ACCESS_NAMES
from gateway.core.token_record import Reuse
from gateway.ports import Refusal, StoreUnavailable, Usage, UsedRoute
from gateway.store.channel import Command
from gateway.store.scripts import REUSED, USED
from gateway.store.server import Store
from gateway.store.session import Session

FLUSH_S: Final = 1.0
REFUSALS: Final = 50  # kept of a token
DAY_MS: Final = 86_400_000
_DAY_S: Final = 86_400
_KEPT_DAYS: Final = 35
_REFUSALS_KEPT_S: Final = 7 * _DAY_S
_QUIET_MS: Final = 60_000  # between two notices of reuse of one token from one address
_BATCH: Final = 1000  # of tokens and of counts in one command
_NOTED: Final = 100_000  # counts, and tokens, that wait at most
_REFUSED: Final = 2_000  # tokens whose refusals wait at most
_REUSED: Final = 1_000  # reuses that wait at most
_ENDED: Final = {"token_regenerated": "regenerated", "token_revoked": "revoked"}
_REFUSED_FIELD: Final = b"refused"

_Key = tuple[str, Route, str]


class RedisUsageLedger:
    """ports.UsageLedger on a Store. The app starts ``run`` as a task and ends with ``close``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._noted: dict[_Key, tuple[int, int, str]] = {}  # how often, last when, last from where
        self._counts: Counter[tuple[str, int, str]] = Counter()  # by token, day, field
        self._last: dict[str, tuple[int, str]] = {}
        self._refusals: dict[str, deque[Refusal]] = {}
        self._reuses: dict[tuple[str, str], Reuse] = {}

    def used(self, token_id: str, route: Route, method: str, address: str, now_ms: int) -> None:
        """Note that a request was let through at that time (Unix milliseconds of the store's clock). ``method`` is "WEBSOCKET" for an upgrade."""
        noted, key = self._noted, (token_id, route, method)
        before = noted.get(key)
        if before is not None:
            noted[key] = (before[0] + 1, now_ms, address)
        elif len(noted) < _NOTED:
            noted[key] = (1, now_ms, address)

    def refused(self, token_id: str, refusal: Refusal) -> None:
        """Note a refusal and, where the secret had ended, its reuse."""
        waiting = self._refusals.get(token_id)
        if waiting is None and len(self._refusals) < _REFUSED:
            waiting = self._refusals[token_id] = deque(maxlen=REFUSALS)
        if waiting is not None:
            waiting.append(refusal)
        self._count((token_id, refusal.at // DAY_MS, _REFUSED_FIELD.decode()), 1)
        kind, at = _ENDED.get(refusal.code), (token_id, refusal.client)
        if kind and (at in self._reuses or len(self._reuses) < _REUSED):
            self._reuses[at] = Reuse(refusal.at, refusal.client, kind)

    async def run(self) -> None:
        """Flush every second until cancelled. An unavailable store is tried again the next time."""
        while True:
            await asyncio.sleep(FLUSH_S)
            await self.flush()

    async def flush(self) -> bool:
        """Write what was noted; whether all of it is in the store."""
        self._fold()
        try:
            while self._last or self._counts or self._refusals or self._reuses:
                async with self._store.session() as (session, _):
                    await self._write_reuses(session)
                    await self._write_last(session)
                    await self._write_counts(session)
                    await self._write_refusals(session)
        except StoreUnavailable:
            return False
        return True

    async def close(self) -> None:
        """Write what is left, once."""
        await self.flush()

    def _fold(self) -> None:
        """Notes of requests -> counts by day. Done each second, whether the store is there or not, so that each is counted on its own day."""
        noted, self._noted = self._noted, {}
        for (token_id, route, method), (count, last_ms, address) in noted.items():
            scope = route.scope.id if route.scope is not None else ""
            self._count((token_id, last_ms // DAY_MS, f"{ACCESS_NAMES[route.needs(method)]} {scope} {route.template}"), count)
            before = self._last.get(token_id)
            if (before is None and len(self._last) < _NOTED) or (before is not None and before[0] <= last_ms):
                self._last[token_id] = (last_ms, address)

    def _count(self, key: tuple[str, int, str], count: int) -> None:
        if key in self._counts or len(self._counts) < _NOTED:
            self._counts[key] += count

    async def _write_last(self, session: Session) -> None:
        batch, keys = dict(islice(self._last.items(), _BATCH)), self._store.keys
        if batch:
            facts = [part for token_id, (last_ms, address) in batch.items() for part in (token_id, last_ms, address)]
            await session.script(USED, (keys.last_used, keys.last_used_from, keys.awaited, keys.due, keys.notices), facts)
            for token_id, last in batch.items():
                if self._last.get(token_id) == last:
                    del self._last[token_id]

    async def _write_counts(self, session: Session) -> None:
        batch = dict(islice(self._counts.items(), _BATCH))
        commands: list[Command] = []
        for (token_id, day, field), count in batch.items():
            del self._counts[token_id, day, field]
            key = self._store.keys.used(token_id, day)
            commands += (("HINCRBY", key, field, count), ("EXPIREAT", key, (day + _KEPT_DAYS) * _DAY_S))
        if commands:
            try:
                await session.write(*commands)
            except StoreUnavailable as why:
                if not why.written:
                    for counted, count in batch.items():
                        self._count(counted, count)
                raise

    async def _write_refusals(self, session: Session) -> None:
        commands: list[Command] = []
        for token_id in list(islice(self._refusals, _BATCH // REFUSALS)):
            key, waiting = self._store.keys.refused(token_id), self._refusals.pop(token_id)
            texts = [msgspec.json.encode(refusal) for refusal in waiting]
            commands += (("LPUSH", key, *texts), ("LTRIM", key, 0, REFUSALS - 1), ("EXPIRE", key, _REFUSALS_KEPT_S))
        if commands:
            await session.write(*commands)

    async def _write_reuses(self, session: Session) -> None:
        keys = self._store.keys
        for (token_id, address), reuse in list(self._reuses.items()):
            facts: dict[str, Any] = {"token_id": token_id, "at": reuse.at, "from": address, "how": reuse.kind}
            notice = msgspec.json.encode({"kind": "reuse", "facts": facts})
            told = (token_id, reuse.at, msgspec.json.encode(reuse), f"reuse_{token_id}_{reuse.at}", notice, _QUIET_MS)
            await session.script(REUSED, (keys.reuse, keys.reused(token_id, address), keys.due, keys.notices), told)
            if self._reuses.get((token_id, address)) == reuse:
                del self._reuses[token_id, address]


class RedisUsageReader:
    """ports.UsageReader on a Store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def usage(self, token_id: str, days: int) -> Usage:
        """The last so many days, today's (UTC, of the store's clock) included."""
        async with self._store.session() as (session, now_ms):
            today = now_ms // DAY_MS
            asked = range(today - days + 1, today + 1)
            replies = await session.ask(*(("HGETALL", self._store.keys.used(token_id, day)) for day in asked))
        routes: list[UsedRoute] = []
        refused: dict[int, int] = {}
        for day, flat in zip(asked, replies, strict=True):
            for field, count in zip(flat[::2], flat[1::2], strict=True):
                if field == _REFUSED_FIELD:
                    refused[day] = int(count)
                else:
                    access, scope, route = field.decode().split(" ", 2)
                    routes.append(UsedRoute(day, access, scope, route, int(count)))
        return Usage(today, routes, refused)

    async def refusals(self, token_id: str) -> list[Refusal]:
        """The last 50, newest first: several workers' batches interleave, so they are put in order here."""
        async with self._store.session() as (session, _):
            (texts,) = await session.ask(("LRANGE", self._store.keys.refused(token_id), 0, -1))
        return sorted((msgspec.json.decode(text, type=Refusal) for text in texts), key=lambda refusal: refusal.at, reverse=True)
