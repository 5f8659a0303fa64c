"""The decisions on refused requests, the newest 10,000 of them: for ``scopegate explain REQUEST_ID``.

Noted in memory and written in batches beside the requests, into one bounded stream. While the store is away the newest wait; a crash loses a second's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import msgspec

from gateway.ports import Decided, StoreUnavailable
from gateway.store.channel import Command
from gateway.store.server import Store

KEPT: Final = 10_000
FLUSH_S: Final = 1.0
_WAITING: Final = 2_000  # of one worker: a flood of refusals costs those before it, not memory
_BATCH: Final = 500
_PAGE: Final = 1_000


class RedisDecisionStream:
    """ports.DecisionLog on a Store. The app starts ``run`` as a task and ends with ``close``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[Decided] = deque(maxlen=_WAITING)

    def add(self, decided: Decided) -> None:
        """Note one."""
        self._waiting.append(decided)

    async def run(self) -> None:
        """Write every second until cancelled. An unavailable store is tried again the next time."""
        while True:
            await asyncio.sleep(FLUSH_S)
            await self.flush()

    async def flush(self) -> None:
        """Write what waits. A batch whose answer is lost is not written twice."""
        try:
            while self._waiting:
                async with self._store.session() as (session, _):
                    batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                    try:
                        await session.write(*map(self._command, batch))
                    except StoreUnavailable as why:
                        if not why.written:
                            self._waiting.extendleft(reversed(batch[: _WAITING - len(self._waiting)]))
                        raise
        except StoreUnavailable:
            return

    async def close(self) -> None:
        """Write what is left, once."""
        await self.flush()

    async def find(self, request_id: str) -> list[Decided]:
        """The decisions on requests of this id that are still there, the newest first: clients may send one id twice."""
        found: list[Decided] = []
        last = "+"
        async with self._store.session() as (session, _):
            while True:
                (entries,) = await session.ask(("XREVRANGE", self._store.keys.decisions, last, "-", "COUNT", _PAGE))
                for _, fields in entries:
                    if fields[0] == request_id.encode():
                        found.append(msgspec.json.decode(fields[1], type=Decided))
                if len(entries) < _PAGE:
                    return found
                last = f"({entries[-1][0].decode()}"

    def _command(self, decided: Decided) -> Command:
        return ("XADD", self._store.keys.decisions, "MAXLEN", KEPT, "*", decided.request_id, msgspec.json.encode(decided))
