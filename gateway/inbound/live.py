"""Open streams by token id (G4): WebSockets, event streams and long downloads end with their token.

Whenever the store says that a token has changed, and twice a second for the clock's sake, the records of tokens with an open stream are
read and judged again, by the same core.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from msgspec import structs

from gateway.core.authorize import find_route
from gateway.core.decision import Denial
from gateway.core.route import Route
from gateway.core.token_record import LiveRecord
from gateway.flow.engine import Engine
from gateway.ports import StoreUnavailable, TokenStore

if TYPE_CHECKING:
    from gateway.inbound.ending import Ending

_BATCH: Final = 1000


class LiveStreams:
    """The registry, and the round that ends what may not go on. An exchange enters when its answer outlasts its first piece."""

    def __init__(self, engine: Engine, tokens: TokenStore, loop: asyncio.AbstractEventLoop) -> None:
        self._engine = engine
        self._tokens = tokens
        self._loop = loop
        self._clock = loop.time
        self._rounds: set[asyncio.Task[None]] = set()
        self._ahead_ms: float | None = None  # the store's time less our clock's, when it was last told
        self._streams: dict[str, set[Ending]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._streams.values()))

    def add(self, exchange: Ending) -> None:
        """Enter an exchange; one on a public route has no token to end with."""
        token_id = exchange.opening.token_id if exchange.opening else ""
        if token_id:
            self._streams.setdefault(token_id, set()).add(exchange)

    def discard(self, exchange: Ending) -> None:
        """Take an exchange out; it need not be in."""
        token_id = exchange.opening.token_id if exchange.opening else ""
        streams = self._streams.get(token_id)
        if streams is not None:
            streams.discard(exchange)
            if not streams:
                del self._streams[token_id]

    def changed(self, token_id: str) -> None:
        """The store says that a token has changed."""
        if token_id in self._streams:
            task = self._loop.create_task(self.round([token_id]))
            self._rounds.add(task)
            task.add_done_callback(self._rounds.discard)

    async def round(self, token_ids: Sequence[str] | None = None) -> None:
        """Judge open streams again, all or those of some tokens. While the store can't be asked only the clock counts: what expires
        ends all the same."""
        ids = list(self._streams) if token_ids is None else list(token_ids)
        for at in range(0, len(ids), _BATCH):
            batch = ids[at : at + _BATCH]
            try:
                records, now_ms = await self._tokens.fetch_many(batch)
            except StoreUnavailable:
                if self._ahead_ms is None:
                    continue
                now_ms = int(self._clock() * 1000 + self._ahead_ms)
                records = {}
                for token_id in batch:
                    for exchange in self._streams.get(token_id, ()):
                        if exchange.record is not None:
                            records[token_id] = exchange.record
            else:
                self._ahead_ms = now_ms - self._clock() * 1000
            for token_id in batch:
                for exchange in list(self._streams.get(token_id, ())):
                    self._judge(exchange, records.get(token_id), now_ms)

    def _judge(self, exchange: Ending, record: LiveRecord | None, now_ms: int) -> None:
        request, opening = exchange.request, exchange.opening
        if request is None or opening is None:
            return
        match = opening.match
        if not isinstance(match, Route) or match.report:
            # It was let through because nothing was enforced: whether that is so still, the policy in force says.
            opening = structs.replace(opening, match=find_route(self._engine.policy_of(opening.path), opening.path, request.method))
        verdict = self._engine.judge(opening, record, now_ms, request.method, exchange.address, websocket=request.websocket)
        if isinstance(verdict, Denial):
            exchange.end_of_token()
