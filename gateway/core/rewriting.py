"""The upstream's absolute addresses in JSON bodies -> ours, in a stream, without parsing or holding the body.

A JSON string that begins with the upstream's address, followed by / ? # or its end, begins with the public address instead.
Every other byte passes as it came. In valid JSON an opening quote never follows a backslash, so a quote that does is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gateway.core.forwarding import CACHE_CONTROL, CONTENT_ENCODING


class BodyRewriter:
    """Rewrites one body. ``upstream`` and ``public`` are scheme, host and port, without a final slash."""

    __slots__ = ("_carry", "_last", "_needles", "_pattern", "_replacements")

    def __init__(self, upstream: bytes, public: bytes) -> None:
        escaped = upstream.replace(b"/", b"\\/")
        self._needles = (b'"' + upstream, b'"' + escaped)
        self._replacements = {upstream: public, escaped: public.replace(b"/", b"\\/")}
        self._pattern = re.compile(rb'(?<!\\)"(' + re.escape(escaped) + b"|" + re.escape(upstream) + rb')(?=[/?#"]|\\/)')
        self._carry = b""
        self._last = b""  # the byte before the carry, already passed on

    def feed(self, data: bytes) -> bytes:
        """What may be passed on after ``data``; at most the address's length is held back."""
        text = self._carry + data
        held = self._held(text)
        return self._pass(text, len(text) - held)

    def end(self) -> bytes:
        """What was held back."""
        return self._pass(self._carry, len(self._carry))

    def _pass(self, text: bytes, upto: int) -> bytes:
        self._carry = text[upto:]
        if not upto:
            return b""
        before = self._last
        self._last = text[upto - 1 : upto]
        # The carry is shown to the pattern as context only: a match that ends where it begins needs its terminator.
        out = self._pattern.sub(lambda match: b'"' + self._replacements[match[1]], before + text[:upto] + self._carry)
        return out[len(before) : len(out) - len(self._carry)]

    def _held(self, text: bytes) -> int:
        """The length of the longest ending of ``text`` that may be the beginning of a match."""
        longest = max(map(len, self._needles)) + 1
        start = text.rfind(b'"', max(0, len(text) - longest))
        if start < 0:
            return 0
        tail = text[start:]
        for needle in self._needles:
            if needle.startswith(tail) or tail in {needle, needle + b"\\"}:
                return len(tail)
        return 0


def is_rewritable(status: int, media: bytes, special: Iterable[tuple[int, bytes, bytes]]) -> bool:
    """Whether a body is JSON that may be changed: not a part (206), not coded, not marked no-transform (RFC 9111 section 5.2.2.6).
    ``media`` is the content type in small letters, without parameters. A 304 tells none and is taken for JSON."""
    for kind, _, value in special:
        if kind == CONTENT_ENCODING or (kind == CACHE_CONTROL and b"no-transform" in value.lower()):
            return False
    return status != 206 and (media == b"application/json" or media.endswith(b"+json") or (status == 304 and not media))
