"""Which fields go up and which come back (RFC 9110 sections 7.6.1 and 7.6.3): one table, read once a field.

Names are compared folded: no case, and every character that is no letter or digit taken as a hyphen, because CGI, WSGI and PHP
upstreams fold them so. What Connection names goes first; then what is ours, or a claim that only a trusted proxy may make.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

RawFields = Sequence[tuple[bytes, bytes]]

# What a name means for a request. KEEP must be 0: the hot loop asks "is it anything but that?".
KEEP: Final = 0
DROP: Final = 1
AUTHORIZATION: Final = 2
CONNECTION: Final = 3
CONTENT_LENGTH: Final = 4
TRANSFER_ENCODING: Final = 5
HOST: Final = 6
UPGRADE: Final = 7
EXPECT: Final = 8
TE: Final = 9
REQUEST_ID: Final = 10
CLAIM: Final = 11  # of a proxy in front: believed from trusted peers only
CODING: Final = 12  # asks for a part or a coding of the answer: dropped where bodies are rewritten
CREDENTIAL: Final = 13  # the name of a field in which some upstream gets the operator's credential

_OTHER: Final = re.compile(rb"[^0-9a-z]")
_HOP: Final = frozenset({b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"trailer", b"http2-settings"})
_OVERRIDES: Final = frozenset({b"x-http-method-override", b"x-http-method", b"x-method-override", b"proxy"})
_CLAIMS: Final = frozenset({b"forwarded", b"x-real-ip", b"true-client-ip", b"x-rewrite-url"})
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding", b"host"})
_EXACT: Final = {
    b"authorization": AUTHORIZATION,
    b"connection": CONNECTION,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"host": HOST,
    b"upgrade": UPGRADE,
    b"expect": EXPECT,
    b"te": TE,
    b"x-request-id": REQUEST_ID,
    b"accept-encoding": CODING,
    b"range": CODING,
    b"if-range": CODING,
}
_TABLE_SIZE: Final = 4096


def fold(name: bytes) -> bytes:
    """A field name as a CGI-like upstream may read it."""
    return _OTHER.sub(b"-", name.lower())


class RequestNames(dict[bytes, int]):
    """Field name as sent -> what it means. Each spelling is judged once; a stranger's many names can't fill the table."""

    def __init__(self, credential_fields: Iterable[str] = ()) -> None:
        super().__init__()
        self._credentials = frozenset(fold(name.encode()) for name in credential_fields) - {b"authorization"}

    def __missing__(self, name: bytes) -> int:
        verdict = self._judge(name)
        if len(self) < _TABLE_SIZE:
            self[name] = verdict
        return verdict

    def _judge(self, name: bytes) -> int:
        exact, folded = name.lower(), fold(name)
        if folded in _EXACT and exact != folded:
            return DROP if _EXACT[folded] != CODING else CODING
        if folded.startswith(b"x-scopegate") or folded in _HOP or folded in _OVERRIDES:
            return DROP
        if folded in self._credentials:
            return CREDENTIAL
        if folded in _CLAIMS or folded.startswith((b"x-forwarded", b"x-original")):
            return CLAIM
        return _EXACT.get(exact, KEEP)


# What a name means for an answer.
LOCATION: Final = 20  # holds an address: rewritten where the upstream's addresses are
LENGTH_BOUND: Final = 21  # true only of the bytes as the upstream sent them
CONTENT_TYPE: Final = 22
CONTENT_ENCODING: Final = 23
CACHE_CONTROL: Final = 24
AUTHENTICATE: Final = 25
KEEP_ALIVE: Final = 26

_ANSWER: Final = {
    b"connection": CONNECTION,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"keep-alive": KEEP_ALIVE,
    b"upgrade": UPGRADE,
    b"te": DROP,
    b"x-request-id": DROP,
    b"location": LOCATION,
    b"content-location": LOCATION,
    b"link": LOCATION,
    b"accept-ranges": LENGTH_BOUND,
    b"content-md5": LENGTH_BOUND,
    b"digest": LENGTH_BOUND,
    b"content-digest": LENGTH_BOUND,
    b"repr-digest": LENGTH_BOUND,
    b"content-type": CONTENT_TYPE,
    b"content-encoding": CONTENT_ENCODING,
    b"cache-control": CACHE_CONTROL,
    b"www-authenticate": AUTHENTICATE,
}


class AnswerNames(dict[bytes, int]):
    """Field name of an answer -> what it means; bounded like RequestNames."""

    def __missing__(self, name: bytes) -> int:
        exact, folded = name.lower(), fold(name)
        verdict = DROP if folded.startswith(b"x-scopegate") or folded in _HOP - {b"keep-alive"} else _ANSWER.get(exact, KEEP)
        if folded in _FRAMING and exact != folded:
            verdict = DROP
        if len(self) < _TABLE_SIZE:
            self[name] = verdict
        return verdict


def connection_options(values: Iterable[bytes]) -> frozenset[bytes]:
    """The options of all Connection fields, in small letters."""
    return frozenset(option.strip(b" \t").lower() for value in values for option in value.split(b",")) - {b""}


_SAFE_ID: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_.:+/=@-]{0,127}\Z")


def safe_request_id(value: bytes) -> bool:
    """Whether a client's X-Request-Id may be kept: short, and nothing in it that a log or a shell could trip over."""
    return _SAFE_ID.match(value) is not None


_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+=-]|%[0-9A-Fa-f]{2})+)(?::[0-9]{0,5})?\Z")


def valid_host(value: bytes) -> bool:
    """Whether a Host value is a host with an optional port (RFC 9110 section 7.2, RFC 3986 section 3.2.2)."""
    return _HOST.match(value) is not None


def identity_block(owner: str, token_id: str, grants: str) -> bytes:
    """The fields that tell the upstream on whose behalf a request comes; non-ASCII of an owner goes percent-encoded."""
    return f"X-Scopegate-Subject: {header_text(owner)}\r\nX-Scopegate-Token-Id: {token_id}\r\nX-Scopegate-Grants: {grants}\r\n".encode("ascii")


def header_text(text: str) -> str:
    """Text as a field value: printable ASCII but the percent sign stays, every other byte of its UTF-8 is percent-encoded."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F and byte != 0x25 else f"%{byte:02X}" for byte in text.encode("utf-8"))


def rewrite_address(value: bytes, upstream: bytes, public: bytes) -> bytes:
    """A Location, Content-Location or Link value with each address that begins with the upstream's begun with ours.

    ``upstream`` and ``public`` are scheme, host and port without a final slash.
    """
    out, rest = [], value
    while True:
        before, found, after = rest.partition(upstream)
        out.append(before)
        if not found:
            return b"".join(out)
        starts = (before == b"" and len(out) == 1) or before.endswith((b"<", b" ", b",", b"\t"))
        ends = after[:1] in (b"", b"/", b"?", b"#", b">")
        out.append(public if starts and ends else found)
        rest = after
