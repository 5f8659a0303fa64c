"""What an exchange holds, and the ways in which it ends: refused, cut, given up, or done. The way there is ``inbound.proxy``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.core.decision import Allow, Denial, denied
from gateway.core.explain import EXPLAINED, Reasons, reasons_of
from gateway.core.token_record import LiveRecord
from gateway.flow.engine import Opening
from gateway.inbound.downward import SOON_MS, AnswerFraming, expiry_line
from gateway.inbound.problem import render
from gateway.inbound.request import GatewayRequest
from gateway.inbound.tunnel import Tunnel
from gateway.inbound.upward import UpstreamRoute
from gateway.upstream.exchange import UpstreamConnection
from gateway.upstream.failures import UpstreamFailure

if TYPE_CHECKING:
    from gateway.inbound.connection import ClientConnection

NEVER: Final = float("inf")
GONE_AFTER_S: Final = 1.5  # a half-closed client whose answer stands still for so long has left


class Ending:
    """One request's state. ``request`` is None for a message too broken to be read.

    ``code`` is a refusal's, "" for an answer of the upstream's, or ``client_gone``, ``cut``, ``token_ended`` where it did not end well.
    """

    # What few exchanges change; the rest is set in __init__, because a value of the instance is read faster.
    tunnel: Tunnel | None = None
    _corked = False  # the head waits for what has come of the body
    _up_full = False
    _unsent = 0  # bytes that waited for the upstream when it was last looked at
    _counted = False  # against its route's rate limit
    _retried = False
    _may_continue = False  # the upstream has said 100
    over_limit: Denial | None = None  # the refusal by a rate limit that only reports
    reasons: Reasons | None = None  # of a refusal, for the holder of a good token
    reported: Denial | None = None  # the refusal that a route which only reports has not made

    def __init__(self, client: ClientConnection, request: GatewayRequest | None) -> None:
        plane = client.plane
        self.client = client
        self.plane = plane
        self.request = request
        self.address = client.peer
        self.address_text = client.peer_text
        self.started = plane.clock()
        self.request_id = plane.request_id(request.request_id if request is not None else b"")
        self.opening: Opening | None = None
        self.verdict: Allow | Denial | None = None
        self.upstream: UpstreamRoute | None = None
        self.connection: UpstreamConnection | None = None
        self.status = self.bytes_in = self.bytes_out = 0
        self.code = ""
        self._framing: AnswerFraming | None = None
        self._body_done = request is None or not request.has_body
        self._down: list[bytes | memoryview] = []
        self.is_new = True  # not decided yet
        self._over = False
        self._begun = False  # the client has seen a part of the answer
        self._keep = False
        self._live = False  # in the registry of open streams
        self._deadline = NEVER
        self._heard = plane.now  # when a part of the answer last came

    @property
    def record(self) -> LiveRecord | None:
        """The token's record, once its secret was proved."""
        return self.verdict.record if self.verdict is not None else None

    def message_fault(self, denial: Denial) -> None:
        """The message itself is at fault, in its head or later in its body."""
        self._drop_connection()
        self._refuse_or_cut(denial, close=True)

    def client_gone(self) -> None:
        """The client's connection is lost: nothing is left to answer to."""
        if not self._over:
            self.code = self.code or ("" if self.tunnel is not None else "client_gone")
            self._drop_connection()
            self._close_books()

    def broken(self) -> None:
        """A fault of ours: nothing sensible can be said any more."""
        if not self._over:
            self._cut("fault")

    def end_of_token(self) -> None:
        """The token has ended: its open stream or tunnel ends, seen as broken off (G4)."""
        self._cut("token_ended")

    def check(self, now: float) -> None:
        """End what takes the upstream too long, or what nobody reads any more. Called every half second."""
        if self._over:
            return
        if self._framing is None:
            if now > self._deadline and not self._upstream_takes(now):
                self._drop_connection()
                self._fail(UpstreamFailure("upstream_timeout", "The upstream did not answer in time."))
        elif self.client.write_full:
            return  # the client's own deadline counts
        elif now > self._deadline:
            self._cut("cut")
        elif self.client.half_closed and now - self._heard > GONE_AFTER_S:
            self._cut("client_gone")

    def _upstream_takes(self, now: float) -> bool:
        """Whether an upstream that is behind with a body has taken some of it since it was last looked at: slow is not dead."""
        if not self._up_full or self.connection is None or self.upstream is None:
            return False
        unsent, self._unsent = self._unsent, self.connection.unsent()
        self._deadline = now + self.upstream.idle_timeout_s
        return self._unsent < unsent

    def _fail(self, failure: UpstreamFailure) -> None:
        if not self._over:
            self._refuse_or_cut(denied(failure.code, failure.detail))

    def _refuse_or_cut(self, denial: Denial, *, close: bool = False) -> None:
        """Refuse while the client has seen nothing of an answer; else all that can be said is to break it off."""
        if not self._begun:
            self._refuse(denial, close=close)
        else:
            self._cut(denial.reason.code if denial.reason.code != "upstream_invalid" else "cut")

    def _refuse(self, denial: Denial, *, close: bool = False) -> None:
        request = self.request
        verdict = self.verdict
        if isinstance(verdict, Allow) and denial.route is None:
            denial = denial._replace(route=verdict.route, record=verdict.record)
        self.verdict = denial
        self.status, self.code = denial.reason.status, denial.reason.code
        self._framing = None
        self._keep = not close and request is not None and self._may_keep(request)
        record = denial.record
        if record is not None and denial.reason.code in EXPLAINED and self.opening is not None and request is not None:
            judged_by = self.plane.engine.policy_of(self.opening.path)
            self.reasons = reasons_of(judged_by, self.opening.path, request.method, denial, record.grants)
        answer = render(
            denial,
            self.request_id,
            close=not self._keep,
            head=request is not None and request.method == "HEAD",
            http10=request is not None and request.http10,
            form=self.plane.settings.errors,
            further=self._expiry(denial.record),
            reasons=self.reasons,
        )
        self._down = []
        self.client.write(answer)
        self._end()

    def _expiry(self, record: LiveRecord | None) -> bytes:
        """The line that tells of a token's end in its last days, b"" before."""
        soon = record is not None and 0 < record.expires_at - self.plane.engine.store_ms <= SOON_MS
        return expiry_line(record.expires_at) if record is not None and soon else b""

    def _may_keep(self, request: GatewayRequest) -> bool:
        """Whether the connection outlives this answer. After a refused upgrade, or a 100 that never came, what comes next may be
        no request."""
        unsent = request.expects and not self._body_done
        return request.keep_alive and not request.websocket and not unsent and self.client.may_keep()

    def _cut(self, code: str) -> None:
        """Break the answer off, so that the client can see that it is not whole: without its last chunk or its last bytes,
        or, where only the end of the connection tells the end, by a reset."""
        self.code = code
        self._drop_connection()
        self._close_books()
        if self.client.write_full or (self._framing is not None and self._framing.until_close):
            self.client.abort()
        else:
            self.client.close()

    def _drop_connection(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abandon()

    def _end(self) -> None:
        self._close_books()
        self.client.done(self, keep=self._keep)

    def _close_books(self) -> None:
        if self._over:
            return
        self._over = True
        if self._live:
            self.plane.live.discard(self)
        if self._framing is not None:
            self.bytes_out = self._framing.body_bytes
        elif self.tunnel is not None:
            self.bytes_in, self.bytes_out = self.tunnel.bytes_in, self.tunnel.bytes_out
        self.plane.account(self)

    def _request(self) -> GatewayRequest:
        assert self.request is not None  # noqa: S101 - a broken message is only refused
        return self.request
