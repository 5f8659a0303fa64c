"""Expect: 100-continue (RFC 9110 section 10.1.1) has one owner, the upstream."""

from __future__ import annotations

import threading

from tests.harness.gateway import GatewayProcess
from tests.harness.problems import check_refusal
from tests.harness.upstream import CLOSE, PLAIN, READ, ScriptedUpstream
from tests.harness.wire import request

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def test_the_client_gets_one_100_and_only_after_the_upstreams(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    willing = threading.Event()
    upstream.script("expects", lambda _peer, _seen: willing.wait(10) and None, CONTINUE, READ, PLAIN)
    with gateway.wire() as wire:
        wire.send(request("POST", "/4/worklogs/expects", "Expect: 100-continue", "Content-Length: 5", token=gateway.token("worklogs")))
        assert wire.is_quiet(0.3)
        willing.set()
        assert wire.head().status == 100
        wire.send(b"hello")
        answer = wire.answer()
        assert (answer.status, answer.interim) == (200, [])
        wire.send(request("GET", "/4/worklogs/after", token=gateway.token("worklogs")))
        assert wire.answer().status == 200
    assert (upstream.seen[0].body, upstream.seen[0].one("expect")) == (b"hello", "100-continue")


def test_a_final_answer_in_place_of_100_reaches_the_client_and_the_body_is_not_awaited(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    final = b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno"
    upstream.script("unwilling", final, READ, CLOSE)
    before = upstream.connections
    with gateway.wire() as wire:
        wire.send(request("POST", "/4/worklogs/unwilling", "Expect: 100-continue", "Content-Length: 5", token=gateway.token("worklogs")))
        answer = wire.answer()
        assert (answer.status, answer.body, answer.interim) == (417, b"no", [])
        # What comes next may be the body or a request: the connection can't go on.
        assert answer.one("connection") == "close"
        wire.send(request("GET", "/4/worklogs/1", token=gateway.token("worklogs")))
        wire.wait_closed()
    assert gateway.ask("GET", "/4/worklogs/clean", token=gateway.token("worklogs")).status == 200
    assert [seen.target for seen in upstream.seen] == ["/4/worklogs/unwilling", "/4/worklogs/clean"]
    assert upstream.connections >= before


def test_a_refused_request_with_expect_gets_no_100(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with gateway.wire() as wire:
        wire.send(request("POST", "/4/teams/1", "Expect: 100-continue", "Content-Length: 5", token=gateway.token("worklogs")))
        answer = wire.answer()
        check_refusal(answer, "scope_missing")
        assert answer.interim == []
    assert upstream.seen == []


def test_an_upstream_that_answers_without_a_100_still_gets_the_body(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with gateway.wire() as wire:
        wire.send(request("POST", "/4/worklogs/x", "Expect: 100-continue", "Content-Length: 5", token=gateway.token("worklogs")), b"hello")
        assert wire.answer().status == 200
    assert upstream.seen[0].body == b"hello"


def test_an_http_1_0_client_gets_no_100_and_no_other_interim_answer(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.script("hints", CONTINUE, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    with gateway.wire() as wire:
        wire.send(request("POST", "/4/worklogs/hints", "Expect: 100-continue", token=gateway.token("worklogs"), body=b"hello", version="1.0"))
        answer = wire.answer()
        assert (answer.status, answer.interim) == (200, [])
    assert upstream.seen[0].one("expect") is None


def test_another_expectation_does_not_go_up_as_100_continue(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    answer = gateway.ask("POST", "/4/worklogs/x", "Expect: the-unexpected", token=gateway.token("worklogs"), body=b"hello")
    assert answer.status in {200, 417}
    assert all(seen.one("expect") in {None, "the-unexpected"} for seen in upstream.seen)
