"""A parsed head -> what the gateway decides on and forwards: read in one pass over the fields, by one table of names."""

from __future__ import annotations

import re
from typing import Final

from gateway.core.forwarding import (
    AUTHORIZATION,
    CONNECTION,
    CONTENT_LENGTH,
    DROP,
    EXPECT,
    HOST,
    REQUEST_ID,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    RequestNames,
    connection_options,
    fold,
    valid_host,
)
from gateway.inbound.parser import HeadFault, ParsedHead

_USUAL_OPTIONS: Final = frozenset({b"keep-alive", b"Keep-Alive", b"close"})
_PLAIN_OPTIONS: Final = frozenset({b"keep-alive", b"close", b"upgrade", b"te"})


class GatewayRequest:
    """One request's head. ``kept`` are the lines that go up in any case; ``conditional`` (kind, name, value) those that depend on the
    peer or the upstream. ``length`` is the body's, 0 for none; ``chunked`` bodies tell none."""

    __slots__ = (
        "authorizations",
        "chunked",
        "conditional",
        "expects",
        "host",
        "http10",
        "keep_alive",
        "kept",
        "length",
        "method",
        "request_id",
        "takes_trailers",
        "target",
        "websocket",
    )

    def __init__(self, parsed: ParsedHead, names: RequestNames, *, http10: bool) -> None:
        """HeadFault where the message is not valid HTTP."""
        self.method, self.target, fields, self.keep_alive = parsed
        self.http10 = http10
        self.authorizations: list[bytes] = []
        self.conditional: list[tuple[int, bytes, bytes]] = []
        self.length = 0
        self.chunked = self.expects = self.takes_trailers = self.websocket = False
        self.request_id = b""
        self.host = b""
        kept: list[bytes] = []
        hosts = 0
        connection: list[bytes] = []
        upgrades: list[bytes] = []
        for name, value in fields:
            kind = names[name]
            if kind == 0:
                kept += (name, b": ", value, b"\r\n")
            elif kind == AUTHORIZATION:
                self.authorizations.append(value)
            elif kind == HOST:
                hosts += 1
                self.host = value
            elif kind == CONNECTION:
                connection.append(value)
            elif kind == CONTENT_LENGTH:
                self.length = int(value)  # the parser took it: digits, once
            elif kind == TRANSFER_ENCODING:
                if self.chunked or value.lower() != b"chunked":
                    raise HeadFault("coding_unsupported", "The only transfer coding taken is chunked.")
                self.chunked = True
            elif kind == EXPECT:
                self.expects = value.lower() == b"100-continue" and not http10
            elif kind == TE:
                self.takes_trailers = not http10 and b"trailers" in [coding.partition(b";")[0].strip().lower() for coding in value.split(b",")]
            elif kind == UPGRADE:
                upgrades.append(value)
            elif kind == REQUEST_ID:
                self.request_id = value
            elif kind != DROP:
                self.conditional.append((kind, name, value))
        if hosts != 1 and not (http10 and not hosts):
            raise HeadFault("request_invalid", "Send one Host field.")
        if hosts and not valid_host(self.host):
            raise HeadFault("request_invalid", "The Host field must be a host name or address, with an optional port.")
        if self.chunked and http10:
            raise HeadFault("request_invalid", "HTTP/1.0 has no chunked bodies.")
        if connection and not (len(connection) == 1 and connection[0] in _USUAL_OPTIONS):
            options = connection_options(connection)
            if options - _PLAIN_OPTIONS:
                kept = self._without(fields, names, options)
            if upgrades and b"upgrade" in options and not http10 and self.method == "GET" and not self.length and not self.chunked:
                # Only websocket, alone: with a choice of protocols the upstream would choose, and we could not follow.
                self.websocket = [value.strip(b" \t").lower() for value in upgrades] == [b"websocket"]
        self.kept = kept

    def _without(self, fields: tuple[tuple[bytes, bytes], ...], names: RequestNames, options: frozenset[bytes]) -> list[bytes]:
        """The kept lines without those that Connection names (RFC 9110 section 7.6.1), in any spelling."""
        named = {fold(option) for option in options}
        self.conditional = [entry for entry in self.conditional if fold(entry[1]) not in named]
        if b"x-request-id" in named:
            self.request_id = b""
        return [part for name, value in fields if names[name] == 0 and fold(name) not in named for part in (name, b": ", value, b"\r\n")]

    def drop_tokens(self, form: re.Pattern[bytes]) -> None:
        """Take out the fields that hold a text of token form: a token in another place than Authorization must not go up (G7).
        HeadFault where that is Host, without which there is no request."""
        if form.search(self.host):
            raise HeadFault("request_invalid", "The Host field holds a token: send it as Authorization: Bearer TOKEN.")
        kept, self.kept = self.kept, []
        for at in range(0, len(kept), 4):
            if not form.search(kept[at + 2]) and not form.search(kept[at]):
                self.kept += kept[at : at + 4]
        self.conditional = [entry for entry in self.conditional if not form.search(entry[2])]
        if form.search(self.request_id):
            self.request_id = b""

    def __repr__(self) -> str:
        return f"GatewayRequest({self.method!r}, length={self.length}, chunked={self.chunked})"

    @property
    def has_body(self) -> bool:
        return self.chunked or self.length > 0
