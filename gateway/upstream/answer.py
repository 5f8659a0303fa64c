"""An answer's head as it is told to who waits for it, and the parts of reading it that need no connection."""

from __future__ import annotations

import re
from typing import Final, Protocol

import msgspec

from gateway.core.forwarding import (
    AUTHENTICATE,
    CONNECTION,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    KEEP_ALIVE,
    TRANSFER_ENCODING,
    AnswerNames,
    connection_options,
    fold,
)
from gateway.upstream.failures import UpstreamFailure

NAMES: Final = AnswerNames()
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?\Z")
_STATUS_LINES_LIMIT: Final = 256


class AnswerRefused(Exception):
    """The upstream's answer is not valid, or not one that can be passed on."""


class AnswerHead(msgspec.Struct, frozen=True, gc=False):
    """The head of a final answer. ``line`` is its status line; ``kept`` are the field lines that pass in any case, ``special`` (kind, name, value)
    the fields that mean something to a proxy, framing apart. ``media`` is the content type, in small letters, without parameters; "" where none is
    told. ``length`` is None where the length is not told; ``chunked``; ``bodyless``: no body follows, whatever the fields say. ``plain``: the body is
    so many bytes, and nothing is said of the connection but that it stays. ``shared``: the connection may serve others too; ``keep_alive`` is that
    field's value."""

    status: int
    line: bytes
    kept: list[bytes]
    special: list[tuple[int, bytes, bytes]]
    media: bytes
    length: int | None
    chunked: bool
    bodyless: bool
    plain: bool = False
    shared: bool = True
    keep_alive: bytes = b""


class AnswerSink(Protocol):
    """Who is told the answer. Within one read ``flush`` comes last; nothing is called after an end or a failure."""

    def on_interim(self, status: int, fields: list[tuple[bytes, bytes]]) -> None: ...
    def on_answer(self, head: AnswerHead) -> None: ...
    def on_body(self, data: bytes | memoryview) -> None: ...
    def on_answer_end(self, trailers: list[tuple[bytes, bytes]]) -> None: ...
    def on_switch(self, fields: list[tuple[bytes, bytes]], early: bytes) -> None: ...
    def on_failure(self, failure: UpstreamFailure) -> None: ...
    def on_upstream_full(self) -> None: ...
    def on_upstream_drained(self) -> None: ...
    def flush(self) -> None: ...


class TunnelSink(Protocol):
    """Who is told what an upstream sends once it has switched to another protocol."""

    def on_tunnel(self, data: bytes) -> None: ...
    def on_tunnel_full(self) -> None: ...
    def on_tunnel_drained(self) -> None: ...
    def on_tunnel_closed(self) -> None: ...


class StatusLines(dict[bytes, tuple[int, bool, bytes]]):
    """A status line as sent -> (status, whether it is HTTP/1.0, the line as we send it). An upstream has few: each is judged once."""

    def __missing__(self, line: bytes) -> tuple[int, bool, bytes]:
        match = _STATUS_LINE.match(line)
        if match is None:
            raise AnswerRefused
        minor, status, reason = match.groups(b"")
        judged = (int(status), minor == b"0", b"HTTP/1.1 %b %b" % (status, reason))
        if len(self) < _STATUS_LINES_LIMIT:
            self[line] = judged
        return judged


STATUS: Final = StatusLines()


class FieldLines(dict[bytes, tuple[int, bytes, bytes]]):
    """A field line as sent -> (kind, name, value), of Content-Type only the media type, in small letters. AnswerRefused where it is none (RFC 9112
    section 5). An upstream repeats most of its lines: each is read once, and those that never come again are forgotten with all others."""

    def __missing__(self, line: bytes) -> tuple[int, bytes, bytes]:
        match = _FIELD_LINE.match(line)
        if match is None:
            raise AnswerRefused
        name, value = match.groups()
        kind, value = NAMES[name], value.rstrip(b" \t")
        if kind == CONTENT_TYPE:
            value = value.partition(b";")[0].rstrip(b" \t").lower()
        if len(line) <= _FIELD_LINE_LENGTH:
            if len(self) >= _FIELD_LINES_LIMIT:
                self.clear()
            self[line] = (kind, name, value)
        return kind, name, value


_FIELD_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*)\Z")
_FIELD_LINES_LIMIT: Final = 1024
_FIELD_LINE_LENGTH: Final = 256
_LONGEST_LENGTH: Final = 18  # digits
_PLAIN_OPTIONS: Final = frozenset({b"keep-alive", b"close", b"upgrade", b"te"})
_LINES: Final = FieldLines()


def read_head(text: bytes, *, to_head: bool) -> AnswerHead:
    """A head, without the empty line at its end; of an interim answer too. ``to_head``: it answers a HEAD. AnswerRefused where it is not valid."""
    first, *lines = text.split(b"\r\n")
    status, http10, first = STATUS[first]
    length: int | None = None
    chunked = False
    shared = True
    media = keep_alive = b""
    options: frozenset[bytes] = frozenset()
    kept: list[bytes] = []
    keep = kept.append
    special: list[tuple[int, bytes, bytes]] = []
    known = _LINES
    for line in lines:
        field = known[line]
        kind = field[0]
        if not kind:  # KEEP
            keep(line)
        elif kind == CONTENT_TYPE:
            keep(line)
            media = field[2]
        elif kind == CONTENT_LENGTH:
            value = field[2]
            if length is not None or not value.isdigit() or len(value) > _LONGEST_LENGTH:
                raise AnswerRefused
            length = int(value)
        elif kind == CONNECTION:
            if field[2] != b"keep-alive":
                options |= connection_options((field[2],))
        elif kind == TRANSFER_ENCODING:
            if chunked or field[2].lower() != b"chunked":
                raise AnswerRefused
            chunked = True
        elif kind == KEEP_ALIVE:
            keep_alive = field[2]
        else:
            special.append(field)
            if kind == AUTHENTICATE and field[2].lower().startswith((b"ntlm", b"negotiate")):
                shared = False  # who logs in so logs the connection in: it must serve nobody else
    if chunked and (http10 or length is not None):
        raise AnswerRefused
    if options and options - _PLAIN_OPTIONS:
        kept, special = without(kept, special, options)
    bodyless = to_head or status in _BODYLESS or status < 200
    plain = length is not None and not (bodyless or options or http10)
    return AnswerHead(status, first, kept, special, media, length, chunked, bodyless, plain, shared, keep_alive)


_BODYLESS: Final = frozenset({204, 304})


def split_field(line: bytes) -> tuple[bytes, bytes]:
    """Name and value of a field line that llhttp has found good."""
    name, _, value = line.partition(b":")
    return name, value.strip(b" \t")


def without(kept: list[bytes], special: list[tuple[int, bytes, bytes]], options: frozenset[bytes]) -> tuple[list[bytes], list[tuple[int, bytes, bytes]]]:
    """Lines and fields without those that Connection names (RFC 9110 section 7.6.1), in any spelling."""
    named = {fold(option) for option in options}
    return [line for line in kept if fold(split_field(line)[0]) not in named], [field for field in special if fold(field[1]) not in named]
