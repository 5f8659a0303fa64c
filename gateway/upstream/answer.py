"""An answer's head as it is told to who waits for it, and the parts of reading it that need no connection."""

from __future__ import annotations

import re
from typing import Final, Protocol

import msgspec

from gateway.core.forwarding import AnswerNames, fold
from gateway.upstream.failures import UpstreamFailure

NAMES: Final = AnswerNames()
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?\Z")
_STATUS_LINES_LIMIT: Final = 256


class AnswerRefused(Exception):
    """The upstream's answer is not valid, or not one that can be passed on."""


class AnswerHead(msgspec.Struct, frozen=True, gc=False):
    """The head of a final answer. ``line`` is its status line; ``kept`` are the field lines that pass in any case, ``special`` (kind, name, value)
    the fields that mean something to a proxy, framing apart. ``media`` is the content type, in small letters, without parameters; "" where none is
    told. ``length`` is None where the length is not told; ``chunked``; ``bodyless``: no body follows, whatever the fields say."""

    status: int
    line: bytes
    kept: list[bytes]
    special: list[tuple[int, bytes, bytes]]
    media: bytes
    length: int | None
    chunked: bool
    bodyless: bool


class AnswerSink(Protocol):
    """Who is told the answer. Within one read ``flush`` comes last; nothing is called after an end or a failure."""

    def on_interim(self, status: int, fields: list[tuple[bytes, bytes]]) -> None: ...
    def on_answer(self, head: AnswerHead) -> None: ...
    def on_body(self, data: bytes) -> None: ...
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


class MediaTypes(dict[bytes, bytes]):
    """A Content-Type value -> its media type, in small letters, without parameters. An upstream has few: each is cut once."""

    def __missing__(self, value: bytes) -> bytes:
        media = value.partition(b";")[0].rstrip(b" \t").lower()
        if len(self) < _MEDIA_TYPES_LIMIT and len(value) <= _MEDIA_TYPE_LENGTH:
            self[value] = media
        return media


_MEDIA_TYPES_LIMIT: Final = 256
_MEDIA_TYPE_LENGTH: Final = 128
MEDIA: Final = MediaTypes()


def split_field(line: bytes) -> tuple[bytes, bytes]:
    """Name and value of a field line that llhttp has found good."""
    name, _, value = line.partition(b":")
    return name, value.strip(b" \t")


def without(kept: list[bytes], special: list[tuple[int, bytes, bytes]], options: frozenset[bytes]) -> tuple[list[bytes], list[tuple[int, bytes, bytes]]]:
    """Lines and fields without those that Connection names (RFC 9110 section 7.6.1), in any spelling."""
    named = {fold(option) for option in options}
    return [line for line in kept if fold(split_field(line)[0]) not in named], [field for field in special if fold(field[1]) not in named]
