"""One whole record over the link of look-ups: for a worker, which has no session and makes no change."""

from __future__ import annotations

import hiredis

from gateway.core.token_record import TokenRecord
from gateway.store.connection import unavailable
from gateway.store.records import read_info, read_use
from gateway.store.server import Store, milliseconds


class RedisRecordReader:
    """ports.RecordReader on a Store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def record(self, token_id: str) -> tuple[TokenRecord | None, int]:
        """One record, ended ones too, and the store's time in Unix milliseconds; one round trip."""
        keys = self._store.keys
        replies = await self._store.link.ask(
            [
                ("GET", keys.meta),
                ("TIME",),
                ("HGETALL", keys.info(token_id)),
                ("ZSCORE", keys.last_used, token_id),
                ("HGET", keys.last_used_from, token_id),
                ("HGET", keys.reuse, token_id),
            ]
        )
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                raise unavailable(reply, self._store.options)
        found, clock, info, score, address, reuse = replies
        self._store.identity.confirm(found)
        flat = [part for pair in info.items() for part in pair] if isinstance(info, dict) else info  # RESP3 has a word for a map
        return read_info(flat, read_use(score, address, reuse)), milliseconds(clock)
