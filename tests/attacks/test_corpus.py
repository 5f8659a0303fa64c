"""Attacks that fooled gateways before, as raw bytes, each form in each encoding, against a strict upstream (tests/harness/invariants.py)."""

from __future__ import annotations

import itertools

import pytest

from tests.harness.gateway import GatewayProcess
from tests.harness.invariants import SMUGGLED, check_answers, check_upstream, read_all
from tests.harness.upstream import ScriptedUpstream
from tests.harness.wire import Wire, request


def storm(gateway: GatewayProcess, upstream: ScriptedUpstream, data: bytes, most: int) -> list[int]:
    """Send bytes, end our side, read what comes; the statuses."""
    secret = gateway.token("worklogs")
    upstream.seen.clear()
    with Wire(gateway.port) as wire:
        wire.send(data.replace(b"{secret}", secret.encode()))
        wire.half_close()
        answers = read_all(wire)
    check_answers(answers, [secret], most)
    check_upstream(upstream, [secret])
    return [answer.status for answer in answers]


OK = b"Host: gateway.test\r\nAuthorization: Bearer {secret}\r\n"
INNER = b"GET /4/teams/smuggled HTTP/1.1\r\n" + OK + b"\r\n"
AFTER = b"GET /4/worklogs/after HTTP/1.1\r\n" + OK + b"\r\n"

# -- two readings of where a message ends

LENGTHS = [
    b"",
    b"5",
    b"0",
    b"+5",
    b"-5",
    b"5 ",
    b" 5",
    b"5,5",
    b"5, 6",
    b"0x5",
    b"5;",
    b"005",
    b"5\t",
    b"\x0b5",
    b"5_0",
    b"5.0",
    b"99999999999999999999",
    b"\xb2",
]
CODINGS = [b"", b"chunked", b" chunked", b"chunked ", b"Chunked", b"chunked,", b",chunked", b"chunked, identity", b"identity, chunked", b"xchunked", b"chunkedx",
           b"\x0bchunked", b"chunked\x0c", b'"chunked"', b"chunked;a", b"gzip, chunked", b"chun\x00ked", b"\xa0chunked", b"chunked\r\n\tx"]  # fmt: skip
NAMES = [b"Transfer-Encoding", b"transfer-encoding", b"Transfer_Encoding", b"Transfer-Encoding ", b" Transfer-Encoding", b"Transfer\tEncoding", b"Transfer-Encoding\x00",
         b"X\r\nTransfer-Encoding", b"X: y\rTransfer-Encoding", b"X: y\nTransfer-Encoding", b"Transfer-\xc4\xb0ncoding"]  # fmt: skip
BODIES = [b"5\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n" + INNER, b"hello" + INNER]


@pytest.mark.parametrize("body", BODIES, ids=["chunks", "an early end", "a short body"])
@pytest.mark.parametrize("length", LENGTHS)
def test_a_length_that_could_be_read_in_two_ways(length: bytes, body: bytes, gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    for framing in (
        b"Content-Length: %s\r\n" % length,
        b"Content-Length: 5\r\nContent-Length: %s\r\n" % length,
        b"Content-Length: %s\r\nTransfer-Encoding: chunked\r\n" % length,
        b"Content-Length: 5\r\nContent_Length: %s\r\n" % length,
    ):
        statuses = storm(gateway, upstream, b"POST /4/worklogs/x HTTP/1.1\r\n" + OK + framing + b"\r\n" + body + AFTER, 3)
        assert set(statuses) <= {200, 400, 403, 413, 501}


@pytest.mark.parametrize("body", BODIES, ids=["chunks", "an early end", "a short body"])
@pytest.mark.parametrize("coding", CODINGS)
def test_a_coding_that_could_be_read_in_two_ways(coding: bytes, body: bytes, gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    for framing in (
        b"Transfer-Encoding: %s\r\n" % coding,
        b"Transfer-Encoding: %s\r\nContent-Length: 5\r\n" % coding,
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: %s\r\n" % coding,
        b"Transfer-Encoding: %s\r\nTransfer-Encoding: chunked\r\n" % coding,
    ):
        storm(gateway, upstream, b"POST /4/worklogs/x HTTP/1.1\r\n" + OK + framing + b"\r\n" + body + AFTER, 3)


@pytest.mark.parametrize("name", NAMES)
def test_a_coding_under_a_name_that_could_be_read_in_two_ways(name: bytes, gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    for body, length in itertools.product(BODIES, (b"", b"Content-Length: 5\r\n")):
        storm(gateway, upstream, b"POST /4/worklogs/x HTTP/1.1\r\n" + OK + length + name + b": chunked\r\n\r\n" + body + AFTER, 3)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\r", b"\n\r\n", b"\r\n\n", b"\r\n\r", b"\r\n\rX\r\n", b"\r\n \r\n", b"\r\n\x00\r\n", b"\r\n\t\r\n\r\n"])
def test_a_head_whose_end_could_be_read_in_two_ways(end: bytes, gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    storm(gateway, upstream, b"GET /4/worklogs/x HTTP/1.1\r\n" + OK[:-2] + end + INNER, 2)


@pytest.mark.parametrize(
    "size",
    [
        b"5 ",
        b" 5",
        b"05",
        b"5;",
        b"5;x",
        b"5\t",
        b"0x5",
        b"+5",
        b"5\r",
        b"5;\n",
        b"5;x\ny",
        b"5\x00",
        b"5h",
        b"5 ;x",
        b"fffffffffffffffb",
        b"10000000000000005",
        b"-0",
        b"00000000000000000005",
    ],
)
def test_a_chunk_size_that_could_be_read_in_two_ways(size: bytes, gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    for tail in (b"\r\nhello\r\n0\r\n\r\n", b"\nhello\r\n0\r\n\r\n", b"\r\nhello0\r\n\r\n", b"\r\nhello\n0\n\n"):
        storm(gateway, upstream, b"POST /4/worklogs/x HTTP/1.1\r\n" + OK + b"Transfer-Encoding: chunked\r\n\r\n" + size + tail + INNER, 3)


REFUSED = {
    "path": b"POST /4/worklogs/../x HTTP/1.1\r\n" + OK,
    "token": b"POST /4/worklogs HTTP/1.1\r\nHost: a\r\n",
    "scope": b"POST /4/teams HTTP/1.1\r\n" + OK,
    "route": b"POST /5 HTTP/1.1\r\n" + OK,
    "method": b"PROPFIND /4/worklogs HTTP/1.1\r\n" + OK,
    "trace": b"TRACE /4/worklogs HTTP/1.1\r\n" + OK,
    "connect": b"CONNECT a:1 HTTP/1.1\r\n" + OK,
    "credentials": b"POST /4/worklogs HTTP/1.1\r\n" + OK + b"Authorization: Bearer x\r\n",
    "size": b"POST /4/small/x HTTP/1.1\r\n" + OK,
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("filler", [0, 100, 5_000, 300_000])
def test_the_body_of_a_refused_request_of_any_size_is_no_request(kind: str, filler: int, gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    secret = gateway.token("worklogs").encode()
    inner = (b"GET /4/worklogs/smuggled HTTP/1.1\r\n" + OK + b"\r\n").replace(b"{secret}", secret)
    body = b"x" * filler + inner * (40 if kind == "size" else 1)
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:filler], body[filler:]) if part) + b"0\r\n\r\n"
    assert SMUGGLED.encode() in body
    storm(gateway, upstream, REFUSED[kind] + b"Content-Length: %d\r\n\r\n" % len(body) + body + AFTER, 2)
    storm(gateway, upstream, REFUSED[kind] + b"Transfer-Encoding: chunked\r\n\r\n" + chunked + AFTER, 2)


# -- two readings of a path

DOTS = ["..", "%2e%2e", ".%2E", "%2e.", "%252e%252e", "..%00", "..;", "..%3b", ".%u002e", "%c0%ae%c0%ae", "%%32%65%%32%65", "..%20", "%ef%bc%8e%ef%bc%8e"]
SLASHES = ["/", "%2f", "%2F", "\\", "%5c", "//", "/./", "%252f", "%c0%af", ";/", "/%2e/", "?/", "#/", "%3f/", "%23/", "%00/", "\\/"]


@pytest.mark.parametrize("dots", DOTS)
def test_no_way_out_of_a_scope_by_its_path(dots: str, gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    data = b"".join(f"GET /4/worklogs{before}{dots}{after}teams HTTP/1.1\r\n".encode() + OK + b"\r\n" for before, after in itertools.product(SLASHES, SLASHES))
    for one in data.split(b"GET ")[1:]:
        (status,) = storm(gateway, upstream, b"GET " + one, 1)
        assert status in {200, 400, 403, 404}


@pytest.mark.parametrize("target", ["/4/worklogs@/4/teams", "@gateway.test/4/worklogs", "//4/worklogs", "/\\evil/4/worklogs", "/4/worklogs\x85/../teams", "/4/teams?/4/worklogs",
                                    "/4/teams#/4/worklogs", "/4/worklogs.json", "/4/WORKLOGS/../teams", "/4/worklogs/\u2025/teams", "/4/.worklogs", "/4%2Fworklogs",
                                    "/4/worklogs%", "/%34/teams", "/4/t%65ams", "///", "/", "/4/worklogs%0aX: y"])  # fmt: skip
def test_a_target_of_another_scope_or_of_none(target: str, gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    (status,) = storm(gateway, upstream, b"GET " + target.encode() + b" HTTP/1.1\r\n" + OK + b"\r\n", 1)
    assert status in {400, 403, 404} or "worklogs@" in target
    if status != 200:
        assert upstream.seen == []


# -- limits


@pytest.mark.parametrize(
    "data",
    [
        b"GET /4/worklogs/" + b"a" * 1_000_000 + b" HTTP/1.1\r\n" + OK + b"\r\n",
        b"GET /4/worklogs/x HTTP/1.1\r\n" + OK + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"GET /4/worklogs/x HTTP/1.1\r\n" + OK + b"X: y\r\n" * 50_000 + b"\r\n",
        b"GET /4/worklogs/x HTTP/1.1\r\n" + OK + b"a" * 1_000_000 + b": x\r\n\r\n",
        b"GET /4/worklogs/" + b"%2e%2e/" * 1_000 + b" HTTP/1.1\r\n" + OK + b"\r\n",
        b"GET /4/worklogs/" + b"/".join([b"a"] * 3_000) + b" HTTP/1.1\r\n" + OK + b"\r\n",
        b"POST /4/worklogs HTTP/1.1\r\n" + OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1;" + b"a" * 1_000_000,
        b"POST /4/worklogs HTTP/1.1\r\n" + OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 50_000,
        b"\r\n" * 100_000 + b"GET /4/worklogs/x HTTP/1.1\r\n" + OK + b"\r\n",
        b"A" * 1_000_000,
        b"\0" * 1_000_000,
    ],
    ids=["target", "value", "fields", "name", "dots", "segments", "extension", "trailers", "empty lines", "letters", "zeros"],
)
def test_too_much_of_anything_is_refused_and_the_gateway_goes_on(data: bytes, gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    storm(gateway, upstream, data, 1)
    assert gateway.ask("GET", "/4/worklogs/1", token=gateway.token("worklogs")).status == 200


def test_a_crowd_of_idle_and_broken_connections_keeps_nobody_out(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    wires = [Wire(gateway.port) for _ in range(300)]
    try:
        for number, wire in enumerate(wires):
            wire.send([b"", b"G", b"GET /4/worklogs HTTP/1.1\r\nHost: a\r\n", b"\0"][number % 4])
        with Wire(gateway.port) as wire:
            wire.send(request("GET", "/4/worklogs/1", token=gateway.token("worklogs")))
            assert wire.answer().status == 200
    finally:
        for wire in wires:
            wire.close()
