"""Upstreams that are not there, die, or will not answer: a plain refusal in time, a retry where it is safe, and service again by itself."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.harness.gateway import GatewayProcess, free_port
from tests.harness.problems import check_refusal
from tests.harness.upstream import CLOSE, PLAIN, READ, Peer, ScriptedUpstream, Seen
from tests.harness.waiting import eventually
from tests.harness.wire import request

Gateways = Callable[[str], GatewayProcess]


def test_an_upstream_that_does_not_listen_is_502_until_it_does() -> None:
    port = free_port()
    with GatewayProcess(f"http://127.0.0.1:{port}") as gateway:
        token = gateway.token("worklogs")
        check_refusal(gateway.ask("GET", "/4/worklogs/1", token=token), "upstream_unreachable")
        check_refusal(gateway.ask("POST", "/4/worklogs/1", token=token, body=b"hello"), "upstream_unreachable")
        with ScriptedUpstream(port) as upstream:
            assert gateway.ask("POST", "/4/worklogs/1", token=token, body=b"hello").status == 200
            assert upstream.seen[0].body == b"hello"
        check_refusal(gateway.ask("GET", "/4/worklogs/1", token=token), "upstream_unreachable")
        assert "Traceback" not in gateway.log()


def test_an_upstream_that_accepts_no_connection_is_504_within_the_connect_time() -> None:
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # what a queue of length 0 takes, and more: from now on nobody gets in
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        gateway = stack.enter_context(GatewayProcess(url, upstream={"timeouts": {"connect": "500ms"}}))
        check_refusal(gateway.ask("GET", "/4/worklogs/1", token=gateway.token("worklogs")), "upstream_timeout")


@pytest.fixture
def hold() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def wait_for(event: threading.Event) -> Callable[[Peer, Seen], object]:
    return lambda _peer, _seen: event.wait(20)


def test_who_finds_no_free_connection_is_told_to_come_back(gateways: Gateways, upstream: ScriptedUpstream, hold: threading.Event) -> None:
    gateway = gateways("hasty")
    upstream.script("held", EVENTS, wait_for(hold), b"0\r\n\r\n")
    token = gateway.token("worklogs")
    with ExitStack() as stack:
        for _ in range(4):
            wire = stack.enter_context(gateway.wire())
            wire.send(request("GET", "/4/worklogs/held", token=token))
            assert wire.head().status == 200
        answer = gateway.ask("GET", "/4/worklogs/one-too-many", token=token)
        check_refusal(answer, "upstream_busy")
        assert not any(seen.target.endswith("one-too-many") for seen in upstream.seen)
        hold.set()
    eventually(lambda: gateway.ask("GET", "/4/worklogs/1", token=token).status == 200, "a free connection")


EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_who_waits_for_a_connection_is_decided_again_when_it_comes(gateways: Gateways, upstream: ScriptedUpstream, hold: threading.Event) -> None:
    """G3 for one worker. Seen to fail with ``_connect`` (inbound/proxy.py) sending at once, without deciding again."""
    gateway = gateways("hasty")
    upstream.script("held", EVENTS, wait_for(hold), b"0\r\n\r\n")
    ending, lasting = gateway.make("worklogs"), gateway.token("worklogs")
    gateway.await_older_store()
    with ExitStack() as stack:
        for _ in range(4):
            wire = stack.enter_context(gateway.wire())
            wire.send(request("GET", "/4/worklogs/held", token=lasting))
            assert wire.head().status == 200
        first, second = stack.enter_context(gateway.wire()), stack.enter_context(gateway.wire())
        first.send(request("GET", "/4/worklogs/ended", token=ending.secret))
        second.send(request("GET", "/4/worklogs/lasting", token=lasting))
        assert first.is_quiet(0.2)
        gateway.api("DELETE", f"/tokens/{ending.id}")
        hold.set()
        check_refusal(first.answer(), "token_revoked")
        assert second.answer().status == 200
    assert not any(seen.target.endswith("ended") for seen in upstream.seen)


# -- retries


def close_if_used(upstream: ScriptedUpstream) -> Callable[[Peer, Seen], None]:
    """Close without an answer where the connection has served before, as a server does whose idle time has just run out."""

    def script(peer: Peer, seen: Seen) -> None:
        if any(before.connection == peer.number for before in upstream.seen if before is not seen):
            raise EOFError

    return script


def primed(gateway: GatewayProcess, upstream: ScriptedUpstream) -> str:
    """The token of a gateway that has exactly one kept connection."""
    token = gateway.token("worklogs")
    upstream.drop_idle()
    eventually(lambda: upstream.open == 0, "all kept connections to end")
    assert gateway.ask("GET", "/4/worklogs/prime", token=token).status == 200
    return token


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_safe_request_on_a_stale_connection_is_sent_again(method: str, gateways: Gateways, upstream: ScriptedUpstream) -> None:
    gateway = gateways("hasty")
    token = primed(gateway, upstream)
    upstream.script("stale", close_if_used(upstream), PLAIN)
    assert gateway.ask(method, "/4/worklogs/stale", token=token).status == 200
    again = [seen for seen in upstream.seen if seen.target.endswith("stale")]
    assert len(again) == 2
    assert again[0].connection != again[1].connection


@pytest.mark.parametrize(("method", "body"), [("POST", b"x"), ("PUT", b"x"), ("DELETE", None), ("PATCH", b"x"), ("POST", None), ("GET", b"x")])
def test_any_other_request_on_a_stale_connection_is_not(method: str, body: bytes | None, gateways: Gateways, upstream: ScriptedUpstream) -> None:
    gateway = gateways("hasty")
    token = primed(gateway, upstream)
    upstream.script("stale", close_if_used(upstream), PLAIN)
    check_refusal(gateway.ask(method, "/4/worklogs/stale", token=token, body=body), "upstream_invalid")
    assert len([seen for seen in upstream.seen if seen.target.endswith("stale")]) == 1


def test_a_request_is_sent_again_once(gateways: Gateways, upstream: ScriptedUpstream) -> None:
    gateway = gateways("hasty")
    token = primed(gateway, upstream)
    upstream.script("dies", CLOSE)
    check_refusal(gateway.ask("GET", "/4/worklogs/dies", token=token), "upstream_invalid")
    assert len([seen for seen in upstream.seen if seen.target.endswith("dies")]) == 2


def test_a_request_on_a_new_connection_is_not_sent_again(gateways: Gateways, upstream: ScriptedUpstream) -> None:
    gateway = gateways("hasty")
    token = gateway.token("worklogs")
    upstream.drop_idle()
    eventually(lambda: upstream.open == 0, "all kept connections to end")
    upstream.script("dies", CLOSE)
    check_refusal(gateway.ask("GET", "/4/worklogs/dies", token=token), "upstream_invalid")
    assert len([seen for seen in upstream.seen if seen.target.endswith("dies")]) == 1


def test_a_request_is_not_sent_again_once_a_byte_of_an_answer_has_come(gateways: Gateways, upstream: ScriptedUpstream) -> None:
    gateway = gateways("hasty")
    token = primed(gateway, upstream)
    upstream.script("begins", b"H", CLOSE)
    check_refusal(gateway.ask("GET", "/4/worklogs/begins", token=token), "upstream_invalid")
    assert len([seen for seen in upstream.seen if seen.target.endswith("begins")]) == 1


def test_a_kept_connection_that_the_upstream_closed_is_not_used(gateways: Gateways, upstream: ScriptedUpstream) -> None:
    gateway = gateways("hasty")
    token = primed(gateway, upstream)
    upstream.drop_idle()
    eventually(lambda: upstream.open == 0, "all kept connections to end")
    assert gateway.ask("POST", "/4/worklogs/1", token=token, body=b"hello").status == 200


# -- bodies that nobody reads


def test_an_answer_to_a_body_that_the_upstream_will_not_read_reaches_the_client(gateways: Gateways, upstream: ScriptedUpstream) -> None:
    gateway = gateways("hasty")
    upstream.script("refuses", b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig", lambda *_: time.sleep(0.5), READ)
    with gateway.wire() as wire:
        sender = threading.Thread(target=wire.send, args=(request("POST", "/4/worklogs/refuses", token=gateway.token("worklogs"), body=b"x" * 4_000_000),))
        sender.start()
        answer = wire.answer()
        assert (answer.status, answer.body) == (413, b"big")
        sender.join(10)
        assert not sender.is_alive()
    assert gateway.ask("GET", "/4/worklogs/1", token=gateway.token("worklogs")).status == 200


def test_a_client_that_stops_reading_is_let_go(gateways: Gateways, upstream: ScriptedUpstream) -> None:
    gateway = gateways("hasty")
    upstream.script("large", b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n", lambda peer, _seen: peer.send(b"x" * 50_000_000))
    with gateway.wire(receive_buffer=4096) as wire:
        wire.send(request("GET", "/4/worklogs/large", token=gateway.token("worklogs")))
        eventually(lambda: upstream.seen, "the request upstream")
        before = upstream.open
        eventually(lambda: upstream.open < before, "the upstream's side to end, body_idle after the client's last read")


def test_many_clients_at_once_each_get_their_own_answer(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    for number in range(40):
        upstream.script(str(number), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%02d" % number)
    token = gateway.token("worklogs")

    def ask(number: int) -> bool:
        with gateway.wire(timeout=20) as wire:
            for _ in range(5):
                wire.send(request("GET", f"/4/worklogs/{number}", token=token))
                if wire.answer().body != b"%02d" % number:
                    return False
        return True

    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(ask, range(40)))
