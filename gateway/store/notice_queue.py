"""What is due, in the store: a sorted set of notice ids by the time from which they are to be seen to, and a hash of what each is about.

Whoever takes a notice has it for half a minute; who does not say by then that it is done has died, and somebody else takes it. So each is seen to at
least once, and by several nodes rarely twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import msgspec

from gateway.ports import Notice
from gateway.store.scripts import CLAIM, EXPIRING
from gateway.store.server import Store

HELD_MS: Final = 30_000
_AT_ONCE: Final = 1000


class _Stored(msgspec.Struct):
    kind: str
    facts: dict[str, str | int]
    tries: int = 0


class RedisNoticeQueue:
    """ports.NoticeQueue on a Store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._indexed = False

    async def sweep(self, days: Sequence[int]) -> None:
        """Make the notices of coming ends, each once: up to when is in the store. Where one is asked for so many days for the first time, those tokens are
        told of that are nearer to their end than that, and not as near as the next number of days."""
        keys = self._store.keys
        if not days:
            return
        back = [(some, some - fewer) for some, fewer in pairwise((*days, 0))]
        async with self._store.session() as (session, _):
            await self._index()
            arguments = (_AT_ONCE, *(part for pair in back for part in pair))
            while await session.script(EXPIRING, (keys.ends, keys.swept, keys.due, keys.notices), arguments) >= _AT_ONCE:
                pass

    async def claim(self, count: int) -> tuple[list[Notice], int]:
        """Up to so many due notices, nobody else's for half a minute, and the store's time."""
        keys = self._store.keys
        async with self._store.session() as (session, _):
            now_ms, *flat = await session.script(CLAIM, (keys.due, keys.notices), (count, HELD_MS))
        found = []
        for name, text in zip(flat[::2], flat[1::2], strict=True):
            stored = msgspec.json.decode(text, type=_Stored)
            found.append(Notice(name.decode(), stored.kind, stored.facts, stored.tries))
        return found, int(now_ms)

    async def done(self, notice: Notice) -> None:
        """It is seen to."""
        async with self._store.session() as (session, _):
            await session.write(("ZREM", self._store.keys.due, notice.id), ("HDEL", self._store.keys.notices, notice.id))

    async def later(self, notice: Notice, delay_ms: int) -> None:
        """Try again then; ``notice`` is kept as it is given."""
        text = msgspec.json.encode(_Stored(notice.kind, notice.facts, notice.tries))
        async with self._store.session() as (session, now_ms):
            await session.write(("HSET", self._store.keys.notices, notice.id, text), ("ZADD", self._store.keys.due, now_ms + delay_ms, notice.id))

    async def _index(self) -> None:
        """Make the index of ends from the records, where it is gone."""
        if self._indexed:
            return
        keys = self._store.keys
        async with self._store.session() as (session, _):
            if not (await session.ask(("EXISTS", keys.ends)))[0]:
                (token_ids,) = await session.ask(("ZRANGE", keys.ids, 0, -1))
                for begin in range(0, len(token_ids), _AT_ONCE):
                    some = [token_id.decode() for token_id in token_ids[begin : begin + _AT_ONCE]]
                    ends = await session.ask(*(("HGET", keys.info(token_id), "expires_at") for token_id in some))
                    known = [part for token_id, end in zip(some, ends, strict=True) if end is not None for part in (end, token_id)]
                    if known:
                        await session.write(("ZADD", keys.ends, *known))
        self._indexed = True
