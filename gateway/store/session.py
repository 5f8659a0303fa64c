"""A connection of one's own for a change: WAITAOF speaks of the writes of its own connection, and may wait for 1.5 s."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import hiredis

from gateway.ports import StoreUnavailable
from gateway.store.channel import Channel, Command
from gateway.store.connection import FAILURES, StoreOptions, address, code, connect, unavailable
from gateway.store.scripts import Script

DURABLE_MS: Final = 1500
_IDLE: Final = 4  # connections kept for the next session


class Session:
    """Asks and changes, one after the other. Every failure comes out as StoreUnavailable."""

    def __init__(self, channel: Channel, options: StoreOptions) -> None:
        self._channel = channel
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
        if code(replies[0]) == "NOSCRIPT":
            replies = await self._exchange((("EVAL", script.text, *rest),), written=True)
        (reply,) = self._checked(replies, written=False)
        self._wrote = True
        return reply

    async def settle(self) -> None:
        """Wait until what was written on this session is in the server's append-only file (WAITAOF 1 0), where it has one.

        Comes after the write's answer, never in one pipeline with it: there it takes up to 100 ms instead of 0.2. StoreUnavailable
        (written) where the server has an append-only file and does not confirm within 1.5 s. A server without one, too old to say, or
        that does not let us ask, carries on, unless it is the embedded one.
        """
        (reply,) = await self._exchange((("WAITAOF", 1, 0, DURABLE_MS),), written=True, extra_s=DURABLE_MS / 1000)
        if isinstance(reply, hiredis.ReplyError):
            if self._options.embedded or code(reply) not in {"ERR", "NOPERM"}:
                raise unavailable(reply, self._options, written=True)
        elif reply[0] < 1:
            where = address(self._options.url)
            raise StoreUnavailable(f"the store at {where} did not confirm within {DURABLE_MS} ms that the change is in its append-only file", written=True)

    async def _exchange(self, commands: Sequence[Command], *, written: bool, extra_s: float = 0) -> list[Any]:
        """Error replies stand in their places; a failure of the connection is StoreUnavailable, ``written`` if they would change something, or this
        session has changed something before."""
        try:
            async with asyncio.timeout(self._options.timeout_s + extra_s):
                return await self._channel.ask(*commands)
        except FAILURES as error:
            # A refusal with which the server hangs up says that this was not done.
            raise unavailable(error, self._options, written=self._wrote or (written and not isinstance(error, hiredis.ReplyError))) from error

    def _checked(self, replies: list[Any], *, written: bool) -> list[Any]:
        for place, reply in enumerate(replies):
            if isinstance(reply, hiredis.ReplyError):
                raise unavailable(reply, self._options, written=self._wrote or (written and place > 0))
        self._wrote = self._wrote or written
        return replies


class Sessions:
    """Opens sessions; a few connections are kept for the next one."""

    def __init__(self, options: StoreOptions) -> None:
        self._options = options
        self._idle: list[Channel] = []

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A session with a connection of its own. What ends by an exception, a cancellation too, ends the connection with it."""
        channel = await self._opened()
        try:
            yield Session(channel, self._options)
        except BaseException:
            channel.abort()
            raise
        if len(self._idle) < _IDLE:
            self._idle.append(channel)
        else:
            channel.abort()

    async def close(self) -> None:
        """End the connections that are kept."""
        while self._idle:
            self._idle.pop().abort()

    async def _opened(self) -> Channel:
        while self._idle:
            kept = self._idle.pop()
            if kept.is_quiet:
                return kept
            kept.abort()
        try:
            async with asyncio.timeout(self._options.timeout_s):
                return await connect(self._options)
        except FAILURES as error:
            raise unavailable(error, self._options) from error
