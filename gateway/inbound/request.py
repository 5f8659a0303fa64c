"""A parsed head -> what the gateway decides on and forwards: read in one pass over the fields, by one table of names."""

from __future__ import annotations

import re
from typing import Final

from gateway.core.forwarding import (
    AUTHORIZATION,
    CODING,
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

_STAY: Final = frozenset({b"keep-alive", b"Keep-Alive"})
_PLAIN_OPTIONS: Final = frozenset({b"keep-alive", b"close", b"upgrade", b"te"})


class _Hosts(dict[bytes, bool]):
    """A Host value -> whether it is valid. Each is judged once; a stranger's many can't fill the table."""

    def __missing__(self, host: bytes) -> bool:
        valid = valid_host(host)
        if len(self) < _HOSTS_LIMIT:
            self[host] = valid
        return valid


_HOSTS_LIMIT: Final = 1024
_HOSTS: Final = _Hosts()


class GatewayRequest:
    """One request's head. ``kept`` are the lines that go up in any case; ``conditional`` (kind, name, value) the fields that depend on the
    peer or the upstream. ``length`` is the body's, 0 for none; ``chunked`` bodies tell none."""

    __slots__ = (
        "authorizations",
        "chunked",
        "conditional",
        "expects",
        "has_body",
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

    def __init__(self, parsed: ParsedHead, names: RequestNames) -> None:
        """HeadFault where the message is not valid HTTP."""
        self.method, self.target = parsed.method, parsed.target
        http10 = self.http10 = parsed.http10
        self.keep_alive = not http10
        self.chunked = self.expects = self.takes_trailers = self.websocket = False
        self.request_id = b""
        self.authorizations: list[bytes] = []
        self.conditional: list[tuple[int, bytes, bytes]] = []
        self.kept: list[bytes] = []
        keep = self.kept.append
        length, host, hosts = 0, b"", 0
        connection: list[bytes] = []
        upgrades: list[bytes] = []
        for line in parsed.lines:
            name, _, value = line.partition(b":")
            kind = names[name]
            if not kind:  # KEEP
                keep(line)
                continue
            value = value.strip()  # only blanks and tabs are there to strip
            if kind == AUTHORIZATION:
                self.authorizations.append(value)
            elif kind == HOST:
                hosts += 1
                host = value
            elif kind == CODING:
                self.conditional.append((kind, name, value))
            elif kind == CONNECTION:
                connection.append(value)
            elif kind == CONTENT_LENGTH:
                length = int(value)  # the parser took it: digits, once
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
        self.host = host
        self.length = length
        self.has_body = has_body = self.chunked or length > 0
        if hosts != 1 and not (http10 and not hosts):
            raise HeadFault("request_invalid", "Send one Host field.")
        if not _HOSTS[host] and hosts:
            raise HeadFault("request_invalid", "The Host field must be a host name or address, with an optional port.")
        if self.chunked and http10:
            raise HeadFault("request_invalid", "HTTP/1.0 has no chunked bodies.")
        if not (parsed.whole or has_body):  # two readings of one message
            raise HeadFault("request_invalid", "The length of the body is not told in a way that all would read alike.")
        if connection:
            self._obey(connection, upgrades)

    def _obey(self, connection: list[bytes], upgrades: list[bytes]) -> None:
        """What Connection says: whether the connection stays, whether it is to be a WebSocket, and what goes no further."""
        if len(connection) == 1 and connection[0] in _STAY:
            self.keep_alive = True
            return
        options = connection_options(connection)
        self.keep_alive = b"close" not in options and (not self.http10 or b"keep-alive" in options)
        if options - _PLAIN_OPTIONS:
            self._drop_named(options)
        if upgrades and b"upgrade" in options and not self.http10 and self.method == "GET" and not self.has_body:
            # Only websocket, alone: with a choice of protocols the upstream would choose, and we could not follow.
            self.websocket = [value.strip(b" \t").lower() for value in upgrades] == [b"websocket"]

    def _drop_named(self, options: frozenset[bytes]) -> None:
        """Drop what Connection names (RFC 9110 section 7.6.1), in any spelling."""
        named = {fold(option) for option in options}
        self.kept = [line for line in self.kept if fold(line.partition(b":")[0]) not in named]
        self.conditional = [entry for entry in self.conditional if fold(entry[1]) not in named]
        if b"x-request-id" in named:
            self.request_id = b""

    def drop_tokens(self, form: re.Pattern[bytes]) -> None:
        """Take out the fields that hold a text of token form: a token in another place than Authorization must not go up (G7).
        HeadFault where that is Host, without which there is no request."""
        if form.search(self.host):
            raise HeadFault("request_invalid", "The Host field holds a token: send it as Authorization: Bearer TOKEN.")
        self.kept = [line for line in self.kept if not form.search(line)]
        self.conditional = [entry for entry in self.conditional if not form.search(entry[2])]
        if form.search(self.request_id):
            self.request_id = b""

    def __repr__(self) -> str:
        return f"GatewayRequest({self.method!r}, length={self.length}, chunked={self.chunked})"
