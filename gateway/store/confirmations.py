"""Waiting until a change has reached every worker that might decide by what was before.

Workers say what they have dropped on a channel. Who changes something listens first, then changes, then waits: until all workers that
were live when the store took the change have confirmed its version, or until one lease has passed since; after that none of them can
decide from memory what it knew before (docs/revocation.md).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from gateway.ports import Reach
from gateway.store.connection import StoreOptions
from gateway.store.keys import Keys
from gateway.store.link import Link


class _Expected:
    """What has been confirmed for one token since somebody began to listen."""

    __slots__ = ("news", "versions")

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.news = asyncio.Event()


class Confirmations:
    """Listens on a link of its own, opened when it is first needed."""

    def __init__(self, options: StoreOptions, keys: Keys) -> None:
        self.lease_s = options.lease_s
        self._timeout_s = options.timeout_s
        self._channel = keys.confirmed
        self._expected: dict[str, list[_Expected]] = {}
        self._listening = False
        self._news = asyncio.Event()  # the link is up and heard, or down
        self._link = Link(options)
        self._link.on_up = lambda: self._link.tell(("SUBSCRIBE", self._channel))
        self._link.on_down = self._lost
        self._link.on_push = self._heard

    async def listen(self) -> None:
        """Listen from now on. Where that fails, within the store's time limit, changes wait for a whole lease."""
        self._link.keep_up()
        if self._listening or not self._link.alive:
            return
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_s):
                await self._news.wait()

    @contextmanager
    def expecting(self, token_id: str) -> Iterator[_Expected]:
        """Collect what is confirmed for a token."""
        expected = _Expected()
        self._expected.setdefault(token_id, []).append(expected)
        try:
            yield expected
        finally:
            others = self._expected[token_id]
            others.remove(expected)
            if not others:
                del self._expected[token_id]

    async def wait(self, expected: _Expected, version: int, workers: Collection[str], *, whole_lease: bool = False) -> Reach:
        """Until all ``workers`` (NODE/WORKER) have confirmed ``version`` or a later one, for one lease at most, or, if asked, exactly."""
        missing = self._missing(expected, version, workers)
        try:
            async with asyncio.timeout(self.lease_s):
                while missing or whole_lease:
                    expected.news.clear()
                    await expected.news.wait()
                    missing = self._missing(expected, version, workers)
        except TimeoutError:
            pass
        nodes = {worker.rpartition("/")[0] for worker in workers}
        return Reach(len(nodes), len(nodes - {worker.rpartition("/")[0] for worker in missing}))

    async def close(self) -> None:
        """Listen no more."""
        await self._link.close()

    @staticmethod
    def _missing(expected: _Expected, version: int, workers: Collection[str]) -> list[str]:
        return [worker for worker in workers if expected.versions.get(worker, 0) < version]

    def _lost(self) -> None:
        self._listening = False
        self._news.set()

    def _heard(self, push: list[Any]) -> None:
        if push[0] == b"subscribe":
            self._listening = True
            self._news.set()
        elif push[0] == b"message":
            token_id, version, worker = push[2].decode().split(" ", 2)
            for expected in self._expected.get(token_id, ()):
                expected.versions[worker] = max(int(version), expected.versions.get(worker, 0))
                expected.news.set()
