"""tests/vectors/edge.yaml through sockets, and the duties that take more than a table: cuts and pipelines."""

from __future__ import annotations

import contextlib
import re
import threading
from typing import Any

import pytest

from tests.harness.gateway import GatewayProcess
from tests.harness.problems import check_refusal
from tests.harness.upstream import ScriptedUpstream
from tests.harness.vectors import cases, raw, table
from tests.harness.waiting import eventually
from tests.harness.wire import Closed, Wire, request

CASES = [case for part in table("edge") for case in cases("edge", part)]


def filled(text: str, gateway: GatewayProcess) -> bytes:
    secret = gateway.token("worklogs")
    ok = f"Host: gateway.test\r\nAuthorization: Bearer {secret}\r\n"
    text = re.sub(r"\{times:(\d+):([^}]*)\}", lambda match: match[2] * int(match[1]), text)
    text = text.replace("{chunked}", "POST /4/worklogs HTTP/1.1\r\n{ok}Transfer-Encoding: chunked\r\n\r\n").replace(
        "{get}", "GET /4/worklogs/1 HTTP/1.1\r\n{ok}\r\n"
    )
    return raw(text.replace("{ok}", ok).replace("{secret}", secret))


def send(wire: Wire, what: Any, gateway: GatewayProcess, read: Any) -> None:
    for piece in what if isinstance(what, list) else [what]:
        if isinstance(piece, str):
            wire.send(filled(piece, gateway))
        elif "half" in piece:
            wire.half_close()
        elif "until" in piece:
            read(piece["until"])
        else:
            for byte in filled(piece["bytewise"], gateway):
                wire.send(bytes([byte]))


@pytest.mark.parametrize("case", CASES)
def test_duty(case: dict[str, Any], gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    expected, methods = case["answers"], case.get("methods", ["GET"] * len(case["answers"]))
    answers: list[Any] = []
    with gateway.wire() as wire:

        def read(upto: int) -> None:
            while len(answers) < upto:
                answers.append(wire.answer(methods[len(answers)]))

        send(wire, case["send"], gateway, read)
        try:
            read(len(expected))
        except Closed:
            if not case.get("may_close"):
                raise
        for answer, wanted in zip(answers, expected, strict=not case.get("may_close")):
            allowed = wanted if isinstance(wanted, list) else [wanted]
            assert answer.complete
            got = answer.code or answer.status
            assert got in allowed, (got, answer.body)
            if answer.code:
                check_refusal(answer, answer.code)
        if case.get("closes"):
            if case["closes"] != "silently":
                assert answers[-1].one("connection") == "close"
            assert wire.wait_closed() == b""
        elif not case.get("may_close"):
            assert wire.buffer == b""
            wire.send(request("GET", "/4/worklogs/after", token=gateway.token("worklogs")))
            assert wire.answer().status == 200
    up = [f"{seen.method} {seen.target}" for seen in upstream.seen if not seen.target.endswith("/after") and (seen.complete or not case.get("broken"))]
    if not case.get("may_close"):
        assert up == case.get("up", [])
    if "bodies" in case:
        assert [seen.body for seen in upstream.seen][: len(case["bodies"])] == [raw(body) for body in case["bodies"]]
    if "allow" in case:
        assert answers[-1].one("allow") == case["allow"]
    for seen in upstream.seen:
        assert not {"upgrade", "connection", "x-checksum", "trailer", "http2-settings"} & set(seen.names)
        assert seen.one("x-scopegate-subject") == "operator"


# -- cuts and pipelines


def test_a_pipelined_pair_cut_at_every_byte_is_answered_alike(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    token = gateway.token("worklogs")
    pair = request("GET", "/4/worklogs/1?a=b", "X-A: b", token=token) + request("GET", "/4/teams/2", token=token)
    for cut in range(1, len(pair)):
        with gateway.wire() as wire:
            wire.send(pair[:cut])
            wire.send(pair[cut:])
            assert wire.answer().status == 200, cut
            assert wire.answer().code == "scope_missing", cut
    assert {seen.target for seen in upstream.seen} == {"/4/worklogs/1?a=b"}
    assert len(upstream.seen) == len(pair) - 1


def test_a_chunked_request_and_its_follower_cut_at_every_byte_are_answered_alike(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    token = gateway.token("worklogs")
    first = request("POST", "/4/worklogs", "Transfer-Encoding: chunked", token=token)
    body = b"5;e=f\r\nhe\r\no\r\n4\r\n\r\n\r\n\r\n0\r\nX-Trailer: t\r\n\r\n"
    pair = first + body + request("GET", "/4/teams/2", token=token)
    for cut in range(len(first) - 4, len(first) + len(body) + 6):
        with gateway.wire() as wire:
            wire.send(pair[:cut])
            wire.send(pair[cut:])
            assert wire.answer().status == 200, cut
            assert wire.answer().code == "scope_missing", cut
    assert {seen.body for seen in upstream.seen} == {b"he\r\no\r\n\r\n"}


def test_a_thousand_pipelined_requests_are_answered_in_order_and_one_after_the_other(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    token = gateway.token("worklogs")
    for number in range(10):
        upstream.script(str(number), b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
    with gateway.wire(timeout=30) as wire:
        wire.send(b"".join(request("GET", f"/4/worklogs/{number % 10}", token=token) for number in range(1000)))
        for number in range(1000):
            assert wire.answer().body == b"%d" % (number % 10)
    assert [seen.target for seen in upstream.seen] == [f"/4/worklogs/{number % 10}" for number in range(1000)]


def test_what_waits_in_a_pipeline_is_bounded(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """While one request waits for its answer, what follows is left to the kernel: the client can't fill the gateway's memory."""
    hold = threading.Event()
    upstream.script("held", lambda _peer, _seen: hold.wait(30), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    sent = 0
    try:
        with gateway.wire() as wire:
            wire.send(request("GET", "/4/worklogs/held", token=gateway.token("worklogs")))
            wire.socket.settimeout(1.0)
            with contextlib.suppress(TimeoutError):
                while sent < 64 * 1024 * 1024:
                    sent += wire.socket.send(b"x" * 65536)
    finally:
        hold.set()
    assert sent < 32 * 1024 * 1024


def test_a_flood_of_tiny_chunks_arrives_whole(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with gateway.wire(timeout=30) as wire:
        wire.send(request("POST", "/4/worklogs", "Transfer-Encoding: chunked", token=gateway.token("worklogs")), b"1\r\nx\r\n" * 20_000, b"0\r\n\r\n")
        assert wire.answer().status == 200
    assert upstream.seen[0].body == b"x" * 20_000


def test_a_client_that_leaves_takes_its_upstream_connection_along(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    ended = threading.Event()

    def wait_for_end(peer: Any, _seen: object) -> None:
        peer.socket.settimeout(10)
        if peer.socket.recv(1) == b"":
            ended.set()

    upstream.script("abandoned", wait_for_end)
    wire = gateway.wire()
    wire.send(request("GET", "/4/worklogs/abandoned", token=gateway.token("worklogs")))
    eventually(lambda: upstream.seen, "the request upstream")
    wire.break_off()
    assert ended.wait(8)
    eventually(lambda: any(line.get("code") == "client_gone" for line in gateway.access_lines()), "the log to say who left")
