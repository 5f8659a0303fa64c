"""When tokens were last used: noted in memory, written in batches beside the requests, into a key of its own.

The live keys are never touched, so that use changes no record's version. While the store is away the notes wait, up to a bound; what is
lost then, or by a crash, is the last use of some tokens, never a request.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Final

from gateway.ports import StoreUnavailable
from gateway.store.server import Store

FLUSH_S: Final = 1.0
_BATCH: Final = 1000  # tokens in one command
_NOTED: Final = 100_000  # tokens that wait at most


class RedisUsageLedger:
    """ports.UsageLedger on a Store. The app starts ``run`` as a task and ends with ``close``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last: dict[str, int] = {}

    def used(self, token_id: str, now_ms: int) -> None:
        """Note that the token was accepted at that time (Unix milliseconds of the store's clock)."""
        if len(self._last) < _NOTED or token_id in self._last:
            self._last[token_id] = now_ms

    async def run(self) -> None:
        """Flush every second until cancelled. An unavailable store is tried again the next time."""
        while True:
            await asyncio.sleep(FLUSH_S)
            await self.flush()

    async def flush(self) -> bool:
        """Write what was noted; whether all of it is in the store."""
        while self._last:
            batch = dict(islice(self._last.items(), _BATCH))
            try:
                async with self._store.session() as (session, _):
                    # GT: of several workers' notes the latest stays.
                    scores = (part for token_id, used_ms in batch.items() for part in (used_ms, token_id))
                    await session.write(("ZADD", self._store.keys.last_used, "GT", *scores))
            except StoreUnavailable:
                return False
            for token_id, used_ms in batch.items():
                if self._last.get(token_id) == used_ms:
                    del self._last[token_id]
        return True

    async def close(self) -> None:
        """Write what is left, once."""
        await self.flush()
