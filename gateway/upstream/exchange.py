"""One connection to an upstream: a request goes out, the answer is read strictly and told to a sink.

RFC 9112 sections 6 and 7. A plain answer (its head came whole, its body is so many bytes) is read from its lines; llhttp, by httptools, judges all
else; that parser lives as long as the connection. A connection is only reused after an answer that ended cleanly, with its request sent whole and not
one byte beyond it: whatever else comes could be taken for the next client's answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

import httptools

from gateway.core.forwarding import UPGRADE
from gateway.upstream.answer import NAMES, AnswerHead, AnswerRefused, AnswerSink, TunnelSink, read_head, split_field
from gateway.upstream.failures import INVALID, UpstreamFailure, lost

if TYPE_CHECKING:
    from gateway.upstream.pool import UpstreamPool

LOG: Final = logging.getLogger("scopegate")
HEAD_LIMIT: Final = 64 * 1024  # of all interim and final heads of one answer
INTERIM_LIMIT: Final = 32
LARGE_READ: Final = 128 * 1024
LARGE_BODY: Final = 16 * 1024
_BEYOND_CHUNKS: Final = (b"\r", b"\n\n", b"\r\n\r\n\r\n")  # line ends behind the last line of a chunked answer


def take_answers(pieces: Sequence[tuple[UpstreamConnection, bytes]]) -> None:
    """What upstreams have sent in one turn of the loop (``core.turn``)."""
    ended: list[UpstreamConnection] = []
    for connection, data in pieces:
        try:
            if connection.take(data):
                ended.append(connection)
        except Exception as error:  # noqa: BLE001
            connection.broken(error)
    for connection in ended:
        try:
            connection.end()
        except Exception as error:  # noqa: BLE001
            connection.broken(error)


class _WithTrailers:
    """The parser's callbacks for an answer whose trailers are wanted: only then is a call made for each field, of the head too."""

    def __init__(self, connection: UpstreamConnection) -> None:
        self.on_message_begin = connection.on_message_begin
        self.on_headers_complete = connection.on_headers_complete
        self.on_header = connection.on_trailer
        self.on_body = connection.on_body
        self.on_message_complete = connection.on_message_complete


class UpstreamConnection(asyncio.Protocol):
    """A connection of one pool. ``served`` counts the requests begun on it; ``request_sent`` is set by who writes the request."""

    def __init__(self, pool: UpstreamPool) -> None:
        self.pool = pool
        self.transport: asyncio.Transport | None = None
        self.sink: AnswerSink | None = None
        self.tunnel: TunnelSink | None = None  # set by the sink in on_switch
        self.served = 0
        self.request_sent = True
        self.idle_since = 0.0
        self._paused = False
        self.keep_s = pool.keep_s
        self._parser = httptools.HttpResponseParser(self)
        # Of the answer under way. What an answer that ends well leaves as it was is set here only: after others the connection is closed.
        self._text = b""  # of the head: what has come and was not taken yet
        self._size = 0  # of all heads and trailers
        self._left = 0  # bytes of a body whose length was told that have not come, below 0 where too much has
        self._interims = 0
        self._trailers: list[tuple[bytes, bytes]] = []
        self._switch_fields: list[tuple[bytes, bytes]] = []
        self._head_method = self._upgrade = self._interim = self._head_done = self._complete = False
        self._plain = False  # the body is taken by its length alone
        self._chunked = self._told_body = self._until_close = self._reusable = self._excess = False
        self._fresh_parser = False  # this parser is not for the next answer
        self.answering = False

    # -- the exchange

    def begin(self, sink: AnswerSink, method: str, *, upgrade: bool = False, trailers: bool = False) -> None:
        """Take the sink of the next answer; the caller then writes the request and sets ``request_sent``. ``trailers``: tell them."""
        self.served += 1
        self.request_sent = False
        self.sink = sink
        self._head_method = method == "HEAD"
        self._upgrade = upgrade
        if trailers:
            self._parser = httptools.HttpResponseParser(_WithTrailers(self))
            self._fresh_parser = True
        self._head_done = self._complete = self._plain = False
        self.answering = False  # a byte of the answer has come

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def unsent(self) -> int:
        """How many bytes wait for the upstream to take them."""
        return self.transport.get_write_buffer_size() if self.transport is not None else 0

    def abandon(self) -> None:
        """The sink wants no more: the connection ends at once."""
        self.sink = self.tunnel = None
        self.abort()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def pause_reading(self) -> None:
        self._paused = True
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    # -- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.tunnel is not None:
            self.tunnel.on_tunnel(data)
        elif self.sink is None:
            self.abort()  # bytes that nobody asked for
        else:
            self.answering = True
            self.pool.answers.add((self, data))
            if len(data) >= LARGE_READ:  # the loop goes on reading after such a piece, up to 32 times in one turn: a full client must stop it now
                self.pool.answers.run()

    def take(self, data: bytes) -> bool:
        """Read a piece of the answer; whether that was its end, so that ``end`` is to follow."""
        if self.tunnel is not None:
            self.tunnel.on_tunnel(data)
            return False
        sink = self.sink
        if sink is None:
            return False  # it was given up meanwhile
        if not self._head_done:
            if self._text:
                self._text += data
            else:
                end = data.find(b"\r\n\r\n")
                head = self._plain_head(data, end)
                if head is not None:
                    # A large piece goes on to the client without being copied.
                    return self._begin_plain(sink, head, memoryview(data)[end + 4 :] if len(data) > LARGE_BODY else data[end + 4 :])
                self._text = data
        elif self._complete:  # in this very turn: it ends once, and what comes behind it is nobody's
            self._excess = True
            return False
        else:
            self._left -= len(data)
            if self._plain:
                return self._take_plain(sink, data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as switch:
            self._switch(sink, data[switch.args[0] :])
            return False
        except httptools.HttpParserError:
            self._excess = True
            self._fail_or_end(sink)
            return False
        if self._complete and self._head_done:
            # llhttp skips line ends between two messages: to it they are no byte too many.
            if data.endswith(_BEYOND_CHUNKS) if self._chunked else self._left < 0:
                self._excess = True
            return True
        if self._head_done:
            if self._chunked and self._is_endless(len(data)):
                self._fail(INVALID)
            else:
                sink.flush()
        elif self._complete or self._size + len(self._text) > HEAD_LIMIT:
            self._fail(INVALID)  # a message ended, but no final head was seen; or its head has no end
        else:
            sink.flush()
        return False

    def _plain_head(self, data: bytes, end: int) -> AnswerHead | None:
        """The head of an answer, if it came whole and its body is so many bytes: that needs no parser, which is to judge all else."""
        if end < 0 or end + self._size > HEAD_LIMIT:
            return None
        try:
            head = read_head(data[:end], to_head=self._head_method)
        except AnswerRefused:
            return None
        return head if head.plain else None

    def _begin_plain(self, sink: AnswerSink, head: AnswerHead, body: bytes | memoryview) -> bool:
        self._plain = True
        self._begin_answer(head, len(body), keeps=True)
        sink.on_answer(head)
        return self._take_plain(sink, body)

    def _take_plain(self, sink: AnswerSink, data: bytes | memoryview) -> bool:
        """A piece of a body whose length was told, already taken from what is left of it."""
        left = self._left
        if left < 0:
            self._excess = True
            data = data[:left]
        if self.sink is not sink:
            return False  # it was given up over its head
        if data:
            sink.on_body(data)
        if left <= 0:
            self._complete = True
            return True
        sink.flush()
        return False

    def end(self) -> None:
        """Give the connection back, if it is good for another request, and tell that the answer is whole."""
        if self.sink is not None:
            self._end(self.sink)

    def _is_endless(self, count: int) -> bool:
        """Whether chunks' framing and trailers go on for too long, without a byte of the body. ``count``: what this read brought."""
        if self._told_body:
            self._told_body = False
            self._size = 0
        else:
            self._size += count
        return self._size > HEAD_LIMIT

    def eof_received(self) -> bool:
        self.pool.answers.run()
        if self._until_close and not self._complete and self.sink is not None:
            self._complete = True
            self._end(self.sink)
        return False

    def connection_lost(self, _: Exception | None) -> None:
        self.pool.answers.run()
        self.transport = None
        self.pool.lost(self)
        tunnel, self.tunnel = self.tunnel, None
        if tunnel is not None:
            tunnel.on_tunnel_closed()
        elif self.sink is not None:
            self._fail(lost(answering=self.answering))

    def pause_writing(self) -> None:
        if self.tunnel is not None:
            self.tunnel.on_tunnel_full()
        elif self.sink is not None:
            self.sink.on_upstream_full()

    def resume_writing(self) -> None:
        if self.tunnel is not None:
            self.tunnel.on_tunnel_drained()
        elif self.sink is not None:
            self.sink.on_upstream_drained()

    # -- the parser's callbacks

    def on_message_begin(self) -> None:
        if self._complete:
            self._excess = True
            raise AnswerRefused

    def on_trailer(self, name: bytes, value: bytes) -> None:
        if self._head_done:
            self._size += len(name) + len(value) + 4
            if self._size > HEAD_LIMIT or not name:
                raise AnswerRefused
            self._trailers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is good to llhttp: it is read from its lines."""
        sink, text = self.sink, self._text
        end = text.find(b"\r\n\r\n")
        if self._complete or sink is None or end < 0 or end + self._size > HEAD_LIMIT:
            raise AnswerRefused
        head = read_head(text[:end], to_head=self._head_method)
        if head.status < 200:
            self._text = text[end + 4 :]
            self._size += end + 4
            self._take_interim(sink, head.status, text[:end].split(b"\r\n")[1:])
            return
        self._text = b""
        self._begin_answer(head, len(text) - end - 4, keeps=self._parser.should_keep_alive())
        if head.bodyless:
            # llhttp would wait for the body that the fields announce: the answer ends here, and the parser with it.
            self._complete = self._fresh_parser = True
        sink.on_answer(head)

    def _begin_answer(self, head: AnswerHead, count: int, *, keeps: bool) -> None:
        """A final head was read, and ``count`` bytes behind it. ``keeps``: it lets the connection stay."""
        self._head_done = True
        self._reusable = keeps and head.shared
        self._chunked = head.chunked
        self._until_close = head.length is None and not (head.chunked or head.bodyless)
        self._left = (0 if head.bodyless else head.length or 0) - count
        if head.keep_alive:
            self._learn_keep_alive(head.keep_alive)

    def on_body(self, data: bytes) -> None:
        if self._complete or self.sink is None:
            self._excess = True
            raise AnswerRefused
        self._told_body = True
        self.sink.on_body(data)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
        else:
            self._complete = True

    # -- what they lead to

    def _take_interim(self, sink: AnswerSink, status: int, fields: list[bytes]) -> None:
        self._interims += 1
        if self._interims > INTERIM_LIMIT:
            raise AnswerRefused
        if status == 101:
            if not self._upgrade:
                raise AnswerRefused
            self._switch_fields = [split_field(field) for field in fields]
            return
        self._interim = True
        sink.on_interim(status, [split_field(field) for field in fields])

    def _switch(self, sink: AnswerSink, early: bytes) -> None:
        """The parser met the end of HTTP: a 101, or a final answer with an Upgrade field, as a refused upgrade may have."""
        if self._head_done:
            self._fresh_parser = True
            self._excess = self._excess or bool(early)
            self._fail_or_end(sink)
        elif self._upgrade and [value.lower() for name, value in self._switch_fields if NAMES[name] == UPGRADE] == [b"websocket"]:
            self.sink = None
            sink.on_switch(self._switch_fields, early)
        else:
            self._fail(INVALID)

    def _fail_or_end(self, sink: AnswerSink) -> None:
        """The parser stopped: after the end of the answer that only costs the connection."""
        if self._complete and self._head_done:
            self._end(sink)
        else:
            self._fail(INVALID)

    def _fail(self, failure: UpstreamFailure) -> None:
        sink, self.sink = self.sink, None
        self.abort()
        if sink is not None:
            sink.on_failure(failure)

    def _end(self, sink: AnswerSink) -> None:
        self.sink = None
        if self._reusable and not self._excess and self.request_sent and self.transport is not None and not self.transport.is_closing():
            if self._fresh_parser:
                self._fresh_parser = False
                self._parser = httptools.HttpResponseParser(self)
            if self._size:
                self._size = self._interims = 0
            if self._paused:  # what has come in one turn is taken whole, also what came behind the piece that was too much
                self.resume_reading()
            self.pool.give(self)
        elif self.transport is not None:
            self.abort()
        trailers = self._trailers
        if trailers:
            self._trailers = []
        sink.on_answer_end(trailers)

    def broken(self, error: Exception) -> None:
        """A fault of ours: it costs this connection and its exchange, not the others of its turn. Its text may quote an answer: only its type is told."""
        LOG.critical("an answer of upstream %s was broken off by %s: report this", self.pool.settings.name, type(error).__name__)
        sink, self.sink = self.sink, None
        self.abort()
        if sink is not None:
            sink.on_failure(INVALID)

    def _learn_keep_alive(self, value: bytes) -> None:
        """``Keep-Alive: timeout=N`` (RFC 2068 section 19.7.1.1): leave before the upstream does."""
        for part in value.split(b","):
            name, _, seconds = part.strip().partition(b"=")
            if name.lower() == b"timeout" and seconds.isdigit():
                self.keep_s = min(self.keep_s, max(0.5, int(seconds[:9]) - 1.0))
