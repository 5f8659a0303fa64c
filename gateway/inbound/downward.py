"""The head that comes back: the upstream's status and end-to-end fields, our own framing."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache
from typing import Final

from gateway.core.forwarding import (
    AUTHENTICATE,
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    KEEP,
    LENGTH_BOUND,
    LOCATION,
    RawFields,
    fold,
    rewrite_address,
)
from gateway.core.rewriting import BodyRewriter, is_rewritable
from gateway.inbound.request import GatewayRequest
from gateway.inbound.upward import UpstreamRoute
from gateway.upstream.answer import NAMES, AnswerHead

_PASSED: Final = frozenset({KEEP, LENGTH_BOUND, LOCATION, CONTENT_TYPE, CONTENT_ENCODING, CACHE_CONTROL, AUTHENTICATE})
SOON_MS: Final = 14 * 86_400_000  # before its expiry answers tell of it
_INTERIM_PHRASES: Final = {100: b"Continue", 102: b"Processing", 103: b"Early Hints"}


def passed_lines(fields: RawFields, options: frozenset[bytes] = frozenset()) -> list[bytes]:
    """The lines that pass of fields that carry no framing: interim answers, trailers, the answer to an upgrade."""
    named = {fold(option) for option in options}
    return [
        part
        for name, value in fields
        if NAMES[name] in _PASSED and NAMES[name] != LENGTH_BOUND and fold(name) not in named
        for part in (name, b": ", value, b"\r\n")
    ]


def interim_lines(status: int, fields: RawFields) -> list[bytes]:
    """A 1xx answer (RFC 9110 section 15.2)."""
    return [b"HTTP/1.1 %d %s\r\n" % (status, _INTERIM_PHRASES.get(status, b"Interim")), *passed_lines(fields), b"\r\n"]


def switch_lines(fields: RawFields, id_line: bytes) -> list[bytes]:
    """The 101 that opens a WebSocket (RFC 6455 section 4.2.2), with what the upstream said in it."""
    lines = passed_lines(fields, frozenset({b"upgrade", b"connection"}))
    return [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        id_line,
        b"\r\n",
        *lines,
        b"\r\n",
    ]


@lru_cache(maxsize=1024)
def expiry_line(expires_ms: int) -> bytes:
    """Tells a client, in its token's last 14 days, when the token expires (Unix milliseconds; as RFC 3339 here)."""
    ends = datetime.fromtimestamp(expires_ms // 1000, UTC)
    return f"X-Scopegate-Token-Expires: {ends:%Y-%m-%dT%H:%M:%SZ}".encode("ascii")


def health_answer(*, head: bool, close: bool, http10: bool) -> bytes:
    """The data port's own health, told to anyone: the process answers."""
    option = b"Connection: close\r\n" if close else b"Connection: keep-alive\r\n" if http10 else b""
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nCache-Control: no-store\r\n" + option + b"\r\n" + (b"" if head else b"ok\n")


def own_head(length: int, request_id: str, further: bytes, *, close: bool, http10: bool) -> bytes:
    """The head of an answer in JSON that the gateway makes itself. ``further`` is one more line, or b""."""
    lines = [
        "HTTP/1.1 200 OK",
        f"Date: {formatdate(time.time(), usegmt=True)}",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        "Cache-Control: no-store",
        f"X-Request-Id: {request_id}",
    ]
    if further:
        lines.append(further.decode("ascii"))
    if close:
        lines.append("Connection: close")
    elif http10:
        lines.append("Connection: keep-alive")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


class AnswerFraming:
    """How one answer is framed for its client. ``lines`` is its head, without the line that Connection may need and the empty one, to be joined
    by CR LF; ``chunked``: pieces of the body go as chunks; ``until_close``: the body ends with the connection. ``plain``: pieces of the body go as
    they come. ``body_bytes`` counts the body as the client gets it."""

    __slots__ = ("_rewriter", "body_bytes", "chunked", "event_stream", "lines", "plain", "until_close")

    def __init__(self, head: AnswerHead, request: GatewayRequest, upstream: UpstreamRoute, id_line: bytes) -> None:
        status, special, media, length, bodyless = head.status, head.special, head.media, head.length, head.bodyless
        self.body_bytes = 0
        self.event_stream = media == b"text/event-stream"
        self.chunked = self.until_close = False
        self._rewriter: BodyRewriter | None = None
        rewritten = upstream.rewrites and is_rewritable(status, media, special)
        if rewritten and not bodyless:
            self._rewriter = BodyRewriter(upstream.url, upstream.public)
        lines = self.lines = [head.line, *head.kept]
        for kind, name, value in special:
            if kind == LOCATION:
                if upstream.rewrites:
                    value = rewrite_address(value, upstream.url, upstream.public)  # noqa: PLW2901
            elif kind not in _PASSED or (rewritten and kind == LENGTH_BOUND):
                continue
            lines.append(name + b": " + value)
        if length is not None and not rewritten:
            if status != 204:
                lines.append(b"Content-Length: %d" % length)
        elif not bodyless:
            self.until_close = request.http10
            self.chunked = not request.http10
            if self.chunked:
                lines.append(b"Transfer-Encoding: chunked")
        self.plain = not self.chunked and self._rewriter is None
        lines.append(id_line)

    def piece(self, data: bytes) -> tuple[bytes, ...]:
        """What goes to the client for a piece of the upstream's body."""
        if self._rewriter is not None:
            data = self._rewriter.feed(data)
        return self._framed(data)

    def ending(self, trailers: RawFields) -> list[bytes]:
        """What goes to the client at the end of the body; the trailers pass by the rules of fields."""
        out = [*self._framed(self._rewriter.end())] if self._rewriter is not None else []
        if self.chunked:
            out += (b"0\r\n", *passed_lines(trailers), b"\r\n")
        return out

    def _framed(self, data: bytes) -> tuple[bytes, ...]:
        self.body_bytes += len(data)
        if not self.chunked:
            return (data,)
        return (b"%x\r\n" % len(data), data, b"\r\n") if data else ()
