"""One request and its answer: authorise, refuse or exchange, account.

An Exchange stands between a client connection and an upstream connection. Each side tells it what came by plain calls, and is
slowed down to the pace of the other. What has to be waited for (the store, a connection) is one task; nothing else is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from gateway.core.decision import Allow, Denial, denied
from gateway.inbound.downward import SOON_MS, AnswerFraming, expiry_line, interim_lines, own_head, switch_lines
from gateway.inbound.ending import NEVER, Ending
from gateway.inbound.tunnel import Tunnel
from gateway.inbound.upward import own_authorization, request_head
from gateway.upstream.answer import AnswerHead
from gateway.upstream.exchange import LARGE_BODY, UpstreamConnection
from gateway.upstream.failures import UpstreamFailure

_RETRIED: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_CLOSED_EARLY: Final = UpstreamFailure("upstream_unreachable", "The upstream closes connections as soon as they open.")


class Exchange(Ending):
    """The story of one request, from its head to the last byte of its answer; its ends are those of ``Ending``."""

    # -- authorise

    def decide(self) -> None:
        """Decide, where the record is at hand. ``proceed`` follows before anything else can happen."""
        request, plane = self._request(), self.plane
        self.is_new = False
        opening = plane.engine.open(request.method, request.target, request.authorizations, self.client.credential)
        if isinstance(opening, Denial):
            self._refuse(opening)
            return
        self.opening = opening
        if plane.trusted:
            self.address = plane.client_address(self.client.peer, request)
            self.address_text = str(self.address)
        self.verdict = plane.engine.decide_at_hand(opening, request.method, self.address, websocket=request.websocket)

    def proceed(self) -> None:
        """Go on by the verdict; without one, ask the store."""
        verdict = self.verdict
        if verdict is not None:
            self._decided(verdict)
        elif not self._over:
            self._ask(self._decided)

    def _decide(self, then: Callable[[Allow | Denial], None]) -> None:
        """Call ``then`` with the verdict: at once where the record is at hand, else from the read of the store's answer."""
        request, opening, engine = self._request(), self.opening, self.plane.engine
        assert opening is not None  # noqa: S101 - decide made it
        verdict = engine.decide_at_hand(opening, request.method, self.address, websocket=request.websocket)
        if verdict is None:
            self._ask(then)
        else:
            then(verdict)

    def _ask(self, then: Callable[[Allow | Denial], None]) -> None:
        """Call ``then`` with the verdict from the read of the store's answer."""
        request, opening, engine = self._request(), self.opening, self.plane.engine
        assert opening is not None  # noqa: S101 - decide made it
        self.plane.counters.lookups += 1
        engine.decide_then(opening, request.method, self.address, partial(self.plane.guard, self, then), websocket=request.websocket)

    def _decided(self, verdict: Allow | Denial) -> None:
        if self._over:
            return
        if isinstance(verdict, Denial):
            self._refuse(verdict)
            return
        self.verdict = verdict
        route = verdict.route
        if route.report:
            self.reported = verdict.refusal or self.over_limit
        if route.rate_limit is not None and not self._counted:
            self.plane.spawn(self, self._count(verdict))
            return
        if route.own:
            self.plane.spawn(self, self._make_own(verdict))
            return
        if not self._body_done:
            self._body_limit = route.max_body if route.max_body is not None else self.plane.body_limit
            if self._request().length > self._body_limit:
                self._refuse(self._too_large())
                return
        upstream = self.upstream = self.plane.upstreams[route.upstream]
        connection = upstream.pool.take()
        if connection is None:
            self.plane.spawn(self, self._connect())
        else:
            self._send(connection)

    async def _count(self, verdict: Allow) -> None:
        """Count the request against its route's limit, then decide again: the token may have ended meanwhile (G3)."""
        refusal = await self.plane.engine.limit(verdict, self.address)
        self._counted = True
        if self._over:
            return
        if refusal is not None and not verdict.route.report:
            self._refuse(refusal)
        else:
            self.over_limit = refusal
            self._decide(self._decided)

    async def _connect(self) -> None:
        """Wait for a connection, then decide again."""
        upstream = self.upstream
        assert upstream is not None  # noqa: S101 - who asks for a connection knows of what
        try:
            connection = await upstream.pool.acquire()
        except UpstreamFailure as failure:
            self._fail(failure)
            return
        self._decide(partial(self._connected, connection))

    def _connected(self, connection: UpstreamConnection, verdict: Allow | Denial) -> None:
        if isinstance(verdict, Allow) and not self._over and connection.transport is not None:
            self.verdict = verdict
            self._send(connection)
            return
        if connection.transport is not None:
            connection.pool.give(connection)
        if isinstance(verdict, Denial) and not self._over:
            self._refuse(verdict)
        else:
            self._fail(_CLOSED_EARLY)

    async def _make_own(self, verdict: Allow) -> None:
        """Make an answer of the gateway's own, then decide again (G3)."""
        own, record = self.plane.own, verdict.record
        assert own is not None and record is not None  # noqa: S101, PT018 - no such route is public, or there without a prefix
        made = await own.make(verdict.route.own, record)
        if not self._over:
            self._decide(partial(self._own_made, made))

    def _own_made(self, made: bytes | Denial, verdict: Allow | Denial) -> None:
        if self._over:
            return
        if isinstance(verdict, Denial):
            self._refuse(verdict)
            return
        self.verdict = verdict
        if isinstance(made, Denial):
            self._refuse(made)
        else:
            self._answer(made)

    def _answer(self, body: bytes) -> None:
        """The whole of an answer of the gateway's own: JSON, for its bearer alone."""
        request = self._request()
        self.status = 200
        self._keep = self._may_keep(request)
        head = own_head(len(body), self.request_id, self._expiry(self.record), close=not self._keep, http10=request.http10)
        if request.method == "HEAD":
            self._hand_down([head])
        else:
            self.bytes_out = len(body)
            self._hand_down([head, body])
        self._end()

    # -- send

    def _send(self, connection: UpstreamConnection) -> None:
        request, upstream, verdict, opening, plane = self.request, self.upstream, self.verdict, self.opening, self.plane
        assert request is not None and upstream is not None and isinstance(verdict, Allow) and opening is not None  # noqa: S101, PT018
        self.connection = connection
        connection.begin(self, request.method, upgrade=request.websocket, trailers=request.takes_trailers)
        forwarded, trusted = plane.forwarded(self.client, request)
        identity = plane.identities.of(verdict.record) if verdict.record is not None and upstream.identifies else b""
        id_line = self._id_line = b"X-Request-Id: " + self.request_id.encode("ascii")
        if verdict.route.report:
            self.reported = verdict.refusal or self.over_limit
            identity = own_authorization(request, upstream, plane.settings.token_prefix) + identity
        head = request_head(request, upstream, opening.path, forwarded, id_line, identity, peer_trusted=trusted)
        record = verdict.record
        if record is not None and record.expires_at - plane.engine.store_ms <= SOON_MS:
            self._id_line = id_line + b"\r\n" + expiry_line(record.expires_at)
        if self._body_done:
            connection.write(head)
            connection.request_sent = True
            timeout_s = verdict.route.timeout_s
            self._deadline = plane.now + (timeout_s if timeout_s is not None else upstream.response_timeout_s)
            return
        self._up = [head]
        if request.expects:
            self._deadline = self.plane.now + self._response_timeout()
        self._corked = True
        self.client.take_body()
        self._corked = False
        if not self._over:
            self._flush_up()
            if self._body_done:
                self._sent()

    @property
    def wants_body(self) -> bool:
        """Whether the upstream takes (more of) the request's body now."""
        return self.connection is not None and not self._up_full and not self._body_done and not self._over

    @property
    def waits_for_upstream(self) -> bool:
        """Whether the client rightly sends no body yet: it waits for the upstream's 100."""
        return self.request is not None and self.request.expects and not self._may_continue and not self.bytes_in

    def _too_large(self) -> Denial:
        return denied("body_too_large", f"The body may be {self._body_limit} bytes long.")

    def request_body(self, data: bytes) -> None:
        """A piece of the request's body."""
        self.bytes_in += len(data)
        if self.bytes_in > self._body_limit:
            self._drop_connection()
            self._refuse_or_cut(self._too_large())
            return
        self._up += (b"%x\r\n" % len(data), data, b"\r\n") if self._request().chunked else (data,)
        if not self._corked:
            self._flush_up()

    def request_body_end(self) -> None:
        """The request's body is complete."""
        if self._over:
            return
        self._body_done = True
        if self._request().chunked:
            self._up.append(b"0\r\n\r\n")
        if not self._corked:
            self._flush_up()
            self._sent()

    def _flush_up(self) -> None:
        up, self._up = self._up, []
        if self.connection is not None and up:
            self.connection.write(b"".join(up))

    def _sent(self) -> None:
        """The request is out, whole: the upstream's time to answer begins."""
        connection = self.connection
        if connection is None:
            return
        connection.request_sent = True
        if self._framing is None:
            self._deadline = self.plane.now + self._response_timeout()

    def _response_timeout(self) -> float:
        upstream, route = self.upstream, self.verdict.route if self.verdict is not None else None
        assert upstream is not None and route is not None  # noqa: S101, PT018
        return route.timeout_s if route.timeout_s is not None else upstream.response_timeout_s

    # -- the answer (AnswerSink)

    def on_interim(self, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        request = self._request()
        unasked = status == 100 and (not request.expects or self._body_done)
        if status == 100 and not self._body_done:
            self._may_continue = True
            self._deadline = NEVER
        if not request.http10 and not unasked:
            self._down += interim_lines(status, fields)

    def on_answer(self, head: AnswerHead) -> None:
        request, upstream = self.request, self.upstream
        assert request is not None and upstream is not None  # noqa: S101, PT018
        if head.status == 401 and upstream.credentials:
            self._drop_connection()
            self._refuse(denied("upstream_auth", "The upstream refused the gateway's own credential: its operator must renew it."))
            return
        self.status = head.status
        framing = self._framing = AnswerFraming(head, request, upstream, self._id_line)
        lines = framing.lines
        self._keep = self._body_done and request.keep_alive and not (framing.until_close or request.websocket or self.plane.draining)
        if not (self._keep or framing.until_close):
            self._keep = self._may_keep(request)
        if not self._keep:
            lines.append(b"Connection: close")
        elif request.http10:
            lines.append(b"Connection: keep-alive")
        self._down += (b"\r\n".join(lines), b"\r\n\r\n")

    def on_body(self, data: bytes | memoryview) -> None:
        framing = self._framing
        if framing is None:  # it was refused in on_answer
            return
        if framing.plain:
            framing.body_bytes += len(data)
            self._down.append(data)
        else:
            self._down += framing.piece(bytes(data))

    def on_answer_end(self, trailers: list[tuple[bytes, bytes]]) -> None:
        framing, self.connection = self._framing, None
        if framing is None:
            return
        if not framing.plain:
            self._down += framing.ending(trailers if self._request().takes_trailers else [])
        if self._down:
            self._hand_down(self._down)
        self._close_books()
        self.client.done(self, keep=self._keep)

    def on_failure(self, failure: UpstreamFailure) -> None:
        connection, self.connection = self.connection, None
        request = self._request()
        again = failure.unanswered and connection is not None and connection.served > 1 and not self._retried
        if again and request.method in _RETRIED and not request.has_body and not request.websocket:
            self._retried = True
            self.plane.counters.upstream_retries += 1
            self._deadline = NEVER
            self.plane.spawn(self, self._connect())
        else:
            self._fail(failure)

    def flush(self) -> None:
        """The end of one read from the upstream, and the answer goes on."""
        self._write_down()
        framing, upstream, verdict = self._framing, self.upstream, self.verdict
        if framing is None or upstream is None or verdict is None:
            return
        self._heard = self.plane.now
        quiet = framing.event_stream or (verdict.route is not None and verdict.route.stream)
        self._deadline = NEVER if quiet else self._heard + upstream.idle_timeout_s
        if not self._live:
            self._live = True
            self.plane.live.add(self)

    def _write_down(self) -> None:
        down, self._down = self._down, []
        if down:
            self._begun = self._framing is not None or self.tunnel is not None
            self._hand_down(down)

    def _hand_down(self, pieces: list[bytes | memoryview]) -> None:
        """Write to the client. Small pieces are put together; a large one is not copied once more."""
        transport = self.client.transport
        if transport is None:
            return
        if len(pieces[-1]) > LARGE_BODY:
            transport.writelines(pieces)
        else:
            transport.write(b"".join(pieces))

    def on_switch(self, fields: list[tuple[bytes, bytes]], early: bytes) -> None:
        connection = self.connection
        assert connection is not None  # noqa: S101 - it is calling
        if self.client.half_closed:  # nobody would tell us any more when it leaves
            self._cut("client_gone")
            return
        self.status = 101
        self._deadline = NEVER
        tunnel = self.tunnel = connection.tunnel = Tunnel(self.client, connection, self._tunnel_closed)
        self._down += switch_lines(fields, self._id_line)
        self._write_down()
        self._live = True
        self.plane.live.add(self)
        if early:
            tunnel.on_tunnel(early)
        waiting = self.client.start_tunnel(tunnel)
        if waiting:
            tunnel.client_bytes(waiting)

    def _tunnel_closed(self) -> None:
        """The upstream has left: what it said before still goes out."""
        self.connection = None
        self._close_books()
        self.client.close()

    # -- the pace of each side

    def on_upstream_full(self) -> None:
        self._up_full = True
        if self.connection is not None:
            self._unsent = self.connection.unsent()
        if self.upstream is not None and self._framing is None:  # one that takes nothing has its time too
            self._deadline = self.plane.now + self.upstream.idle_timeout_s

    def on_upstream_drained(self) -> None:
        self._up_full = False
        if not self._body_done and self._framing is None:
            self._deadline = NEVER
        self.client.take_body()

    def client_full(self) -> None:
        """The client does not read as fast as the upstream sends."""
        if self.connection is not None:
            self.connection.pause_reading()

    def client_drained(self) -> None:
        self._heard = self.plane.now
        if self._framing is not None and self._deadline != NEVER and self.upstream is not None:
            self._deadline = self._heard + self.upstream.idle_timeout_s
        if self.connection is not None:
            self.connection.resume_reading()
