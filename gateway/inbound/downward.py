"""The head that comes back: the upstream's status and end-to-end fields, our own framing."""

from __future__ import annotations

from typing import Final

from gateway.core.forwarding import (
    AUTHENTICATE,
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
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
from gateway.upstream.exchange import NAMES, AnswerHead

_PASSED: Final = frozenset({KEEP, LENGTH_BOUND, LOCATION, CONTENT_TYPE, CONTENT_ENCODING, CACHE_CONTROL, AUTHENTICATE})
_OPTION_NAMES: Final = frozenset({b"close", b"keep-alive", b"upgrade", b"te"})


def passed_lines(fields: RawFields, options: frozenset[bytes] = frozenset()) -> list[bytes]:
    """The lines that pass of fields that carry no framing: interim answers, trailers, the answer to an upgrade."""
    named = {fold(option) for option in options}
    return [
        part for name, value in fields if NAMES[name] in _PASSED and NAMES[name] != LENGTH_BOUND and fold(name) not in named
        for part in (name, b": ", value, b"\r\n")
    ]


class AnswerFraming:
    """How one answer is framed for its client. ``lines`` is its head, to be joined; ``chunked``: pieces of the body go as chunks;
    ``until_close``: the body ends with the connection; ``rewriter`` changes the body's addresses, None where it passes as it is."""

    __slots__ = ("chunked", "lines", "rewriter", "until_close")

    def __init__(self, head: AnswerHead, request: GatewayRequest, upstream: UpstreamRoute, request_id: str) -> None:
        rewritten = upstream.rewrites and is_rewritable(head.status, head.fields, NAMES)
        self.rewriter: BodyRewriter | None = None
        if rewritten and not head.bodyless:
            self.rewriter = BodyRewriter(upstream.settings.url.encode("ascii"), upstream.public)
        lines = [b"HTTP/1.1 %d " % head.status, head.reason, b"\r\n"]
        extra = head.options - _OPTION_NAMES
        named = {fold(option) for option in extra} if extra else ()
        tells_length = not rewritten and head.status != 204 and not head.chunked  # noqa: PLR2004
        for name, value in head.fields:
            kind = NAMES[name]
            if kind == KEEP:
                pass
            elif kind == CONTENT_LENGTH:
                if not tells_length:
                    continue
            elif kind == LOCATION:
                if upstream.rewrites:
                    value = rewrite_address(value, upstream.settings.url.encode("ascii"), upstream.public)  # noqa: PLW2901
            elif kind not in _PASSED or (rewritten and kind == LENGTH_BOUND):
                continue
            if named and kind != CONTENT_LENGTH and fold(name) in named:
                continue
            lines += (name, b": ", value, b"\r\n")
        lines += (b"X-Request-Id: ", request_id.encode("ascii"), b"\r\n")
        bare = head.length is None or rewritten
        self.chunked = bare and not head.bodyless and not request.http10
        self.until_close = bare and not head.bodyless and request.http10
        if self.chunked:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        self.lines = lines
