"""Look-ups of the hot path: those of one loop turn go to the store together, as one MGET.

The same round trip asks for the store's id, so that an emptied store is never taken for one without that token, and for its time.
A token whose live key is gone has ended, or never was: its info key tells, in a second round trip.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from redis import exceptions as redis_errors

from gateway.core.token_record import LiveRecord
from gateway.ports import Lookup, StoreUnavailable
from gateway.store.connection import unavailable
from gateway.store.records import LiveReader
from gateway.store.server import Store, milliseconds

Found = dict[str, LiveRecord | StoreUnavailable]


class RedisTokenStore:
    """ports.TokenStore on a Store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reader = LiveReader()
        self._waiting: dict[str, list[asyncio.Future[Lookup]]] = {}
        self._batches: set[asyncio.Task[None]] = set()

    async def fetch(self, token_id: str) -> Lookup:
        """One record. Look-ups of one loop turn go to the store together; those of one token are one."""
        loop = asyncio.get_running_loop()
        # Each caller has a future of its own, so that one who is cancelled takes nothing from the others.
        answer: asyncio.Future[Lookup] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._send)
        self._waiting.setdefault(token_id, []).append(answer)
        return await answer

    async def fetch_many(self, token_ids: Sequence[str]) -> tuple[dict[str, LiveRecord], int]:
        """Several records by id, ended ones too, absent ones left out; and the store's time in Unix milliseconds."""
        found, absent, now_ms = await self._live(list(dict.fromkeys(token_ids)))
        if absent:
            ended, now_ms = await self._ended(absent)
            found |= ended
        records = {}
        for token_id, record in found.items():
            if isinstance(record, StoreUnavailable):
                raise record
            records[token_id] = record
        return records, now_ms

    async def ping(self) -> None:
        """StoreUnavailable unless the store answers and is the one that we know."""
        await self._store.ping()

    async def close(self) -> None:
        """End all connections to the store."""
        await self._store.close()

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, {}
        task = asyncio.get_running_loop().create_task(self._answer(waiting))
        self._batches.add(task)
        task.add_done_callback(self._batches.discard)

    async def _answer(self, waiting: dict[str, list[asyncio.Future[Lookup]]]) -> None:
        try:
            found, absent, now_ms = await self._live(list(waiting))
            for token_id, record in found.items():
                _settle(waiting.pop(token_id), record, now_ms)
            if absent:
                found, now_ms = await self._ended(absent)
                for token_id in absent:
                    _settle(waiting.pop(token_id), found.get(token_id), now_ms)
        except StoreUnavailable as error:
            for answers in waiting.values():
                _settle(answers, error, 0)

    async def _live(self, token_ids: list[str]) -> tuple[Found, list[str], int]:
        """What lives, the ids that have no live key, the time."""
        keys = self._store.keys
        values, clock = await self._store.link.ask([("MGET", keys.meta, *map(keys.live, token_ids)), ("TIME",)])
        now_ms = self._check(values, clock)
        found: Found = {}
        absent = []
        for token_id, value in zip(token_ids, values[1:], strict=True):
            if value is None:
                absent.append(token_id)
            else:
                found[token_id] = self._read(token_id, value)
        return found, absent, now_ms

    async def _ended(self, token_ids: list[str]) -> tuple[Found, int]:
        keys = self._store.keys
        asked = [("HGET", keys.info(token_id), "live") for token_id in token_ids]
        meta, *values, clock = await self._store.link.ask([("GET", keys.meta), *asked, ("TIME",)])
        now_ms = self._check([meta, *values], clock)
        return {token_id: self._read(token_id, value) for token_id, value in zip(token_ids, values, strict=True) if value is not None}, now_ms

    def _check(self, values: Any, clock: Any) -> int:
        """The store's time, once it is known that the store answered and is ours."""
        for reply in (values, clock, *(values if isinstance(values, list) else ())):
            if isinstance(reply, redis_errors.ResponseError):
                raise unavailable(reply, self._store.options)
        self._store.identity.confirm(values[0])
        return milliseconds(clock)

    def _read(self, token_id: str, value: bytes) -> LiveRecord | StoreUnavailable:
        """The record, or why there is none: the fault of one is not the others'."""
        try:
            record = self._reader.read(value)
        except ValueError:
            return StoreUnavailable(f"the record of token {token_id} in the store is damaged: restore it")
        if record.id != token_id:
            return StoreUnavailable(f"the store answered with another record than that of token {token_id}")
        return record


def _settle(answers: list[asyncio.Future[Lookup]], found: LiveRecord | StoreUnavailable | None, now_ms: int) -> None:
    for answer in answers:
        if answer.done():
            continue
        if isinstance(found, StoreUnavailable):
            answer.set_exception(StoreUnavailable(str(found)))
        else:
            answer.set_result(Lookup(found, now_ms))
