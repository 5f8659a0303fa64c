"""A parsed head -> a request. Whole requests are in tests/vectors/{edge,forwarding}.yaml."""

from __future__ import annotations

import re
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.forwarding import RequestNames
from gateway.inbound.parser import HeadFault, ParsedHead, RequestParser
from gateway.inbound.request import GatewayRequest, RequestReader, read_request
from gateway.settings import LimitSettings

NAMES = RequestNames()
LIMITS = LimitSettings(request_line=8192, head=32768, headers=100, body=1 << 20, header_timeout_s=10, body_idle_s=30, keepalive_s=75)
FORM = re.compile(rb"sgt_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}")
TOKEN = b"sgt_" + b"a" * 12 + b"_" + b"b" * 38


def request(*fields: tuple[bytes, bytes], method: str = "GET", http10: bool = False, host: bool = True) -> GatewayRequest:
    first = ((b"Host", b"a"),) if host else ()
    lines = [name + b": " + value for name, value in first + fields]
    body = any(name.lower() in {b"content-length", b"transfer-encoding"} for name, _ in fields)
    return read_request(ParsedHead(method, "/", lines, http10, not body), NAMES)


def fault(*fields: tuple[bytes, bytes], http10: bool = False, host: bool = True) -> str:
    with pytest.raises(HeadFault) as found:
        request(*fields, http10=http10, host=host)
    return found.value.code


def test_ordinary_fields_are_kept_as_lines() -> None:
    found = request((b"X-A", b"1"), (b"Cookie", b"c"), (b"X-Scopegate-Subject", b"evil"))
    assert found.kept == [b"X-A: 1", b"Cookie: c"]


def test_credentials_are_read_one_by_one_and_not_kept() -> None:
    found = request((b"authorization", b"Bearer x"), (b"Authorization", b"y"))
    assert found.authorizations == [b"Bearer x", b"y"]
    assert found.kept == []


@pytest.mark.parametrize("named", [b"X-Hop", b"x-hop", b"x_hop", b"close, X-HOP", b"X.Hop"])
def test_what_connection_names_is_dropped_in_every_spelling(named: bytes) -> None:
    found = request((b"X-Hop", b"gone"), (b"X_Hop", b"gone"), (b"Connection", named), (b"X-End", b"kept"))
    assert found.kept == [b"X-End: kept"]


def test_connection_also_drops_what_depends_on_the_peer() -> None:
    found = request((b"X-Forwarded-For", b"x"), (b"X-Request-Id", b"r"), (b"Connection", b"X-Forwarded-For, X-Request-Id"))
    assert found.conditional == []
    assert found.request_id == b""


def test_connection_takes_nothing_from_the_decision() -> None:
    assert request((b"Authorization", b"Bearer x"), (b"Connection", b"authorization")).authorizations == [b"Bearer x"]


def test_framing() -> None:
    assert request((b"Content-Length", b"5"), method="POST").length == 5
    assert request((b"Transfer-Encoding", b"Chunked"), method="POST").chunked
    assert not request(method="POST").has_body
    assert fault((b"Transfer-Encoding", b"gzip")) == "coding_unsupported"
    assert fault((b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")) == "coding_unsupported"
    assert fault((b"Transfer-Encoding", b"chunked"), http10=True) == "request_invalid"


def test_host_comes_once_and_is_one() -> None:
    assert fault(host=False) == "request_invalid"
    assert fault((b"host", b"b")) == "request_invalid"
    assert fault((b"Host", b"a b"), host=False) == "request_invalid"
    assert request(http10=True, host=False).host == b""
    assert fault((b"Host", b"b"), http10=True) == "request_invalid"


def test_an_expectation_is_taken_from_http_1_1_only() -> None:
    assert request((b"Expect", b"100-Continue")).expects
    assert not request((b"Expect", b"100-continue"), http10=True).expects
    assert not request((b"Expect", b"x")).expects


@pytest.mark.parametrize(("value", "takes"), [(b"trailers", True), (b"gzip, Trailers;q=1", True), (b"gzip", False), (b"", False), (b"xtrailers", False)])
def test_who_takes_trailers(value: bytes, takes: bool) -> None:
    assert request((b"TE", value)).takes_trailers == takes
    assert not request((b"TE", value), http10=True).takes_trailers


UPGRADE = (b"Connection", b"Upgrade")


@pytest.mark.parametrize(
    ("fields", "websocket"),
    [
        ([UPGRADE, (b"Upgrade", b"WebSocket")], True),
        ([(b"Connection", b"keep-alive, upgrade"), (b"Upgrade", b"websocket")], True),
        ([(b"Upgrade", b"websocket")], False),
        ([UPGRADE], False),
        ([UPGRADE, (b"Upgrade", b"h2c")], False),
        ([UPGRADE, (b"Upgrade", b"websocket, h2c")], False),
        ([UPGRADE, (b"Upgrade", b"websocket"), (b"Upgrade", b"websocket")], False),
        ([UPGRADE, (b"Upgrade", b"websocket"), (b"Content-Length", b"1")], False),
    ],
)
def test_only_websocket_alone_is_an_upgrade(fields: list[tuple[bytes, bytes]], websocket: bool) -> None:
    assert request(*fields).websocket == websocket
    assert not request(*fields, http10=True).websocket
    assert not request(*fields, method="POST").websocket


def test_a_token_in_any_other_field_is_taken_out() -> None:
    found = request((b"X-A", b"x" + TOKEN), (b"X-" + TOKEN, b"1"), (b"X-B", b"kept"), (b"X-Forwarded-User", TOKEN), (b"X-Request-Id", TOKEN))
    found.drop_tokens(FORM)
    assert found.kept == [b"X-B: kept"]
    assert found.conditional == []
    assert found.request_id == b""


def test_the_repr_shows_no_field() -> None:
    assert "Bearer" not in repr(request((b"Authorization", b"Bearer x"), (b"X-A", b"Bearer x")))


def reader() -> RequestReader:
    return RequestReader(RequestParser(LIMITS), NAMES, b"sgt_", FORM)


def read(by: RequestReader, head: bytes) -> GatewayRequest | str:
    try:
        return by.read(head)
    except HeadFault as refused:
        return refused.code


PIECES = st.sampled_from(
    [
        b"GET",
        b"POST",
        b"CONNECT",
        b"get",
        b"PURGE",
        b" ",
        b"  ",
        b"/",
        b"/a?b=c",
        b"/a#b",
        b"/\x80",
        b"/\x7f",
        b"*",
        b"http://a/",
        b"\t",
        b" HTTP/1.1",
        b"\r\n",
        b"\n",
        b"\r",
        b"X: y",
        b"Host: b",
        TOKEN,
    ]
)
SECTIONS = st.lists(
    st.sampled_from(
        [
            b"Host: a",
            b"X-A: b",
            b"Authorization: Bearer " + TOKEN,
            b"X-B: " + TOKEN,
            b"Content-Length: 0",
            b"Content-Length: 3",
            b"Transfer-Encoding: chunked",
            b"Connection: close",
            b"Connection: upgrade",
            b"Upgrade: websocket",
            b"Expect: 100-continue",
            b"TE: trailers",
            b"X-Forwarded-For: 10.0.0.1",
        ]
    ),
    max_size=5,
).map(lambda lines: b"\r\n".join([b" HTTP/1.1", b"Host: a", *lines, b"", b""]))
LINES = st.one_of(st.just(b"GET /"), st.just(b"DELETE /x?y"), st.lists(PIECES, max_size=6).map(b"".join), st.binary(max_size=12))


@given(first=LINES, second=LINES, section=SECTIONS, other=SECTIONS)
def test_a_head_is_read_alike_whatever_came_before_it(first: bytes, second: bytes, section: bytes, other: bytes) -> None:
    """Seen to fail without the look at the target, and with requests that have a body or an Upgrade field taken for repeatable."""
    one = reader()
    for head in (first + section, second + section, second + other, first + section):
        found = read(one, head)
        assert found == read(reader(), head)
        if isinstance(found, str) or not found.keep_alive:
            return  # the connection closes
        if found.has_body:
            one._parser.skip_body()


def test_fields_that_came_before_are_not_parsed_again() -> None:
    one = reader()
    first = one.read(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    one._parser = cast("RequestParser", None)
    second = one.read(b"POST /b HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (first.method, first.target, second.method, second.target) == ("GET", "/a", "POST", "/b")
    assert second.kept is first.kept


def test_a_connection_holds_no_large_head() -> None:
    one = reader()
    one.read(b"GET /a HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 5000 + b"\r\n\r\n")
    assert one._section == b""
