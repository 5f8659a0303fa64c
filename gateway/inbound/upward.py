"""The head that goes up: written anew from parsed parts, nothing of the client's framing copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.core.client_address import Address, Network, is_trusted
from gateway.core.forwarding import CLAIM, CODING, CREDENTIAL, fold, identity_block
from gateway.core.path import CanonicalPath
from gateway.core.token_record import LiveRecord
from gateway.core.token_text import may_hold_token
from gateway.inbound.request import GatewayRequest
from gateway.settings import UpstreamSettings
from gateway.upstream.pool import UpstreamPool

VIA: Final = b"Via: 1.1 scopegate\r\n"
_LENGTH_TOLD: Final = frozenset({"POST", "PUT", "PATCH"})  # without a body their length is told all the same, 0
_BLOCKS: Final = 10_000
_REPLACED: Final = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"})


class UpstreamRoute:
    """An upstream with the parts of a head that are the same for every request to it."""

    __slots__ = (
        "credential_field",
        "credentials",
        "host",
        "identifies",
        "idle_timeout_s",
        "name",
        "ours",
        "pool",
        "preserves_host",
        "public",
        "response_timeout_s",
        "rewrites",
        "settings",
        "url",
    )

    def __init__(self, settings: UpstreamSettings, pool: UpstreamPool, public_url: str) -> None:
        self.settings = settings
        self.name = settings.name
        self.response_timeout_s = settings.response_timeout_s
        self.idle_timeout_s = settings.idle_timeout_s
        self.preserves_host = settings.preserve_host
        self.pool = pool
        self.rewrites = settings.rewrite_urls
        self.url = settings.url.encode("ascii")
        self.public = public_url.encode("ascii")
        self.identifies = settings.identity == "headers"
        host = settings.url.partition("://")[2]
        self.host = f"\r\nHost: {host}".encode("ascii")
        self.credentials = b""
        self.credential_field = b""
        if settings.credentials:
            self.credentials = f"{settings.credentials.header}: {settings.credentials.value.reveal()}\r\n".encode("latin-1")
            self.credential_field = fold(settings.credentials.header.encode("ascii"))
        # What every head to it ends with.
        self.ours = self.credentials + (b"Accept-Encoding: identity\r\n" if self.rewrites else b"") + b"\r\n"

    def __repr__(self) -> str:
        return f"UpstreamRoute({self.settings.name!r})"


def forwarded_block(peer: Address, host: bytes, request: GatewayRequest, trusted: Sequence[Network]) -> bytes:
    """X-Forwarded-For, -Proto and -Host. All are replaced, unless the peer is a trusted proxy: then For is appended to, the others kept."""
    before, proto, shown = [], b"http", host
    if trusted and is_trusted(peer, trusted):
        for _, name, value in request.conditional:
            name = fold(name)  # noqa: PLW2901
            if name == b"x-forwarded-for":
                before.append(value)
            elif name == b"x-forwarded-proto":
                proto = value
            elif name == b"x-forwarded-host":
                shown = value
    chain = b", ".join([*before, str(peer).encode("ascii")])
    return b"X-Forwarded-For: " + chain + b"\r\nX-Forwarded-Proto: " + proto + b"\r\n" + (b"X-Forwarded-Host: " + shown + b"\r\n" if shown else b"") + VIA


class IdentityBlocks(dict[str, tuple[LiveRecord, bytes]]):
    """Token id -> its record's X-Scopegate lines, made once a record; bounded, and emptied when full."""

    def of(self, record: LiveRecord) -> bytes:
        """The lines that tell the upstream on whose behalf a request comes."""
        known = self.get(record.id)
        if known is not None and known[0] is record:
            return known[1]
        if len(self) >= _BLOCKS:
            self.clear()
        block = identity_block(record.owner, record.id, record.grants.text)
        self[record.id] = (record, block)
        return block


def own_authorization(request: GatewayRequest, upstream: UpstreamRoute, token_prefix: str) -> bytes:
    """The client's Authorization line, for a route that only reports: one for the upstream, not for us. Nothing of it goes up where it may hold a token of
    ours (G7), or where the upstream has credentials."""
    if upstream.credentials or request.hop_authorization or len(request.authorizations) != 1:
        return b""
    (value,) = request.authorizations
    return b"" if may_hold_token(value.decode("latin-1"), token_prefix) else b"Authorization: " + value + b"\r\n"


def request_head(
    request: GatewayRequest, upstream: UpstreamRoute, path: CanonicalPath, forwarded: bytes, id_line: bytes, identity: bytes, *, peer_trusted: bool
) -> bytes:
    """The whole head. ``forwarded``, ``id_line`` (without its CR LF) and ``identity`` are lines that we add."""
    line = f"{request.method} {path.path}{path.query} HTTP/1.1".encode("ascii")
    host = b"\r\nHost: " + request.host if upstream.preserves_host and request.host else upstream.host
    lines = [line + host, *request.kept]
    for kind, name, value in request.conditional:
        if kind == CODING:
            passes = not upstream.rewrites
        elif kind == CLAIM:
            passes = peer_trusted and fold(name) not in _REPLACED
        else:
            passes = kind == CREDENTIAL and fold(name) != upstream.credential_field
        if passes:
            lines.append(name + b": " + value)
    if request.websocket:
        lines.append(b"Connection: Upgrade\r\nUpgrade: websocket")
    elif request.takes_trailers:
        lines.append(b"Connection: TE\r\nTE: trailers")
    if request.chunked:
        lines.append(b"Transfer-Encoding: chunked")
    elif request.length or request.method in _LENGTH_TOLD:
        lines.append(b"Content-Length: %d" % request.length)
    if request.expects and request.has_body:
        lines.append(b"Expect: 100-continue")
    lines += (id_line, forwarded)
    return b"\r\n".join(lines) + identity + upstream.ours
