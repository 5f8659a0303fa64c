"""The edge: one client connection, HTTP/1.1 and 1.0 in (RFC 9112), requests taken one after the other.

Bytes wait unparsed in ``pending`` until their turn: a request is read with those that others have sent in the same turn of the loop
(``core.turn``), a pipelined one when the one before it is answered, a body when somebody takes it. So nothing piles up but one read, and
what a client sends after ``Connection: close`` is never looked at.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final, cast

from gateway.core.client_address import Address, parse_address
from gateway.core.decision import denied
from gateway.flow.engine import Credential
from gateway.inbound.downward import health_answer
from gateway.inbound.ending import Ending
from gateway.inbound.parser import HeadFault, RequestParser, is_whole
from gateway.inbound.proxy import Exchange
from gateway.inbound.request import GatewayRequest, RequestReader
from gateway.inbound.tunnel import Tunnel

if TYPE_CHECKING:
    from gateway.inbound.plane import DataPlane

HEALTH_PATH: Final = "/.scopegate/healthz"
PENDING_LIMIT: Final = 64 * 1024
DRAIN_LIMIT: Final = 64 * 1024  # of a refused body: more than that closes the connection
LINGER_S: Final = 2.0
STEPS_A_TURN: Final = 8
EMPTY_LINES: Final = 64  # bytes of them before a request line
_NEVER: Final = float("inf")
_RESET: Final = struct.pack("ii", 1, 0)  # linger for no time: RFC 9112 section 9.6 asks for a reset where a message is not whole
_NOBODY: Final = IPv4Address(0)  # a peer that was gone before it could be asked for


class ClientConnection(asyncio.Protocol):
    """One client. At any time it reads a head, or has one exchange (whose body it may still read), or closes."""

    def __init__(self, plane: DataPlane) -> None:
        self.plane = plane
        self.transport: asyncio.Transport | None = None
        self.peer: Address = _NOBODY
        self.peer_text = ""
        self.exchange: Exchange | None = None
        self._tunnel: Tunnel | None = None
        self.pending = b""
        self.half_closed = False
        self.write_full = False  # the client does not read its answers
        self.forwarded_for_host = b""  # whose X-Forwarded block is in ``forwarded``
        self.forwarded = b""
        self.credential = Credential()
        self._parser = RequestParser(plane.settings.limits)
        self._reader = RequestReader(self._parser, plane.names, plane.token_mark, plane.token_form)
        self._scanned = 0
        self._skipped = 0  # bytes of empty lines
        self._remaining = 0  # bytes of a body whose length was told
        self._chunked = False
        self._discarded = -1  # bytes of a refused body thrown away; -1: the body is wanted
        self._closing = False
        self._working = False
        self._turn_waits = False  # ``pending`` is looked at again in the loop's next turn
        self._reading = True
        self._head_since = 0.0  # when the first byte of the present head came; 0: none yet
        self._deadline = plane.now + plane.settings.limits.header_timeout_s
        self._unread = 0  # bytes that waited for the client when last looked at

    # -- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.peer = (parse_address(peer[0]) if isinstance(peer, tuple) else None) or _NOBODY
        self.peer_text = str(self.peer)
        self.plane.joined(self)

    def data_received(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.client_bytes(data)
            return
        if self._closing:
            self._discard_after_close(len(data))
            return
        self.pending = self.pending + data if self.pending else data
        if self._turn_waits:
            if len(self.pending) >= PENDING_LIMIT:
                self._hold_or_read()
        elif self.exchange is None and not (self._remaining or self._chunked or self.write_full):
            self._turn_waits = True
            self.plane.arrived.add(self)
        else:
            self._work()

    def begin(self) -> Exchange | None:
        """Take the request that has arrived; None where there is none, or where it was answered at once. The first of a turn's steps."""
        self._turn_waits = False
        if not self.pending or self._closing or self.transport is None or self.exchange is not None or self._remaining or self._chunked:
            return None  # the last two: a step before this one took the head, and what waits is of its body
        self._working = True
        try:
            self._take_head()
        except HeadFault as fault:
            self._refuse_message(fault)
            return None
        finally:
            self._working = False
        return self.exchange

    def go_on(self) -> None:
        """The last of a turn's steps: what else has come."""
        if self.pending or self.half_closed or not self._reading:
            self._work()

    def eof_received(self) -> bool:
        """A half-closed client still gets its answer; one that waits for nothing is gone."""
        self.half_closed = True
        exchange = self.exchange
        if exchange is None:
            return (self.write_full or self._turn_waits) and not self._closing
        if self._closing or self._tunnel is not None or (self.reading_body and not self.pending):
            self._gone()
            return False
        return True

    def connection_lost(self, _: Exception | None) -> None:
        self.transport = None
        self.plane.connections.discard(self)
        self.plane.counters.connections_open -= 1
        self._gone()

    def pause_writing(self) -> None:
        self.write_full = True
        self._unread = self._unread_bytes()
        self._deadline = self.plane.now + self.plane.settings.limits.body_idle_s
        if self._tunnel is not None:
            self._tunnel.client_full()
        elif self.exchange is not None:
            self.exchange.client_full()

    def resume_writing(self) -> None:
        self.write_full = False
        if self._tunnel is not None:
            self._tunnel.client_drained()
            return
        if self.exchange is not None:
            self.exchange.client_drained()
        self._work()

    def _unread_bytes(self) -> int:
        return self.transport.get_write_buffer_size() if self.transport is not None else 0

    def _gone(self) -> None:
        exchange, self.exchange, self._tunnel = self.exchange, None, None
        self.pending = b""
        if exchange is not None:
            exchange.client_gone()

    # -- taking what came, in order

    @property
    def reading_body(self) -> bool:
        return self._chunked or self._remaining > 0

    def _work(self) -> None:
        """Take from ``pending`` whatever has its turn. Not re-entrant: an exchange that ends inside just lets the loop go on."""
        if self._working:
            return
        self._working = True
        self._turn_waits = False
        steps = 0
        try:
            while self.pending and self.transport is not None and not self._closing and self._step():
                exchange = self.exchange
                if exchange is not None and exchange.is_new:
                    exchange.decide()
                    exchange.proceed()
                steps += 1
                if steps == STEPS_A_TURN:  # now the others; what is left waits in ``pending``
                    self._turn_waits = True
                    self.plane.loop.call_soon(self._work)
                    break
            else:
                if self.half_closed:
                    self._end_half_closed()
        except HeadFault as fault:
            self._refuse_message(fault)
        finally:
            self._working = False
        if len(self.pending) >= PENDING_LIMIT or not self._reading:
            self._hold_or_read()

    def _end_half_closed(self) -> None:
        """No more will come: the end, if all that was asked for is answered, or if a body can't become whole any more."""
        if self.exchange is None and not self.write_full:
            self.close()
        elif self.reading_body and not self.pending and self._discarded < 0:
            self._gone()
            self.close()

    def _step(self) -> bool:
        """One thing done with what is pending; False where nothing can be done yet."""
        if self._remaining or self._chunked:
            return self._take_body()
        return self.exchange is None and not self.write_full and self._take_head()

    def _hold_or_read(self) -> None:
        """Stop reading from the socket while what was read waits; go on when it does not."""
        if self.transport is None or self.transport.is_closing():
            return
        hold = len(self.pending) >= PENDING_LIMIT and not self._closing
        if hold and self._reading:
            self._reading = False
            self.transport.pause_reading()
        elif not hold and not self._reading:
            self._reading = True
            self.transport.resume_reading()

    # -- a head

    def _take_head(self) -> bool:
        """Begin the exchange of a request whose head is there, whole."""
        plane, data = self.plane, self.pending
        if data[0] in b"\r\n":
            data = self._without_empty_lines(data)
            if not data:
                return False
        end = data.find(b"\r\n\r\n", self._scanned) + 4
        if not 4 <= end <= plane.request_line_limit and not is_whole(data, end, plane.settings.limits):
            self._scanned = max(0, len(data) - 3)
            if not self._head_since:
                self._head_since = plane.now or 1.0
                self._deadline = plane.now + plane.settings.limits.header_timeout_s
            return False
        if end == len(data):
            head, self.pending = data, b""
        else:
            head, self.pending = data[:end], data[end:]
        self._scanned = self._skipped = 0
        self._head_since = 0.0
        self._discarded = -1
        request = self._reader.read(head)
        if request.has_body:
            self._remaining, self._chunked = request.length, request.chunked
            if self._remaining:
                self._parser.skip_body()
            self._deadline = plane.now + plane.settings.limits.body_idle_s
        elif request.target == HEALTH_PATH and request.method in {"GET", "HEAD"}:
            self._answer_health(request)
            return True
        else:
            self._deadline = _NEVER
        self.exchange = Exchange(self, request)
        return True

    def _without_empty_lines(self, data: bytes) -> bytes:
        """RFC 9112 section 2.2: empty lines before a request line are skipped, some of them."""
        rest = data.lstrip(b"\r\n")
        self._skipped += len(data) - len(rest)
        if self._skipped > EMPTY_LINES:
            raise HeadFault("request_invalid", "Too many empty lines before the request line.")
        self.pending = rest
        return rest

    def _answer_health(self, request: GatewayRequest) -> None:
        """The data port's own health, told to anyone, and counted nowhere."""
        keep = request.keep_alive and not self.plane.draining
        self.write(health_answer(head=request.method == "HEAD", close=not keep, http10=request.http10))
        if keep:
            self._ready_for_next()
        else:
            self.close()

    def _refuse_message(self, fault: HeadFault) -> None:
        """A fault of the message itself: answered if nothing was yet, and the connection closes."""
        if self._discarded >= 0:  # in a body that nobody wants: its request is answered already
            self.close(linger=True)
            return
        exchange = self.exchange
        if exchange is None:
            exchange = self.exchange = Exchange(self, None)
        exchange.message_fault(denied(fault.code, fault.detail, allow=self.plane.seven_methods if fault.code == "method_not_allowed" else ()))

    # -- a body

    def _take_body(self) -> bool:
        """Hand on what has come of the body; False where nobody takes it now."""
        exchange = self.exchange
        if self._discarded >= 0:
            return self._discard_body()
        if exchange is None or not exchange.wants_body:
            return False
        data, self.pending = self.pending, b""
        self._deadline = self.plane.now + self.plane.settings.limits.body_idle_s
        if self._chunked:
            piece, end = self._parser.chunk(data)
            if end:
                self._chunked = False
                self.pending = data[end:]
        else:
            piece = data[: self._remaining]
            self.pending = data[self._remaining :]
            self._remaining -= len(piece)
        if piece:
            exchange.request_body(piece)
        if not self.reading_body and self.exchange is exchange:
            self._deadline = _NEVER
            exchange.request_body_end()
        return True

    def _discard_body(self) -> bool:
        data, self.pending = self.pending, b""
        if self._chunked:
            _, end = self._parser.chunk(data)
            taken = end or len(data)
            self._chunked = not end
        else:
            taken = min(self._remaining, len(data))
            self._remaining -= taken
        self.pending = data[taken:]
        self._discarded += taken
        if self._discarded > DRAIN_LIMIT:
            self.close(linger=True)
            return False
        if not self.reading_body:
            self._ready_for_next()
        return True

    def take_body(self) -> None:
        """The exchange can take (more of) the body: of what has come already it gets all before it sends its head."""
        if not self._working:
            self._work()
        elif self.pending and self.reading_body:
            self._take_body()

    # -- a tunnel

    def start_tunnel(self, tunnel: Tunnel) -> bytes:
        """From now on bytes pass unread; what came before the switch is returned."""
        self._tunnel = tunnel
        waiting, self.pending = self.pending, b""
        self._deadline = _NEVER
        self._hold_or_read()
        return waiting

    def hold(self) -> None:
        """Read no more for now."""
        if self.transport is not None and self._reading and not self.transport.is_closing():
            self._reading = False
            self.transport.pause_reading()

    def release(self) -> None:
        self._hold_or_read()

    # -- the end of an exchange

    def done(self, exchange: Ending, *, keep: bool) -> None:
        """The exchange's answer is written. ``keep``: its head said that the connection stays open."""
        if self.exchange is not exchange:
            return
        self.exchange = None
        if not keep:
            self.close(linger=self.reading_body)
            return
        if self.reading_body:
            self._discarded = 0  # the answer came before the whole body: the rest is thrown away, up to a limit
            self._deadline = self.plane.now + self.plane.settings.limits.body_idle_s
        else:
            self._discarded = -1
            self._head_since = 0.0
            self._deadline = self.plane.now + self.plane.keepalive_s
        if self.pending or self.half_closed or not self._reading:
            self._work()

    def may_keep(self) -> bool:
        """Whether the rest of the present body is short enough to be thrown away for the sake of the connection."""
        return not self.plane.draining and self._remaining <= DRAIN_LIMIT

    def _ready_for_next(self) -> None:
        self._discarded = -1
        self._head_since = 0.0
        self._deadline = self.plane.now + self.plane.settings.limits.keepalive_s

    def close(self, *, linger: bool = False) -> None:
        """Close once all is written. With unread input a plain close would reset the connection and lose the answer: linger."""
        transport = self.transport
        if transport is None or self._closing:
            return
        self._closing = True
        self._tunnel = None
        self.pending = b""
        self._discarded = 0
        if linger and not self.half_closed and transport.can_write_eof() and not transport.is_closing():
            transport.write_eof()
            self._deadline = self.plane.now + LINGER_S
            self._hold_or_read()
        else:
            transport.close()
            self._deadline = self.plane.now + self.plane.settings.limits.body_idle_s

    def _discard_after_close(self, count: int) -> None:
        self._discarded += count
        if self._discarded > 16 * DRAIN_LIMIT:
            self.abort()

    def abort(self) -> None:
        """End at once, by a reset: only so a client can tell a broken-off answer whose end is told by the connection's."""
        if self.transport is not None:
            raw = self.transport.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()

    # -- what the sweep asks

    @property
    def idle(self) -> bool:
        return self.exchange is None and not self._head_since and not self.reading_body and not self._turn_waits

    def check(self, now: float) -> None:
        """End what has taken too long. Called every half second."""
        exchange = self.exchange
        if exchange is not None:
            exchange.check(now)
        if now < self._deadline or self.transport is None or self._turn_waits:
            return
        if self.write_full and self._unread_bytes() < self._unread:
            self._unread = self._unread_bytes()  # a slow reader is no dead one
            self._deadline = now + self.plane.settings.limits.body_idle_s
        elif self._closing or self.write_full:
            self.abort()
        elif self.exchange is not None:
            if self.reading_body and self._discarded < 0 and self.exchange.wants_body and not self.exchange.waits_for_upstream:
                self._deadline = now + LINGER_S
                self.exchange.message_fault(denied("request_timeout", "The request body did not arrive in time."))
        elif self._head_since:
            self._refuse_message(HeadFault("request_timeout", "The request head did not arrive in time."))
        else:
            self.close()

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)
