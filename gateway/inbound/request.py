"""A parsed head -> what the gateway decides on and forwards: read in one pass over the fields, by one table of names."""

from __future__ import annotations

import re
from copy import copy
from typing import Final

import msgspec

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
from gateway.core.route import METHODS
from gateway.inbound.parser import HeadFault, ParsedHead, RequestParser

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


class GatewayRequest(msgspec.Struct, gc=False):
    """One request's head. ``kept`` are the lines that go up in any case; ``conditional`` (kind, name, value) the fields that depend on the
    peer or the upstream. ``length`` is the body's, 0 for none; ``chunked`` bodies tell none. ``repeatable``: the same fields behind another
    request line mean the same. ``hop_authorization``: Connection names Authorization, so it goes no further."""

    method: str
    target: str
    host: bytes
    authorizations: list[bytes]
    kept: list[bytes]
    conditional: list[tuple[int, bytes, bytes]]
    request_id: bytes
    length: int
    chunked: bool
    has_body: bool
    expects: bool
    takes_trailers: bool
    http10: bool
    keep_alive: bool
    repeatable: bool
    websocket: bool = False
    hop_authorization: bool = False

    def obey(self, connection: list[bytes], upgrades: list[bytes]) -> None:
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
        self.hop_authorization = b"authorization" in named
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


def read_request(parsed: ParsedHead, names: RequestNames) -> GatewayRequest:
    """A request from its parsed head. HeadFault where the message is not valid HTTP."""
    http10 = parsed.http10
    chunked = expects = takes_trailers = False
    length, host, hosts, request_id = 0, b"", 0, b""
    authorizations: list[bytes] = []
    conditional: list[tuple[int, bytes, bytes]] = []
    kept: list[bytes] = []
    connection: list[bytes] = []
    upgrades: list[bytes] = []
    for line in parsed.lines:
        name, _, value = line.partition(b":")
        kind = names[name]
        if not kind:  # KEEP
            kept.append(line)
            continue
        value = value.strip()  # only blanks and tabs are there to strip
        if kind == AUTHORIZATION:
            authorizations.append(value)
        elif kind == HOST:
            hosts += 1
            host = value
        elif kind == CODING:
            conditional.append((kind, name, value))
        elif kind == CONNECTION:
            connection.append(value)
        elif kind == CONTENT_LENGTH:
            length = int(value)  # the parser took it: digits, once
        elif kind == TRANSFER_ENCODING:
            if chunked or value.lower() != b"chunked":
                raise HeadFault("coding_unsupported", "The only transfer coding taken is chunked.")
            chunked = True
        elif kind == EXPECT:
            expects = value.lower() == b"100-continue" and not http10
        elif kind == TE:
            takes_trailers = not http10 and b"trailers" in [coding.partition(b";")[0].strip().lower() for coding in value.split(b",")]
        elif kind == UPGRADE:
            upgrades.append(value)
        elif kind == REQUEST_ID:
            request_id = value
        elif kind != DROP:
            conditional.append((kind, name, value))
    has_body = chunked or length > 0
    if hosts != 1 and not (http10 and not hosts):
        raise HeadFault("request_invalid", "Send one Host field.")
    if not _HOSTS[host] and hosts:
        raise HeadFault("request_invalid", "The Host field must be a host name or address, with an optional port.")
    if chunked and http10:
        raise HeadFault("request_invalid", "HTTP/1.0 has no chunked bodies.")
    if not (parsed.whole or has_body):  # two readings of one message
        raise HeadFault("request_invalid", "The length of the body is not told in a way that all would read alike.")
    request = GatewayRequest(
        parsed.method,
        parsed.target,
        host,
        authorizations,
        kept,
        conditional,
        request_id,
        length,
        chunked,
        has_body,
        expects,
        takes_trailers,
        http10,
        keep_alive=not http10,
        repeatable=not (has_body or upgrades or http10),
    )
    if connection:
        request.obey(connection, upgrades)
    return request


class RequestReader:
    """One connection's request heads, one after the other. A client that keeps its connection repeats its fields from request to request: a head
    that ends as the one before it did needs a look at its request line only.

    ``mark`` is what each token begins with, ``form`` its whole form.
    """

    __slots__ = ("_before", "_form", "_mark", "_names", "_parser", "_section")

    def __init__(self, parser: RequestParser, names: RequestNames, mark: bytes, form: re.Pattern[bytes]) -> None:
        self._parser = parser
        self._names = names
        self._mark = mark
        self._form = form
        self._section = b""  # of the head before: from behind its target to its end
        self._before: GatewayRequest | None = None

    def read(self, head: bytes) -> GatewayRequest:
        """The request of a whole head. HeadFault where it is not valid HTTP."""
        before, section = self._before, self._section
        if before is not None and head.endswith(section):
            method, _, target = head[: -len(section)].partition(b" ")
            known = _METHODS.get(method)
            if known is not None and _TARGET.fullmatch(target):
                request = copy(before)
                request.method, request.target = known, target.decode("ascii")
                return request
        request = read_request(self._parser.head(head), self._names)
        mark = self._mark
        marks = head.count(mark)
        if marks and (marks > 1 or not request.authorizations or request.authorizations[0].find(mark) < 0):
            request.drop_tokens(self._form)
        if request.repeatable:
            section = head[head.find(_VERSION) :]
            if len(section) <= _SECTION_LIMIT:
                self._before, self._section = request, section
        return request


_METHODS: Final = {method.encode("ascii"): method for method in METHODS}
_TARGET: Final = re.compile(rb"/[!\"$-~]*")
_VERSION: Final = b" HTTP/1.1\r\n"
_SECTION_LIMIT: Final = 4096  # bytes that a connection holds for it
