"""Bytes of a request head -> method, target, fields: the seam behind which the parser can be changed.

aiohttp's C parser (llhttp, strict) reads one whole head at a time: where a message ends is found by us, so no parser ever sees the
bytes of two messages, and what it remembers (a trailer, an upgrade) can't leak into the next: after a body it is made anew.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final, NamedTuple

from aiohttp import http_parser

from gateway.settings import LimitSettings

_PARSER: Final = getattr(http_parser, "HttpRequestParserC", None)
_BODY_LIMIT: Final = 2**20


class HeadFault(Exception):
    """The message itself is refused. ``code`` is a reason's code; the connection closes after the answer."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


class ParsedHead(NamedTuple):
    """A head as sent: nothing decoded, nothing merged."""

    method: str
    target: str
    fields: tuple[tuple[bytes, bytes], ...]
    keep_alive: bool


class _Flow:
    """What aiohttp's body reader asks of its protocol. We empty the reader after each piece, so it has nothing to hold up."""

    connected = True
    _reading_paused = False

    def pause_reading(self) -> None: ...

    def resume_reading(self, *, resume_parser: bool = True) -> None: ...


class RequestParser:
    """One connection's parser. ``head`` takes a whole head, up to its empty line; ``chunk`` pieces of a chunked body."""

    def __init__(self, limits: LimitSettings, loop: asyncio.AbstractEventLoop) -> None:
        self._limits = limits
        self._loop = loop
        self._payload: Any = None
        self._line = b""  # the beginning of a chunk-size line or trailer that is not whole yet
        self._left = 0
        self._last = False  # the last chunk has been seen: trailers follow
        self._raw = self._body = 0
        self._renew()

    def _renew(self) -> None:
        assert _PARSER is not None  # noqa: S101 - check_parser ran at start-up
        self._parser = _PARSER(
            _Flow(),
            self._loop,
            _BODY_LIMIT,
            max_line_size=self._limits.head,
            max_field_size=self._limits.head,
            max_headers=self._limits.headers,
            auto_decompress=False,
        )

    def head(self, data: bytes) -> ParsedHead:
        """Parse one head; HeadFault says what is wrong with it."""
        try:
            messages, upgraded, _ = self._parser.feed_data(data)
            (message, payload), *more = messages
        except Exception:  # noqa: BLE001 - whatever it is, its text may quote the credential
            self._renew()
            raise classify(data) from None
        if more:
            raise classify(data)
        if upgraded or not payload.is_eof():
            self._payload = payload
        if upgraded:
            self._renew()
        return ParsedHead(message.method, message.path, message.raw_headers, not message.should_close)

    def skip_body(self) -> None:
        """The body is over, or its length is known and its bytes are not for the parser."""
        self._payload = None
        self._line, self._left, self._last = b"", 0, False
        self._raw = self._body = 0
        self._renew()

    def chunk(self, data: bytes) -> tuple[bytes, int]:
        """(body bytes, where the message ended in ``data``, 0 if it did not) of a piece of a chunked body.

        The framing is followed only to find the message's end, so that the parser never reads beyond it; what it says is the parser's to
        judge, and where the two differ the message is refused.
        """
        upto, ended = self._end_of_message(data)
        payload = self._payload
        try:
            messages, _, _ = self._parser.feed_data(data[:upto])
            body: bytes = payload.read_nowait(-1)
        except Exception:  # noqa: BLE001 - as in head
            raise _BAD_CHUNKS from None
        self._raw += upto
        self._body += len(body)
        # Chunk extensions and crumbs cost us more than their sender: RFC 9112 section 7.1.1 asks for a limit.
        if messages or payload.is_eof() is not ended or self._raw - self._body > _FRAMING_FREE + 16 * self._body:
            raise _BAD_CHUNKS
        if ended:
            self.skip_body()
        return body, upto if ended else 0

    def _end_of_message(self, data: bytes) -> tuple[int, bool]:
        """How much of ``data`` belongs to the message, and whether it ends there (RFC 9112 section 7.1)."""
        at = 0
        while at < len(data):
            if self._left:  # of a chunk's data and the line end behind it
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            end = data.find(b"\n", at) + 1
            line = self._line + data[at : end or len(data)]
            if len(line) > _FRAMING_FREE:
                raise _BAD_CHUNKS
            if not end:
                self._line = line
                return len(data), False
            at, self._line = end, b""
            if self._last:
                if line == b"\r\n":
                    return at, True
                continue
            size = _CHUNK_SIZE.match(line)
            if size is None:
                raise _BAD_CHUNKS
            self._left = int(size[1], 16)
            self._last = not self._left
            self._left += 2 if self._left else 0
        return at, False


_BAD_CHUNKS: Final = HeadFault("request_invalid", "The chunked body is not well formed.")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?\r\n\Z")
_FRAMING_FREE: Final = 64 * 1024
_VERSION: Final = re.compile(rb"HTTP/(\d+)(?:\.(\d+))?\Z")
_CODING: Final = re.compile(rb"(?im)^transfer-encoding:[ \t]*([^\r\n]*?)[ \t]*\r?$")
_LENGTH: Final = re.compile(rb"(?im)^content-length[ \t]*:")
_METHOD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


def check_request_line(line: bytes) -> None:
    """HeadFault unless the line ends in HTTP/1.1 or HTTP/1.0. Called for lines that do not end so."""
    method, _, rest = line.partition(b" ")
    version = _VERSION.match(rest.rpartition(b" ")[2]) if _METHOD.match(method) else None
    if version and version[0] not in {b"HTTP/1.0", b"HTTP/1.1"}:
        raise HeadFault("version_unsupported", "Speak HTTP/1.1 or HTTP/1.0.")
    if version is None or b" " not in rest:
        raise HeadFault("request_invalid", "The request line must be METHOD TARGET HTTP/1.1.")


def classify(head: bytes) -> HeadFault:
    """Why the parser refused a head: the most telling reason, never a quote of it."""
    line, _, fields = head.partition(b"\r\n")
    codings = [coding.lower() for coding in _CODING.findall(fields)]
    if codings and not _LENGTH.search(fields) and any(coding != b"chunked" for coding in codings):
        return HeadFault("coding_unsupported", "The only transfer coding taken is chunked.")
    method, _, rest = line.partition(b" ")
    target = rest.rpartition(b" ")[0]
    if method == b"CONNECT":
        return HeadFault("method_not_allowed", "CONNECT is never forwarded.")
    if _METHOD.match(method) and target and (not target.startswith(b"/") or re.search(rb"[^!-\"$-~]", target)):
        return HeadFault("path_ambiguous", "The request target must be a path, in printable ASCII, without a blank or a #.")
    return HeadFault("request_invalid", "The request line or a field is not valid HTTP/1.1.")


def check_parser(limits: LimitSettings, loop: asyncio.AbstractEventLoop) -> str | None:
    """Why this process must not serve: aiohttp without its C parser, or limits that are not in force. None if all is well."""
    if _PARSER is None:
        return "aiohttp runs without its C parser (AIOHTTP_NO_EXTENSIONS is set, or no wheel fits this machine): unset it, or install a wheel"
    line = b"GET / HTTP/1.1\r\nHost: a\r\n"
    for broken in (line + b"".join(b"X-%d: v\r\n" % n for n in range(limits.headers)) + b"\r\n", line + b"X: " + b"v" * (limits.head + 1) + b"\r\n\r\n"):
        try:
            RequestParser(limits, loop).head(broken)
        except HeadFault:
            continue
        return "the limits of the request head are not in force with this version of aiohttp: install the pinned one"
    return None
