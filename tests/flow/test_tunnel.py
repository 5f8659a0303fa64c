"""WebSocket upgrades (RFC 9110 section 7.8, RFC 6455): a tunnel opens only after a 101 that we asked for, and then passes bytes unread."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import Any

import pytest

from tests.harness.gateway import GatewayProcess
from tests.harness.problems import check_refusal
from tests.harness.upstream import ScriptedUpstream
from tests.harness.waiting import eventually
from tests.harness.websocket import ASKS, SWITCH, echo
from tests.harness.wire import Wire, request


def opened(gateway: GatewayProcess, upstream: ScriptedUpstream, token: str) -> Wire:
    upstream.script("socket", SWITCH, echo)
    wire = gateway.wire()
    wire.send(request("GET", "/4/worklogs/socket", *ASKS, token=token))
    assert wire.answer().status == 101
    return wire


def test_an_upgrade_opens_a_tunnel_and_bytes_pass_both_ways_unread(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.script("socket", SWITCH, echo)
    with gateway.wire() as wire:
        wire.send(request("GET", "/4/worklogs/socket", *ASKS, "Sec-WebSocket-Protocol: chat", token=gateway.token("worklogs")))
        answer = wire.answer()
        assert answer.status == 101
        assert answer.one("upgrade") == "websocket"
        assert answer.one("connection") == "Upgrade"
        assert answer.one("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        for data in (b"\x81\x05hello", b"GET /4/teams HTTP/1.1\r\n\r\n", b"\0" * 10, bytes(range(256))):
            wire.send(data)
            assert wire.take(len(data)) == data
    (seen,) = upstream.seen
    assert (seen.one("upgrade"), seen.one("connection")) == ("websocket", "Upgrade")
    assert seen.one("sec-websocket-key") == "dGhlIHNhbXBsZSBub25jZQ=="
    assert seen.one("x-scopegate-subject") == "operator"


def test_bytes_that_come_with_the_101_are_not_lost(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.script("socket", SWITCH + b"\x81\x02hi", echo)
    with gateway.wire() as wire:
        wire.send(request("GET", "/4/worklogs/socket", *ASKS, token=gateway.token("worklogs")))
        assert wire.answer().status == 101
        assert wire.take(4) == b"\x81\x02hi"


def test_bytes_sent_before_the_101_wait_for_it(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    early = b"GET /4/teams HTTP/1.1\r\n\r\n"
    before: list[bytes] = []

    def look(peer: Any, _seen: object) -> None:
        peer.socket.settimeout(0.4)
        try:
            before.append(peer.socket.recv(100))
        except TimeoutError:
            before.append(b"")
        peer.socket.settimeout(20)

    upstream.script("socket", look, SWITCH, echo)
    with gateway.wire() as wire:
        wire.send(request("GET", "/4/worklogs/socket", *ASKS, token=gateway.token("worklogs")), early)
        assert wire.answer().status == 101
        assert wire.take(len(early)) == early
    assert before == [b""]


@pytest.mark.parametrize("status", ["200 OK", "426 Upgrade Required", "403 Forbidden"])
def test_a_refused_upgrade_is_an_answer_and_opens_no_tunnel(status: str, gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.script("socket", f"HTTP/1.1 {status}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nno".encode())
    with gateway.wire() as wire:
        wire.send(request("GET", "/4/worklogs/socket", *ASKS, token=gateway.token("worklogs")))
        wire.send(request("GET", "/4/teams/1", token=gateway.token("worklogs")))
        answer = wire.answer()
        assert (answer.status, answer.body) == (int(status[:3]), b"no")
        if answer.one("connection") == "close":
            assert wire.wait_closed() == b""
        else:
            check_refusal(wire.answer(), "scope_missing")
    assert [seen.target for seen in upstream.seen] == ["/4/worklogs/socket"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket, h2c\r\nConnection: Upgrade\r\n\r\n",
    ],
    ids=["no protocol", "another protocol", "two protocols"],
)
def test_a_switch_to_something_else_is_no_answer(answer: bytes, gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.script("socket", answer, echo)
    with gateway.wire() as wire:
        wire.send(request("GET", "/4/worklogs/socket", *ASKS, token=gateway.token("worklogs")))
        check_refusal(wire.answer(), "upstream_invalid")


def test_an_upgrade_is_authorised_like_any_request(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    check_refusal(gateway.ask("GET", "/4/worklogs/socket", *ASKS), "token_missing")
    check_refusal(gateway.ask("GET", "/4/teams/socket", *ASKS, token=gateway.token("worklogs")), "scope_missing")
    check_refusal(gateway.ask("GET", "/4/worklogs/socket", *ASKS, token=gateway.token("worklogs:view")), "scope_missing")
    assert upstream.seen == []


def test_a_token_in_the_subprotocol_is_no_credential_and_does_not_go_up(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    secret = gateway.token("worklogs")
    check_refusal(gateway.ask("GET", "/4/worklogs/socket", *ASKS, f"Sec-WebSocket-Protocol: bearer, {secret}"), "token_missing")
    assert upstream.seen == []


def test_the_end_of_one_side_ends_the_other(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    before = upstream.open
    with opened(gateway, upstream, gateway.token("worklogs")) as wire:
        wire.send(b"bye")
        assert wire.take(3) == b"bye"
        wire.close()
    eventually(lambda: upstream.open <= before, "the upstream's side to end with the client's")
    with opened(gateway, upstream, gateway.token("worklogs")) as wire:
        wire.send(b"\xffEND")
        assert wire.take(4) == b"\xffEND"
        assert wire.wait_closed() == b""


def test_much_data_passes_a_tunnel_whole_at_the_pace_of_its_reader(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    data = os.urandom(1 << 20) * 16
    with opened(gateway, upstream, gateway.token("worklogs")) as wire:
        wire.socket.settimeout(30)
        sender = threading.Thread(target=wire.socket.sendall, args=(data,))
        sender.start()
        got = hashlib.sha256()
        for _ in range(256):
            got.update(wire.take(len(data) // 256))
        sender.join(20)
        assert not sender.is_alive()
    assert got.digest() == hashlib.sha256(data).digest()


def test_the_log_tells_of_a_tunnel_when_it_ends(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    token = gateway.make("worklogs")
    with opened(gateway, upstream, token.secret) as wire:
        wire.send(b"12345")
        assert wire.take(5) == b"12345"
    (line,) = eventually(lambda: [line for line in gateway.access_lines() if line.get("token_id") == token.id], "the tunnel's line in the log")
    assert (line["status"], line["bytes_in"], line["bytes_out"]) == (101, 5, 5)


def test_a_client_that_closed_before_the_101_leaves_no_tunnel(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    go = threading.Event()
    upstream.script("socket", lambda _peer, _seen: go.wait(10), SWITCH, echo)
    with gateway.wire() as wire:
        wire.send(request("GET", "/4/worklogs/socket", *ASKS, token=gateway.token("worklogs")))
        eventually(lambda: upstream.seen, "the request upstream")
        before = upstream.open
        wire.half_close()
        go.set()
        wire.wait_closed()
    eventually(lambda: upstream.open < before, "the upstream's side to end")
