"""The edge's limits, each exactly at it and one over, and its times, with short ones configured."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.gateway import GatewayProcess
from tests.harness.problems import check_refusal
from tests.harness.upstream import ScriptedUpstream
from tests.harness.wire import request

LIMITS = {"request_line": "512B", "head": "2KiB", "headers": 10, "body": "4KiB", "header_timeout": "700ms", "body_idle": "700ms", "keepalive": "900ms"}


@pytest.fixture(scope="module")
def tight(shared_upstream: ScriptedUpstream) -> Iterator[GatewayProcess]:
    """A gateway with small limits and short times."""
    with GatewayProcess(shared_upstream.url, settings={"limits": LIMITS}) as gateway:
        yield gateway
        assert "Traceback" not in gateway.log()


def padded_line(length: int) -> str:
    """A target that makes a GET's request line so many bytes long, without its line end."""
    start = "/4/worklogs/"
    return start + "a" * (length - len(f"GET {start} HTTP/1.1"))


@pytest.mark.parametrize("cut", [False, True])
def test_a_request_line_at_its_limit_passes_and_one_byte_more_is_414(tight: GatewayProcess, upstream: ScriptedUpstream, cut: bool) -> None:
    token = tight.token("worklogs")
    assert tight.ask("GET", padded_line(512), token=token).status == 200
    del upstream.seen[:]
    data = request("GET", padded_line(513), token=token)
    with tight.wire() as wire:
        wire.send(data[:100] if cut else data)
        wire.send(data[100:] if cut else b"")
        answer = wire.answer()
        check_refusal(answer, "uri_too_long")
        assert answer.one("connection") == "close"
        assert wire.wait_closed() == b""
    assert upstream.seen == []


def test_an_endless_request_line_is_414(tight: GatewayProcess) -> None:
    with tight.wire() as wire:
        wire.send(b"GET /" + b"a" * 100_000)
        check_refusal(wire.answer(), "uri_too_long")
        assert wire.wait_closed() == b""


@pytest.mark.parametrize("pieces", [1, 7])
def test_a_head_at_its_limit_passes_and_one_byte_more_is_431(tight: GatewayProcess, upstream: ScriptedUpstream, pieces: int) -> None:
    token = tight.token("worklogs")
    for length, fits in ((2048, True), (2049, False)):
        bare = len(request("GET", "/4/worklogs/1", "X-Pad: ", token=token))
        data = request("GET", "/4/worklogs/1", "X-Pad: " + "a" * (length - bare), token=token)
        assert len(data) == length
        del upstream.seen[:]
        with tight.wire() as wire:
            step = -(-length // pieces)
            for at in range(0, length, step):
                wire.send(data[at : at + step])
            answer = wire.answer()
            if fits:
                assert answer.status == 200
            else:
                check_refusal(answer, "headers_too_large")
                assert wire.wait_closed() == b""
        assert len(upstream.seen) == fits


def test_an_endless_head_is_431(tight: GatewayProcess) -> None:
    with tight.wire() as wire:
        wire.send(b"GET /4/worklogs/1 HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100_000)
        check_refusal(wire.answer(), "headers_too_large")


def test_as_many_fields_as_allowed_pass_and_one_more_is_431(tight: GatewayProcess, upstream: ScriptedUpstream) -> None:
    token = tight.token("worklogs")
    assert tight.ask("GET", "/4/worklogs/1", *(f"X-{number}: v" for number in range(8)), token=token).status == 200
    check_refusal(tight.ask("GET", "/4/worklogs/1", *(f"X-{number}: v" for number in range(9)), token=token), "headers_too_large")
    assert len(upstream.seen) == 1


@pytest.mark.parametrize("form", ["length", "chunks"])
def test_a_body_at_its_limit_passes_and_one_byte_more_is_413(tight: GatewayProcess, upstream: ScriptedUpstream, form: str) -> None:
    token = tight.token("worklogs")
    for length, fits in ((4096, True), (4097, False)):
        body = b"b" * length
        with tight.wire() as wire:
            if form == "length":
                wire.send(request("POST", "/4/worklogs", token=token, body=body))
            else:
                wire.send(request("POST", "/4/worklogs", "Transfer-Encoding: chunked", token=token))
                wire.send(b"".join(b"%x\r\n%s\r\n" % (len(body[at : at + 1000]), body[at : at + 1000]) for at in range(0, length, 1000)) + b"0\r\n\r\n")
            answer = wire.answer()
        if fits:
            assert answer.status == 200
        else:
            check_refusal(answer, "body_too_large")
        assert [len(seen.body) for seen in upstream.seen if seen.complete] == [4096]


def test_a_route_sets_its_own_body_limit(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    token = gateway.token("worklogs")
    assert gateway.ask("POST", "/4/small/x", token=token, body=b"b" * 1024).status == 200
    check_refusal(gateway.ask("POST", "/4/small/x", token=token, body=b"b" * 1025), "body_too_large")
    assert len(upstream.seen) == 1


def test_the_size_of_a_body_is_judged_after_the_grant(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    check_refusal(gateway.ask("POST", "/4/small/x", token=gateway.token("teams"), body=b"b" * 1025), "scope_missing")
    check_refusal(gateway.ask("POST", "/4/small/x", body=b"b" * 1025), "token_missing")
    assert upstream.seen == []


def test_the_size_of_the_head_is_judged_before_the_token(tight: GatewayProcess) -> None:
    check_refusal(tight.ask("GET", padded_line(600)), "uri_too_long")


# -- times


def test_a_head_that_does_not_arrive_is_408_however_it_drips(tight: GatewayProcess) -> None:
    with tight.wire() as wire:
        wire.send(b"G")
        while wire.is_quiet(0.05):
            wire.send(b"E")
        answer = wire.answer()
        check_refusal(answer, "request_timeout")
        assert answer.one("connection") == "close"
        wire.wait_closed()


def test_a_head_that_stops_is_408_on_a_kept_connection_too(tight: GatewayProcess) -> None:
    with tight.wire() as wire:
        wire.send(request("GET", "/4/worklogs/1", token=tight.token("worklogs")))
        assert wire.answer().status == 200
        wire.send(b"GET /4/worklogs/1 HTTP/1.1\r\nHost: a\r\n")
        check_refusal(wire.answer(), "request_timeout")


@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_a_body_that_stops_is_408_and_the_upstream_never_sees_it_whole(tight: GatewayProcess, upstream: ScriptedUpstream, framing: str) -> None:
    with tight.wire() as wire:
        wire.send(request("POST", "/4/worklogs", framing, token=tight.token("worklogs")), b"5\r\nhello\r\n")
        check_refusal(wire.answer(), "request_timeout")
        assert wire.wait_closed() == b""
    assert [seen.complete for seen in upstream.seen] in ([], [False])


def test_a_slow_body_that_goes_on_arriving_passes(tight: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with tight.wire() as wire:
        wire.send(request("POST", "/4/worklogs", "Content-Length: 6", token=tight.token("worklogs")))
        for _ in range(6):
            assert wire.is_quiet(0.25)  # longer in all than body_idle
            wire.send(b"x")
        assert wire.answer().status == 200
    assert upstream.seen[0].body == b"xxxxxx"


def test_an_idle_connection_is_closed_without_a_word(tight: GatewayProcess) -> None:
    with tight.wire() as wire:
        wire.send(request("GET", "/4/worklogs/1", token=tight.token("worklogs")))
        assert wire.answer().status == 200
        assert wire.wait_closed() == b""
        assert not wire.reset


def test_a_connection_that_never_says_anything_is_closed_without_a_word(tight: GatewayProcess) -> None:
    with tight.wire() as wire:
        assert wire.wait_closed() == b""
