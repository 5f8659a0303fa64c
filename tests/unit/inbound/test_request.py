"""A parsed head -> a request. Whole requests are in tests/vectors/{edge,forwarding}.yaml."""

from __future__ import annotations

import re

import pytest

from gateway.core.forwarding import RequestNames
from gateway.inbound.parser import HeadFault, ParsedHead
from gateway.inbound.request import GatewayRequest

NAMES = RequestNames()
FORM = re.compile(rb"sgt_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}")
TOKEN = b"sgt_" + b"a" * 12 + b"_" + b"b" * 38


def request(*fields: tuple[bytes, bytes], method: str = "GET", http10: bool = False, host: bool = True) -> GatewayRequest:
    first = ((b"Host", b"a"),) if host else ()
    lines = [name + b": " + value for name, value in first + fields]
    body = any(name.lower() in {b"content-length", b"transfer-encoding"} for name, _ in fields)
    return GatewayRequest(ParsedHead(method, "/", lines, http10, not body), NAMES)


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
