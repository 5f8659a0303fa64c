"""The head that goes up: written anew from parsed parts, nothing of the client's framing copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.core.client_address import Address, Network, is_trusted
from gateway.core.forwarding import CLAIM, CODING, CREDENTIAL, fold, identity_block
from gateway.core.path import CanonicalPath
from gateway.core.token_record import LiveRecord
from gateway.inbound.request import GatewayRequest
from gateway.settings import UpstreamSettings
from gateway.upstream.pool import UpstreamPool

VIA: Final = b"Via: 1.1 scopegate\r\n"
_REPLACED: Final = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"})


class UpstreamRoute:
    """An upstream with the parts of a head that are the same for every request to it."""

    __slots__ = ("credential_field", "credentials", "fixed", "identifies", "pool", "public", "rewrites", "settings")

    def __init__(self, settings: UpstreamSettings, pool: UpstreamPool, public_url: str) -> None:
        self.settings = settings
        self.pool = pool
        self.rewrites = settings.rewrite_urls
        self.public = public_url.encode("ascii")
        self.identifies = settings.identity == "headers"
        host = settings.url.partition("://")[2]
        self.fixed = f" HTTP/1.1\r\nHost: {host}\r\n".encode("ascii")
        self.credentials = b""
        self.credential_field = b""
        if settings.credentials:
            self.credentials = f"{settings.credentials.header}: {settings.credentials.value.reveal()}\r\n".encode("latin-1")
            self.credential_field = fold(settings.credentials.header.encode("ascii"))

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


def request_head(
    request: GatewayRequest,
    upstream: UpstreamRoute,
    record: LiveRecord | None,
    path: CanonicalPath,
    request_id: str,
    forwarded: bytes,
    *,
    peer_trusted: bool,
) -> list[bytes]:
    """The whole head as pieces to be joined. ``forwarded`` is the block of forwarded_block; ``record`` is None on a public route."""
    host = upstream.fixed
    if upstream.settings.preserve_host and request.host:
        host = b" HTTP/1.1\r\nHost: " + request.host + b"\r\n"
    head = [request.method.encode("ascii"), b" ", (path.path + path.query).encode("ascii"), host, *request.kept]
    for kind, name, value in request.conditional:
        if kind == CLAIM:
            passes = peer_trusted and fold(name) not in _REPLACED
        elif kind == CODING:
            passes = not upstream.rewrites
        else:
            passes = kind == CREDENTIAL and fold(name) != upstream.credential_field
        if passes:
            head += (name, b": ", value, b"\r\n")
    head += (forwarded, b"X-Request-Id: ", request_id.encode("ascii"), b"\r\n")
    if record is not None and upstream.identifies:
        head.append(identity_block(record.owner, record.id, record.grants.text))
    if upstream.credentials:
        head.append(upstream.credentials)
    if upstream.rewrites:
        head.append(b"Accept-Encoding: identity\r\n")
    if request.websocket:
        head.append(b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
    elif request.takes_trailers:
        head.append(b"Connection: TE\r\nTE: trailers\r\n")
    if request.chunked:
        head.append(b"Transfer-Encoding: chunked\r\n")
    elif request.length or request.body_announced:
        head.append(b"Content-Length: %d\r\n" % request.length)
    if request.expects and request.has_body:
        head.append(b"Expect: 100-continue\r\n")
    head.append(b"\r\n")
    return head
