"""Bytes of a request head -> method, target, field lines: the seam behind which the parser can be changed.

llhttp (by httptools, strict) judges one whole head at a time: where a message ends is found by us, so no parser ever sees the bytes of two
messages. What llhttp has found good is plain to read: one field a line, nothing folded, no bare CR or LF, no control characters; so its lines are
just split, which costs a fraction of a call for each. A body has a parser of its own.
"""

from __future__ import annotations

import re
from typing import Final

import httptools
import msgspec

from gateway.settings import LimitSettings


class HeadFault(Exception):
    """The message itself is refused. ``code`` is a reason's code; the connection closes after the answer."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


class ParsedHead(msgspec.Struct, frozen=True, gc=False):
    """A head as sent: nothing decoded, nothing merged. ``lines`` are its fields, ``Name: value`` each, or ``Name:value``.
    ``whole``: to llhttp no body follows."""

    method: str
    target: str
    lines: list[bytes]
    http10: bool
    whole: bool


class RequestParser:
    """One connection's parser. ``head`` takes a whole head, up to its empty line; ``chunk`` pieces of a chunked body."""

    def __init__(self, limits: LimitSettings) -> None:
        self._limits = limits
        self._line = b""  # the beginning of a chunk-size line or trailer that is not whole yet
        self._left = 0
        self._last = False  # the last chunk has been seen: trailers follow
        self._raw = self._body = 0
        self._pieces: list[bytes] = []
        self._complete = False
        self._parser = httptools.HttpRequestParser(self)
        self._body_parser: httptools.HttpRequestParser | None = None

    # -- httptools' callbacks

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        self._complete = True

    # -- what the connection asks

    def head(self, data: bytes) -> ParsedHead:
        """Judge and split one head; HeadFault says what is wrong with it."""
        line, *lines = data[:-4].split(b"\r\n")
        words = line.split(b" ")  # llhttp takes more blanks than RFC 9112 section 3 has
        if len(words) != 3 or words[2] not in _VERSIONS:
            check_request_line(line)
            raise classify(line)
        if len(lines) > self._limits.headers:
            raise HeadFault("headers_too_large", f"A request may have {self._limits.headers} fields.")
        find = data.find  # costs half of what "in" does
        if find(b" \r\n") >= 0 or find(b":  ") >= 0 or find(b"\t") >= 0:
            lines = [_without_blanks(line) for line in lines]
        self._complete = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._parser = httptools.HttpRequestParser(self)
        except Exception:  # noqa: BLE001 - whatever it is, its text may quote the credential
            self._parser = httptools.HttpRequestParser(self)
            raise classify(data) from None
        method, target = words[0].decode("ascii"), words[1].decode("ascii")  # both are ASCII to llhttp
        return ParsedHead(method, target, lines, words[2] == b"HTTP/1.0", self._complete)

    def skip_body(self) -> None:
        """The body is over, or its length is known and its bytes are not for the parser."""
        self._parser = httptools.HttpRequestParser(self)
        self._body_parser = None
        self._line, self._left, self._last = b"", 0, False
        self._raw = self._body = 0

    def chunk(self, data: bytes) -> tuple[bytes, int]:
        """(body bytes, where the message ended in ``data``, 0 if it did not) of a piece of a chunked body.

        The framing is followed only to find the message's end, so that the parser never reads beyond it; what it says is the parser's to
        judge, and where the two differ the message is refused.
        """
        upto, ended = self._end_of_message(data)
        self._complete = False
        try:
            if self._body_parser is None:
                self._body_parser = httptools.HttpRequestParser(self)
                self._body_parser.feed_data(_BODY_FOLLOWS)
            self._body_parser.feed_data(data[:upto])
        except Exception:  # noqa: BLE001 - as in head
            raise _BAD_CHUNKS from None
        pieces, self._pieces = self._pieces, []
        body = b"".join(pieces)
        self._raw += upto
        self._body += len(body)
        # Chunk extensions and crumbs cost us more than their sender: RFC 9112 section 7.1.1 asks for a limit.
        if self._complete is not ended or self._raw - self._body > _FRAMING_FREE + 16 * self._body:
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


_FIRST_BYTES: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_VERSIONS: Final = frozenset({b"HTTP/1.1", b"HTTP/1.0"})
_BODY_FOLLOWS: Final = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
# Each would be read as another message by some other parser.
_BROKEN: Final = (
    b"x : v\r\n",
    b"x: v\n",
    b"x: v\r\n w\r\n",
    b"x: v\0\r\n",
    b"x: v\ry: w\r\n",
    b"Content-Length: 0\r\nContent-Length: 0\r\n",
    b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
    b"Content-Length: +0\r\n",
)
_BAD_CHUNKS: Final = HeadFault("request_invalid", "The chunked body is not well formed.")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?\r\n\Z")
_FRAMING_FREE: Final = 64 * 1024
_VERSION: Final = re.compile(rb"HTTP/(\d+)(?:\.(\d+))?\Z")
_CODING: Final = re.compile(rb"(?im)^transfer-encoding:[ \t]*([^\r\n]*?)[ \t]*\r?$")
_LENGTH: Final = re.compile(rb"(?im)^content-length[ \t]*:")
_METHOD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


def _without_blanks(line: bytes) -> bytes:
    """A field line without the blanks round its value, which mean nothing (RFC 9110 section 5.5)."""
    name, colon, value = line.partition(b":")
    return name + colon + b" " + value.strip(b" \t")


def is_whole(data: bytes, end: int, limits: LimitSettings) -> bool:
    """Whether a head that is long, or not whole yet, is whole; ``end`` is where it ends, below 4 where that has not come. HeadFault: it is too long,
    or what has come of it is wrong already."""
    line_end = data.find(b"\r\n", 0, limits.request_line + 2)
    if line_end < 0:
        if data[0] not in _FIRST_BYTES:
            raise HeadFault("request_invalid", "This is not HTTP.")
        if len(data) > limits.request_line:
            raise HeadFault("uri_too_long", f"The request line may be {limits.request_line} bytes long.")
    if max(end, len(data) if end < 4 else 0) > limits.head:
        raise HeadFault("headers_too_large", f"The request head may be {limits.head} bytes long.")
    if end >= 4:
        return True
    if line_end >= 0:
        line = data[:line_end]
        if not line.endswith((b" HTTP/1.1", b" HTTP/1.0")):
            check_request_line(line)
        if line.count(b" ") > 2:
            raise classify(line)
    if b"\n\n" in data or b"\n\r\n" in data[max(0, line_end + 2) :]:
        raise HeadFault("request_invalid", "Lines end with CR LF.")
    return False


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


def check_parser(limits: LimitSettings) -> str | None:
    """Why this process must not serve: a parser that takes what two parties could read differently. None if all is well."""
    line = b"GET / HTTP/1.1\r\nHost: a\r\n"
    for broken in (*(line + bad + b"\r\n" for bad in _BROKEN), line + b"".join(b"X-%d: v\r\n" % n for n in range(limits.headers)) + b"\r\n"):
        try:
            RequestParser(limits).head(broken)
        except HeadFault:
            continue
        return "httptools takes a request that is not valid HTTP/1.1 on this machine: install the pinned version"
    return None
