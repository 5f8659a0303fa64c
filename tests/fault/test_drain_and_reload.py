"""SIGTERM lets what is in flight finish (G10). SIGHUP swaps the policy whole or not at all (G1)."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.harness.gateway import POLICY, GatewayProcess
from tests.harness.problems import check_refusal
from tests.harness.upstream import READ, ScriptedUpstream
from tests.harness.waiting import eventually
from tests.harness.wire import request


def no_longer_listens(gateway: GatewayProcess) -> bool:
    try:
        with gateway.wire(timeout=2):
            return False
    except OSError:
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_in_flight_finishes_and_then_it_exits_0(number: signal.Signals, own: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Seen to fail with the wait for busy connections taken out of ``DataPlane.drain``."""
    go = threading.Event()
    upstream.script("slow", lambda _peer, _seen: go.wait(15), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    upstream.script("upload", READ, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nup")
    token = own.token("worklogs")
    with own.wire() as waiting, own.wire() as uploading, own.wire() as kept, own.wire() as idle:
        waiting.send(request("GET", "/4/worklogs/slow", token=token))
        uploading.send(request("POST", "/4/worklogs/upload", "Content-Length: 10", token=token), b"hello")
        for wire in (kept, idle):
            wire.send(request("GET", "/4/worklogs/1", token=token))
            assert wire.answer().status == 200
        eventually(lambda: len(upstream.seen) == 4, "four requests upstream")
        own.tell(number)
        eventually(lambda: no_longer_listens(own), "the port to close")
        # A kept connection may still ask, is answered, and told that this was the last time.
        kept.send(request("GET", "/4/worklogs/last", token=token))
        last = kept.answer()
        assert (last.status, last.one("connection")) == (200, "close")
        assert kept.wait_closed() == b""
        go.set()
        uploading.send(b"world")
        answer = waiting.answer()
        assert (answer.status, answer.body) == (200, b"hi")
        assert waiting.wait_closed() == b""
        assert uploading.answer().body == b"up"
        assert idle.wait_closed() == b""
        assert not idle.reset
    assert own.wait() == 0
    eventually(lambda: own.store_pid() is None, "the store to end")


def test_an_event_stream_is_cut_at_the_end_of_the_drain_time(shared_upstream: ScriptedUpstream, upstream: ScriptedUpstream) -> None:
    upstream.script("stream", b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n", lambda *_: time.sleep(10))
    with GatewayProcess(shared_upstream.url, settings={"drain_timeout": "500ms"}) as gateway, gateway.wire() as wire:
        wire.send(request("GET", "/4/worklogs/stream", token=gateway.token("worklogs")))
        assert wire.head().status == 200
        gateway.tell(signal.SIGTERM)
        assert not wire.wait_closed().endswith(b"0\r\n\r\n")
        assert gateway.wait(8) == 0


def test_the_log_of_the_last_requests_is_written_before_the_end(own: GatewayProcess, upstream: ScriptedUpstream) -> None:
    token = own.make("worklogs")
    with own.wire() as wire:
        for number in range(50):
            wire.send(request("GET", f"/4/worklogs/{number}", token=token.secret))
        for _ in range(50):
            assert wire.answer().status == 200
    assert own.stop() == 0
    assert len([line for line in own.access_lines() if line.get("token_id") == token.id]) == 50


# -- reload

PLANS = POLICY.replace("  accounts: {title: Accounts}\n", "  accounts: {title: Accounts}\n  plans: {title: Plans}\n").replace(
    "routes:\n", 'routes:\n  - {path: "/4/plans/**", scope: plans}\n'
)


class Prober(threading.Thread):
    """Asks for one thing again and again, and keeps what was answered."""

    def __init__(self, gateway: GatewayProcess, token: str) -> None:
        super().__init__(daemon=True)
        self.answers: list[int] = []
        self.done = threading.Event()
        self._gateway = gateway
        self._token = token

    def run(self) -> None:
        with self._gateway.wire() as wire:
            while not self.done.is_set():
                wire.send(request("GET", "/4/worklogs/1", token=self._token))
                self.answers.append(wire.answer().status)


@contextmanager
def probed(gateway: GatewayProcess) -> Iterator[Prober]:
    """The gateway while requests come all the time; each must be answered 200."""
    prober = Prober(gateway, gateway.token("worklogs"))
    prober.start()
    eventually(lambda: len(prober.answers) > 10, "requests")
    try:
        yield prober
        seen = len(prober.answers)
        eventually(lambda: len(prober.answers) > seen + 10, "requests to go on")
    finally:
        prober.done.set()
        prober.join(10)
    assert set(prober.answers) == {200}


def test_a_good_policy_is_swapped_in_under_requests(own: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with probed(own):
        token = own.token("teams")
        assert own.ask("GET", "/4/plans/1", token=token).code == "route_unmapped"
        own.policy_file.write_text(PLANS)
        own.tell(signal.SIGHUP)
        eventually(lambda: own.ask("GET", "/4/plans/1", token=token).code == "scope_missing", "the new policy")
        assert own.ask("GET", "/4/plans/1", token=own.make("plans").secret).status == 200
        own.policy_file.write_text(POLICY)
        own.tell(signal.SIGHUP)
        eventually(lambda: own.ask("GET", "/4/plans/1", token=token).code == "route_unmapped", "the old policy")


@pytest.mark.parametrize(
    "broken",
    [
        "version: 1\nroutes: [",
        PLANS.replace("scope: plans", "scope: plnas"),
        PLANS + "colour: red\n",
        PLANS + "tests:\n  - {request: GET /4/plans/1, grants: [worklogs], expect: allow}\n",
        PLANS.replace("scope: plans", "scope: plans, upstream: elsewhere"),
        "",
        None,
    ],
    ids=["not YAML", "an unknown scope", "an unknown key", "fails its tests", "an unknown upstream", "empty", "gone"],
)
def test_a_policy_that_does_not_load_changes_nothing(broken: str | None, own: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """G1. Seen to fail with the ``return`` after a fault in ``Rollout.begin`` (processes/rollout.py) replaced by another policy."""
    with probed(own):
        before = len(own.log().splitlines())
        if broken is None:
            own.policy_file.unlink()
        else:
            own.policy_file.write_text(broken)
        own.tell(signal.SIGHUP)
        own.wait_log("policy not reloaded")
        told = [line for line in own.log().splitlines()[before:] if "policy not reloaded" in line]
        assert all("the one before stays" in line and str(own.policy_file) in line for line in told)
        assert own.ask("GET", "/4/plans/1", token=own.token("teams")).code == "route_unmapped"
        assert own.ask("GET", "/4/teams/1", token=own.token("teams")).status == 200
        check_refusal(own.ask("GET", "/4/worklogs/hidden", token=own.token("worklogs")), "route_unmapped")
        assert own.metric("scopegate_policy_reloads_refused_total") == 1
        # And a good one afterwards is taken.
        own.policy_file.write_text(PLANS)
        own.tell(signal.SIGHUP)
        eventually(lambda: own.ask("GET", "/4/plans/1", token=own.token("teams")).code == "scope_missing", "the good policy")


def test_a_pipe_in_place_of_the_policy_holds_nothing_up(own: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Seen to fail with any file opened: the supervisor waited for a writer, and heeded neither SIGTERM nor the end of a worker."""
    own.policy_file.unlink()
    os.mkfifo(own.policy_file)
    own.tell(signal.SIGHUP)
    own.wait_log("this is a pipe")
    assert own.ask("GET", "/4/worklogs/1", token=own.token("worklogs")).status == 200
    assert own.stop() == 0


def test_killed_and_started_again_it_knows_what_was_answered(own: GatewayProcess, upstream: ScriptedUpstream) -> None:
    kept, revoked = own.make("worklogs"), own.make("worklogs")
    own.api("DELETE", f"/tokens/{revoked.id}")
    new = own.api("POST", f"/tokens/{kept.id}/regenerate", {})["secret"]
    assert own.process is not None
    own.process.kill()
    own.process.wait(10)
    own.kill_store()
    own.start()
    assert own.ask("GET", "/4/worklogs/1", token=new).status == 200
    check_refusal(own.ask("GET", "/4/worklogs/1", token=kept.secret), "token_regenerated")
    check_refusal(own.ask("GET", "/4/worklogs/1", token=revoked.secret), "token_revoked")
