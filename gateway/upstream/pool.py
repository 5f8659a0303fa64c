"""The connections to one upstream: idle ones are reused last in, first out, so that the rest can age and close."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections import deque
from typing import Final

from gateway.core.turn import Turn
from gateway.settings import UpstreamSettings
from gateway.upstream.exchange import UpstreamConnection, take_answers
from gateway.upstream.failures import UpstreamFailure, connect_failure

LOG: Final = logging.getLogger("scopegate")
IDLE_S: Final = 30.0
BUSY: Final = "All connections to the upstream are in use."


class UpstreamPool:
    """At most ``max_connections`` connections to one upstream; who finds none free waits in a queue, in order."""

    def __init__(self, settings: UpstreamSettings, *, idle_s: float = IDLE_S) -> None:
        self.settings = settings
        self.keep_s = idle_s
        self._idle: list[UpstreamConnection] = []
        self._all: set[UpstreamConnection] = set()
        self._connecting = 0
        self._waiting: deque[asyncio.Future[UpstreamConnection | None]] = deque()
        self._tls = ssl.create_default_context() if settings.tls else None
        self._closed = False
        self._now = time.monotonic()  # as of the last sweep
        self._failing = False
        self.answers: Turn[tuple[UpstreamConnection, bytes]] = Turn(asyncio.get_running_loop().call_soon, take_answers)

    def __repr__(self) -> str:
        return f"UpstreamPool({self.settings.name!r}, open={len(self._all)}, idle={len(self._idle)}, waiting={len(self._waiting)})"

    def take(self) -> UpstreamConnection | None:
        """An idle connection, or None."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.transport is not None and not connection.transport.is_closing():
                return connection
        return None

    async def acquire(self) -> UpstreamConnection:
        """A connection, new or given back while waiting. UpstreamFailure: unreachable, timeout, busy."""
        within = self.settings.connect_timeout_s
        try:
            async with asyncio.timeout(within):
                while len(self._all) + self._connecting >= self.settings.max_connections:
                    turn: asyncio.Future[UpstreamConnection | None] = asyncio.get_running_loop().create_future()
                    self._waiting.append(turn)
                    try:
                        given = await turn
                    except asyncio.CancelledError:
                        if turn.done() and not turn.cancelled():  # what came in the same moment is for the next
                            if (given := turn.result()) is not None:
                                self.give(given)
                            else:
                                self._wake()
                        raise
                    finally:
                        if turn in self._waiting:
                            self._waiting.remove(turn)
                    if given is not None and given.transport is not None and not given.transport.is_closing():
                        return given
        except TimeoutError:
            raise UpstreamFailure("upstream_busy", BUSY) from None
        return await self.connect()

    async def connect(self) -> UpstreamConnection:
        """A new connection."""
        settings = self.settings
        self._connecting += 1
        try:
            async with asyncio.timeout(settings.connect_timeout_s):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: UpstreamConnection(self), settings.host, settings.port, ssl=self._tls, server_hostname=settings.host if self._tls else None
                )
        except (OSError, TimeoutError) as error:
            self._wake()
            failure = connect_failure(error)
            if not self._failing:  # one line when it begins, one when it is over
                self._failing = True
                LOG.error("upstream %s at %s: %s Check that it runs, and upstreams.%s.url.", settings.name, settings.url, failure.detail, settings.name)  # noqa: TRY400
            raise failure from None
        finally:
            self._connecting -= 1
        self._all.add(connection)
        if self._failing:
            self._failing = False
            LOG.info("upstream %s answers again", settings.name)
        if self._closed:
            connection.abort()
        return connection

    def give(self, connection: UpstreamConnection) -> None:
        """Take back a connection whose answer ended cleanly."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        if self._closed:
            connection.abort()
            return
        connection.idle_since = self._now
        self._idle.append(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        """A connection has ended."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._wake()

    def sweep(self, now: float) -> None:
        """Close what has been idle for too long (``now`` as loop time)."""
        self._now = now
        for connection in [idle for idle in self._idle if now - idle.idle_since > idle.keep_s]:
            self._idle.remove(connection)
            connection.abort()

    def close(self) -> None:
        """Close what is idle; what is in use ends with its answer."""
        self._closed = True
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    def _wake(self) -> None:
        """A place is free: who waits first may connect."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
