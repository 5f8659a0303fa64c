"""What a worker is made of: the data plane, its link to the store, and what accounts for requests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Coroutine
from typing import Any, Final

from gateway.core.policy import Policy
from gateway.flow.engine import Engine
from gateway.flow.own_answers import OwnAnswers
from gateway.inbound.account import Account
from gateway.inbound.plane import DataPlane
from gateway.observe.access_log import AccessLog
from gateway.observe.metrics import Counters
from gateway.observe.redaction import Redaction
from gateway.ports import StoreUnavailable
from gateway.settings import Settings
from gateway.store.connection import StoreOptions
from gateway.store.decision_stream import RedisDecisionStream
from gateway.store.limit_store import RedisLimitStore
from gateway.store.record_reader import RedisRecordReader
from gateway.store.server import Store
from gateway.store.token_store import RedisTokenStore
from gateway.store.usage_ledger import RedisUsageLedger

LOG: Final = logging.getLogger("scopegate")


class DataPlaneApp:
    """One worker. ``name`` is NODE/NUMBER. OSError where the access log can't be opened, StoreUnavailable where the store's id can't be read."""

    def __init__(self, settings: Settings, policy: Policy, options: StoreOptions, name: str) -> None:
        self.counters = Counters()
        self._store = Store(options)
        self._store.identity.load()  # the supervisor has checked the store; a worker that is replaced must not need it
        self._tokens = RedisTokenStore(self._store, records=settings.cache_records, lease_s=settings.store.lease_ms / 1000, worker=name)
        self._usage = RedisUsageLedger(self._store)
        self._log = AccessLog(settings.access_log)
        self._engine = Engine(policy, self._tokens, RedisLimitStore(self._store), settings.token_prefix, settings.own_prefix)
        own = OwnAnswers(settings, lambda: self._engine.policy, RedisRecordReader(self._store)) if settings.own_prefix else None
        self._decisions = RedisDecisionStream(self._store)
        account = Account(self.counters, self._log, self._usage, self._decisions, Redaction(settings.token_prefix))
        self._plane = DataPlane(settings, self._engine, self._tokens, account, asyncio.get_running_loop(), own)
        self._tokens.on_change = self._plane.live.changed
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, listener: socket.socket) -> None:
        """Take requests from a listening socket."""
        background = (self._tokens.run(), self._plane.run(), self._plane.watch_streams(), self._log.run(), self._usage.run(), self._decisions.run())
        self._tasks = [asyncio.get_running_loop().create_task(_keep_running(work)) for work in background]
        await self._plane.listen(listener)

    def use(self, policy: Policy) -> None:
        """Decide by this policy from the next request on."""
        self._engine.policy = policy

    def count(self) -> Counters:
        """The counts now."""
        self.counters.streams_open = len(self._plane.live)
        self.counters.cache_records, self.counters.cache_negatives = self._tokens.held
        return self.counters

    async def end(self, within_s: float | None = None) -> None:
        """Finish what is in flight within so many seconds (else ``drain_timeout``), and close."""
        await self._plane.drain(within_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(StoreUnavailable):
            await self._usage.close()
            await self._decisions.close()
        await self._log.close()
        await self._tokens.close()
        await self._store.close()


async def _keep_running(work: Coroutine[Any, Any, None]) -> None:
    """A background task whose end is a fault: told in one line, by its type alone, since texts may quote requests."""
    try:
        await work
    except Exception as error:  # noqa: BLE001
        LOG.critical("a background task has ended by %s: restart the gateway and report this", type(error).__name__)
