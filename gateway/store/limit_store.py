"""Rate limits in the store, so that all workers and nodes share them: GCRA in one script, on the store's time."""

from __future__ import annotations

import hiredis

from gateway.core.route import RateLimit
from gateway.ports import LimitVerdict
from gateway.store.connection import code, unavailable
from gateway.store.scripts import LIMIT
from gateway.store.server import Store


class RedisLimitStore:
    """ports.LimitStore on a Store. Requests of one loop turn go to the store together, on the link of the look-ups."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def take(self, key: str, limit: RateLimit) -> LimitVerdict:
        """Count one request under ``key``: exactly ``limit.requests`` pass at once, then one an interval. StoreUnavailable."""
        rest = (1, self._store.keys.limit(key), limit.requests, limit.period_ms * 1000)
        (reply,) = await self._store.link.ask([("EVALSHA", LIMIT.sha, *rest)])
        if code(reply) == "NOSCRIPT":
            (reply,) = await self._store.link.ask([("EVAL", LIMIT.text, *rest)])
        if isinstance(reply, hiredis.ReplyError):
            raise unavailable(reply, self._store.options)
        allowed, remaining, wait_us, _ = reply
        return LimitVerdict(bool(allowed), remaining, -(-wait_us // 1000))
