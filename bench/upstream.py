"""``python -m bench.upstream PORT``: a service for what nginx can't do in the bench: answers of any size, and bodies that are read and thrown away.

``GET …/N`` is answered with N bytes, another GET with 377; another method's body is read to its end and answered with how long it was. A long
body is not read for a while now and then: a gateway that did not hold its sender back would have to keep what comes meanwhile.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final, cast

import uvloop

from bench.plan import SMALL

PIECE: Final = 256 * 1024
PAUSES: Final = 8  # in a body of at least LONG bytes
PAUSE_S: Final = 0.2
LONG: Final = 16 * 1024 * 1024


class Service(asyncio.Protocol):
    """One connection: requests one after the other, never pipelined."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._to_read = self._length = self._to_send = 0
        self._pause_at = 0
        self._full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        if self._to_read:
            self._read(data)
            return
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            return
        self._head = b""
        line, *fields = head.split(b"\r\n")
        lengths = [int(value) for name, _, value in (field.partition(b":") for field in fields) if name.lower() == b"content-length"]
        self._length = self._to_read = lengths[0] if lengths else 0
        self._pause_at = self._length - max(self._length // PAUSES, LONG // PAUSES)
        if self._to_read:
            self._read(rest)
        else:
            wanted = line.split(b" ")[1].partition(b"?")[0].rpartition(b"/")[2]
            self._answer(int(wanted) if wanted.isdigit() else SMALL)

    # -- a body comes

    def _read(self, data: bytes) -> None:
        self._to_read -= len(data)
        if not self._to_read:
            told = b"%d" % self._length
            self._write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(told), told))
        elif self._to_read < self._pause_at and self._transport is not None:
            self._pause_at -= self._length // PAUSES
            self._transport.pause_reading()
            self._loop.call_later(PAUSE_S, self._go_on)

    def _go_on(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    # -- an answer goes

    def _answer(self, size: int) -> None:
        self._to_send = size
        self._write(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % size)
        self._send()

    def _send(self) -> None:
        while self._to_send and not self._full and self._transport is not None:
            size = min(PIECE, self._to_send)
            self._to_send -= size
            self._write(_ZEROS[:size])

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._send()


_ZEROS: Final = bytes(PIECE)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Service, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
