"""One connection to the store: commands go out in one piece, replies (RESP2 or RESP3) come back in their order. hiredis packs and reads.

It sets no time limit, asks nothing twice and does not connect again: that is for whoever asks. An exchange that does not come to its end,
by whatever, ends the connection: what comes later would be taken for the answer to something else.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
from contextlib import suppress
from typing import Any, Final, cast

import hiredis

Command = tuple[Any, ...]

_LEFT: Final = 65_536  # bytes: more than any refusal


class Channel(asyncio.Protocol):
    """Made by ``store/connection.py``, and open then. What comes is parsed only as it is asked for, so that it can be handed over whole."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport
        self._lost: Exception | None = None
        self._news: asyncio.Future[None] | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether it is open and holds no byte that nobody asked for. The system is asked too: the loop may not have come to read yet."""
        if self._lost is not None or self._transport.is_closing() or self._reader.has_data():
            return False
        unread = select.poll()
        unread.register(self._transport.get_extra_info("socket"), select.POLLIN)
        return not unread.poll(0)

    @property
    def certificate(self) -> dict[str, Any] | None:
        """The server's, as ``ssl`` gives it; None without TLS."""
        return cast("dict[str, Any] | None", self._transport.get_extra_info("peercert"))

    async def ask(self, *commands: Command) -> list[Any]:
        """The replies; an error reply stands in its place, as hiredis.ReplyError. OSError where the connection ends, hiredis.ProtocolError where it is
        no RESP. A hiredis.ReplyError that is raised is why the server hung up, and that it did nothing."""
        try:
            return await self._exchange(commands)
        except BaseException:
            self.abort()
            raise

    def hand_over(self, protocol: asyncio.Protocol) -> tuple[asyncio.Transport, hiredis.Reader]:
        """From here on ``protocol`` hears from the transport; the reader holds what came and was not asked for. OSError where it has ended."""
        if self._lost is not None or self._transport.is_closing():
            raise self._lost or ConnectionError("closed")
        self._transport.set_protocol(protocol)
        return self._transport, self._reader

    def abort(self) -> None:
        """Close it at once."""
        self._transport.abort()

    async def _exchange(self, commands: tuple[Command, ...]) -> list[Any]:
        if self._lost is None:
            self._transport.write(b"".join(map(hiredis.pack_command, commands)))
        replies: list[Any] = []
        while len(replies) < len(commands):
            reply = self._reader.gets()
            if reply is not False:
                if not isinstance(reply, hiredis.PushNotification):  # nobody remembers anything yet that it could make wrong
                    replies.append(reply)
            elif self._lost is None:
                self._news = asyncio.get_running_loop().create_future()
                await self._news
            else:
                # One that takes no more clients says so before it is asked, and hangs up.
                raise replies[0] if len(replies) == 1 and isinstance(replies[0], hiredis.ReplyError) else self._lost
        return replies

    # -- what the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        # Both event loops set TCP_NODELAY themselves.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, BrokenPipeError) and not self.certificate:
            # On a unix socket our question may fail before the loop has read why the server hung up.
            with suppress(OSError):
                self._reader.feed(os.read(self._transport.get_extra_info("socket").fileno(), _LEFT))
        self._lost = exc or ConnectionError("closed")
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
