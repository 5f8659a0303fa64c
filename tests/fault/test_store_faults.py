"""The embedded store is stopped, killed or emptied (G5): what needs it is 503, what does not goes on, and service is back by itself. All states under
load, on two workers, are in test_store_outages.py."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from tests.harness.gateway import GatewayProcess
from tests.harness.problems import check_refusal
from tests.harness.upstream import ScriptedUpstream
from tests.harness.waiting import eventually
from tests.harness.wire import Wire, request

STORE_TIMEOUT_S = 0.4


@pytest.fixture(scope="module")
def fragile(shared_upstream: ScriptedUpstream) -> Iterator[GatewayProcess]:
    """A gateway whose store is about to be mistreated."""
    with GatewayProcess(shared_upstream.url) as gateway:
        gateway.stop()
        gateway.settings["store"]["timeout"] = f"{STORE_TIMEOUT_S * 1000:.0f}ms"
        gateway.start()
        yield gateway
        assert "Traceback" not in gateway.log()


def served(gateway: GatewayProcess, token: str) -> bool:
    answer = gateway.ask("GET", "/4/worklogs/1", token=token)
    assert answer.status in {200, 503}, answer.body
    return answer.status == 200


def test_a_store_that_hangs_is_503_in_time_and_service_comes_back(fragile: GatewayProcess, upstream: ScriptedUpstream) -> None:
    token = fragile.token("worklogs")
    pid = fragile.store_pid()
    assert pid is not None
    eventually(lambda: served(fragile, token), "service")
    fragile.kill_store(signal.SIGSTOP)
    try:
        eventually(lambda: not served(fragile, token), "the end of the lease")  # until then what is known stays true
        upstream.seen.clear()
        for target in ("/4/worklogs/1", "/4/teams/1", "/5/unmapped"):
            begun = time.monotonic()
            check_refusal(fragile.ask("GET", target, token=token), "store_unavailable")
            assert time.monotonic() - begun < STORE_TIMEOUT_S + 2
        # What needs no store is not touched.
        check_refusal(fragile.ask("GET", "/4/worklogs/1", token=token[:-1]), "token_malformed")
        assert fragile.ask("GET", "/4/status/1").status == 200
        assert fragile.admin("GET", "/readyz")[0] == 503
        assert fragile.admin("GET", "/healthz")[0] == 200
        assert [seen.target for seen in upstream.seen] == ["/4/status/1"]
    finally:
        fragile.kill_store(signal.SIGCONT)
    eventually(lambda: served(fragile, token), "service again", within=5)
    eventually(lambda: fragile.admin("GET", "/readyz")[0] == 200, "readiness again", within=5)


def test_a_rate_limited_route_is_503_too(fragile: GatewayProcess, upstream: ScriptedUpstream) -> None:
    token = fragile.make("worklogs").secret
    fragile.kill_store(signal.SIGSTOP)
    try:
        check_refusal(fragile.ask("GET", "/4/limited/1", token=token), "store_unavailable")
        check_refusal(fragile.ask("GET", "/4/limited-status"), "store_unavailable")
        assert upstream.seen == []
    finally:
        fragile.kill_store(signal.SIGCONT)
    eventually(lambda: served(fragile, token), "service again", within=5)


def test_a_killed_store_is_started_again_and_knows_its_tokens(fragile: GatewayProcess, upstream: ScriptedUpstream) -> None:
    token, ended = fragile.make("worklogs").secret, fragile.make("worklogs")
    fragile.api("DELETE", f"/tokens/{ended.id}")
    pid = fragile.store_pid()
    fragile.kill_store(signal.SIGKILL)
    eventually(lambda: served(fragile, token), "service again", within=10)
    assert fragile.store_pid() != pid
    check_refusal(fragile.ask("GET", "/4/worklogs/1", token=ended.secret), "token_revoked")


def test_no_request_in_a_storm_gets_through_unchecked_while_the_store_comes_and_goes(fragile: GatewayProcess, upstream: ScriptedUpstream) -> None:
    good, foreign = fragile.token("worklogs"), fragile.token("teams")
    eventually(lambda: served(fragile, good), "service")
    upstream.seen.clear()
    statuses: set[int] = set()

    def ask_foreign(wire: Wire) -> int:
        wire.send(request("GET", "/4/worklogs/foreign", token=foreign))
        status = wire.answer().status
        statuses.add(status)
        return status

    for round_ in range(3):
        if round_ == 1:
            fragile.kill_store(signal.SIGSTOP)
        if round_ == 2:
            fragile.kill_store(signal.SIGCONT)
        with fragile.wire() as wire:
            for _ in range(5):
                ask_foreign(wire)
            if round_ == 1:
                eventually(lambda wire=wire: ask_foreign(wire) == 503, "the end of the lease")
                for _ in range(5):
                    assert ask_foreign(wire) == 503
    assert statuses == {403, 503}
    assert upstream.seen == []
    eventually(lambda: served(fragile, good), "service", within=5)


def test_an_open_stream_survives_a_store_that_hangs_for_a_moment(fragile: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.script(
        "stream", b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n", lambda *_: time.sleep(3), b"0\r\n\r\n"
    )
    eventually(lambda: served(fragile, fragile.token("worklogs")), "service")
    with fragile.wire() as wire:
        wire.send(request("GET", "/4/worklogs/stream", token=fragile.token("worklogs")))
        answer = wire.head()
        assert answer.status == 200
        fragile.kill_store(signal.SIGSTOP)
        try:
            assert wire.is_quiet(1.5)
        finally:
            fragile.kill_store(signal.SIGCONT)
        assert wire.until(b"0\r\n\r\n")


def test_an_emptied_store_is_503_and_never_an_unknown_token(shared_upstream: ScriptedUpstream, upstream: ScriptedUpstream) -> None:
    with GatewayProcess(shared_upstream.url) as gateway:
        token = gateway.token("worklogs")
        assert gateway.ask("GET", "/4/worklogs/1", token=token).status == 200
        with gateway.store() as store:
            store.flushall()
        for _ in range(3):
            check_refusal(gateway.ask("GET", "/4/worklogs/1", token=token), "store_unavailable")
        assert gateway.admin("GET", "/readyz")[0] == 503
        assert len(upstream.seen) == 1
        # After a restart too: it says what to do, and does not start.
        gateway.stop()
        assert gateway.launch().wait() == 2
        last = gateway.log().strip().splitlines()[-1]
        assert last.startswith("scopegate: ")
        assert "store adopt" in last
        done = gateway.cli("store", "adopt")
        assert done.returncode == 0, done.stderr
        gateway.start()
        check_refusal(gateway.ask("GET", "/4/worklogs/1", token=token), "token_unknown")
        assert "Traceback" not in gateway.log()
