"""A client's and an upstream's connection in memory: whole exchanges through the gateway's own protocols, without a socket and without the kernel.

All that the bench takes for granted of those protocols' making stands here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from bench.ground import worklogs
from bench.plan import SMALL
from gateway.inbound.connection import ClientConnection
from gateway.inbound.parser import ParsedHead, RequestParser
from gateway.inbound.plane import DataPlane
from gateway.inbound.proxy import Exchange
from gateway.inbound.request import GatewayRequest, RequestReader, read_request
from gateway.upstream.answer import AnswerHead
from gateway.upstream.exchange import UpstreamConnection
from gateway.upstream.failures import UpstreamFailure
from gateway.upstream.pool import UpstreamPool

TARGET: Final = "/4/worklogs?from=2026-11-01"
FIELDS: Final = "Host: api.example.com\r\nAccept: application/json\r\nUser-Agent: tempo-client/1.0\r\n"
ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Wed, 25 Nov 2026 05:00:00 GMT\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    b"Connection: keep-alive\r\n\r\n" % SMALL
) + worklogs(SMALL).encode("ascii")


class Memory(asyncio.Transport):
    """A protocol's transport that takes everything and sends nothing; ``written`` is called at each write."""

    def __init__(self, protocol: asyncio.Protocol, written: Callable[[], object]) -> None:
        super().__init__()
        self._protocol = protocol
        self._written = written
        self._ended = False

    def write(self, _: Any) -> None:
        self._written()

    def writelines(self, _: Iterable[Any]) -> None:
        self._written()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 4711) if name == "peername" else default

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self._ended

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def write_eof(self) -> None: ...

    def close(self) -> None:
        if not self._ended:
            self._ended = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()


class Listener:
    """Takes an answer as an exchange does, and keeps its head."""

    head: AnswerHead

    def on_interim(self, status: int, fields: list[tuple[bytes, bytes]]) -> None: ...
    def on_answer(self, head: AnswerHead) -> None:
        self.head = head

    def on_body(self, data: bytes) -> None: ...
    def on_answer_end(self, trailers: list[tuple[bytes, bytes]]) -> None: ...
    def on_switch(self, fields: list[tuple[bytes, bytes]], early: bytes) -> None: ...
    def on_failure(self, failure: UpstreamFailure) -> None:
        raise ValueError(f"the sample answer is not taken: {failure.code}")

    def on_upstream_full(self) -> None: ...
    def on_upstream_drained(self) -> None: ...
    def flush(self) -> None: ...


def request_bytes(token: str) -> bytes:
    """The sample request with this token."""
    return f"GET {TARGET} HTTP/1.1\r\n{FIELDS}Authorization: Bearer {token}\r\n\r\n".encode("ascii")


def client_of(plane: DataPlane, written: Callable[[], object] = lambda: None) -> ClientConnection:
    """A client that has connected."""
    client = ClientConnection(plane)
    client.connection_made(Memory(client, written))
    return client


def upstream_of(pool: UpstreamPool, written: Callable[[], object] = lambda: None) -> UpstreamConnection:
    """A connection to an upstream that is open."""
    connection = UpstreamConnection(pool)
    connection.connection_made(Memory(connection, written))
    return connection


def parser_of(plane: DataPlane) -> RequestParser:
    """A connection's parser."""
    return RequestParser(plane.settings.limits)


def request_of(plane: DataPlane, parsed: ParsedHead) -> GatewayRequest:
    """A request from its parsed head."""
    return read_request(parsed, plane.names)


def reader_of(plane: DataPlane) -> RequestReader:
    """A connection's reader of request heads."""
    return RequestReader(parser_of(plane), plane.names, plane.token_mark, plane.token_form)


def exchange_of(client: ClientConnection, request: GatewayRequest) -> Exchange:
    """A request's story, at its beginning."""
    return Exchange(client, request)


class Pair:
    """A client and a connection of the upstream's, for whole exchanges with the sample request; ``answered`` counts them.

    ``prompt``: the upstream answers by itself, in the loop's next turn.
    """

    def __init__(self, plane: DataPlane, pool: UpstreamPool, token: str, *, prompt: bool) -> None:
        self.answered = 0
        self._plane = plane
        self._loop = plane.loop
        self._request = request_bytes(token)
        self._done: asyncio.Future[None] | None = None
        self._client = client_of(plane, self._written_down)
        self.pool = pool
        self._upstream = upstream_of(pool, self._written_up if prompt else lambda: None)
        pool.give(self._upstream)

    def at_once(self) -> None:
        """One exchange of a token that is at hand, alone in its turns of the loop: two reads, nothing is waited for."""
        self._client.data_received(self._request)
        self._plane.arrived.run()
        self._answer()
        self.pool.answers.run()
        self._plane.finished.run()

    @staticmethod
    def together(pairs: Sequence[Pair]) -> None:
        """The same for many pairs of one data plane, in the same turns of the loop, as a busy worker meets them."""
        plane, pool = pairs[0]._plane, pairs[0].pool
        for pair in pairs:
            pair._client.data_received(pair._request)
        plane.arrived.run()
        for pair in pairs:
            pair._answer()
        pool.answers.run()
        plane.finished.run()

    def _answer(self) -> None:
        """Answer on the connection that the exchange has taken."""
        exchange = self._client.exchange
        if exchange is not None and exchange.connection is not None:
            exchange.connection.data_received(ANSWER)

    async def ask(self) -> None:
        """One exchange that waits for the store."""
        self._done = self._loop.create_future()
        self._client.data_received(self._request)
        await self._done

    def _written_up(self) -> None:
        self._loop.call_soon(self._upstream.data_received, ANSWER)

    def _written_down(self) -> None:
        self.answered += 1
        if self._done is not None and not self._done.done():
            self._done.set_result(None)
