"""A connection of one's own for a change: WAITAOF speaks of the writes of its own connection, and may wait for 1.5 s."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from redis import exceptions as redis_errors
from redis.asyncio.connection import AbstractConnection

from gateway.ports import StoreUnavailable
from gateway.store.connection import FAILURES, StoreOptions, address, connect, is_refusal, unavailable
from gateway.store.scripts import Script

Command = tuple[Any, ...]

DURABLE_MS: Final = 1500
_IDLE: Final = 4  # connections kept for the next session


class Session:
    """Asks and changes, one after the other. Every failure comes out as StoreUnavailable."""

    def __init__(self, connection: AbstractConnection, options: StoreOptions) -> None:
        self._connection = connection
        self._options = options
        self._wrote = False  # a change of this session has been answered

    async def ask(self, *commands: Command) -> list[Any]:
        """The replies to commands that change nothing, in one round trip."""
        return self._checked(await self._exchange(commands, written=False), written=False)

    async def write(self, *commands: Command) -> list[Any]:
        """The replies to commands that change something, in one round trip."""
        return self._checked(await self._exchange(commands, written=True), written=True)

    async def script(self, script: Script, keys: Sequence[str], arguments: Iterable[Any]) -> Any:
        """A script's answer. A server that has forgotten it (SCRIPT FLUSH, a restart) is sent its text again."""
        rest = (len(keys), *keys, *arguments)
        replies = await self._exchange((("EVALSHA", script.sha, *rest),), written=True)
        if isinstance(replies[0], redis_errors.NoScriptError):
            replies = await self._exchange((("EVAL", script.text, *rest),), written=True)
        (reply,) = self._checked(replies, written=False)
        self._wrote = True
        return reply

    async def settle(self) -> None:
        """Wait until what was written on this session is in the server's append-only file (WAITAOF 1 0), where it has one.

        Comes after the write's answer, never in one pipeline with it: there it takes up to 100 ms instead of 0.2. StoreUnavailable
        (written) where the server has an append-only file and does not confirm within 1.5 s. A server without one, or too old to
        say, carries on, unless it is the embedded one.
        """
        (reply,) = await self._exchange((("WAITAOF", 1, 0, DURABLE_MS),), written=True, extra_s=DURABLE_MS / 1000)
        if isinstance(reply, redis_errors.ResponseError):
            if self._options.embedded:
                raise unavailable(reply, self._options, written=True)
        elif reply[0] < 1:
            where = address(self._options.url)
            raise StoreUnavailable(f"the store at {where} did not confirm within {DURABLE_MS} ms that the change is in its append-only file", written=True)

    async def _exchange(self, commands: Sequence[Command], *, written: bool, extra_s: float = 0) -> list[Any]:
        """Error replies stand in their places; a failure of the connection is StoreUnavailable, ``written`` if they would change something, or this
        session has changed something before."""
        try:
            async with asyncio.timeout(self._options.timeout_s + extra_s):
                await self._connection.send_packed_command(self._connection.pack_commands(commands))
                return [await read_reply(self._connection) for _ in commands]
        except FAILURES as error:
            # LOADING and the like end a connection as a lost one does, but say that this was not done.
            raise unavailable(error, self._options, written=self._wrote or (written and not is_refusal(error))) from error

    def _checked(self, replies: list[Any], *, written: bool) -> list[Any]:
        for place, reply in enumerate(replies):
            if isinstance(reply, redis_errors.ResponseError):
                raise unavailable(reply, self._options, written=self._wrote or (written and place > 0))
        self._wrote = self._wrote or written
        return replies


class Sessions:
    """Opens sessions; a few connections are kept for the next one."""

    def __init__(self, options: StoreOptions) -> None:
        self._options = options
        self._idle: list[AbstractConnection] = []

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A session with a connection of its own. What ends by an exception, a cancellation too, ends the connection with it."""
        connection = await self._connected()
        try:
            yield Session(connection, self._options)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        if len(self._idle) < _IDLE:
            self._idle.append(connection)
        else:
            await connection.disconnect(nowait=True)

    async def close(self) -> None:
        """End the connections that are kept."""
        while self._idle:
            with suppress(*FAILURES):
                await self._idle.pop().disconnect()

    async def _connected(self) -> AbstractConnection:
        try:
            async with asyncio.timeout(self._options.timeout_s):
                while self._idle:
                    kept = self._idle.pop()
                    if await _is_quiet(kept):
                        return kept
                    await kept.disconnect(nowait=True)
                return await connect(self._options)
        except FAILURES as error:
            raise unavailable(error, self._options) from error


async def _is_quiet(connection: AbstractConnection) -> bool:
    """Whether a kept connection is still open and holds no byte that nobody asked for."""
    try:
        return not await connection.can_read()
    except FAILURES:
        return False


async def read_reply(connection: AbstractConnection) -> Any:
    """The next reply; an error reply is returned, not raised."""
    try:
        return await connection.read_response()
    except redis_errors.ResponseError as error:
        return error
