"""Who takes nothing, or too much at once, takes nothing away from others: each was found by attacking the running product."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.harness.gateway import POLICY, GatewayProcess
from tests.harness.problems import check_refusal
from tests.harness.upstream import Peer, ScriptedUpstream, Seen
from tests.harness.waiting import eventually
from tests.harness.wire import Wire, request

MEGABYTE = b"x" * (1 << 20)


def takes_little(peer: Peer, _seen: Seen) -> None:
    """The kernel would take tens of megabytes for a program that reads nothing."""
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)


def send_until_it_ends(wire: Wire, token: str) -> None:
    with contextlib.suppress(OSError):
        wire.send(request("POST", "/4/worklogs/stalls", "Content-Length: 524288000", token=token))
        while True:
            wire.socket.sendall(MEGABYTE)


def test_uploads_to_an_upstream_that_does_not_read_end_and_give_their_connections_back(upstream: ScriptedUpstream) -> None:
    """Seen to fail with the deadline of on_upstream_full (inbound/proxy.py) taken out."""
    freed = threading.Event()
    upstream.script("stalls", takes_little, lambda _peer, _seen: freed.wait(60) and None)
    with GatewayProcess(
        upstream.url, settings={"limits": {"body": "1024MiB"}}, upstream={"max_connections": 2, "timeouts": {"connect": "1s", "response": "2s", "idle": "1s"}}
    ) as own:
        token = own.token("worklogs")
        wires = [own.wire() for _ in range(2)]
        senders = [threading.Thread(target=send_until_it_ends, args=(wire, token), daemon=True) for wire in wires]
        try:
            for sender in senders:
                sender.start()
            eventually(lambda: own.ask("GET", "/4/worklogs/1", token=token).status == 200, "a place in the pool is free again", 40)
            check_refusal(wires[0].answer(), "upstream_timeout")
        finally:
            freed.set()
            for wire in wires:
                wire.close()
            for sender in senders:
                sender.join(20)


def test_of_two_reloads_close_together_the_newer_file_stays(upstream: ScriptedUpstream) -> None:
    """Seen to fail with reloads started side by side."""
    with GatewayProcess(upstream.url) as own:
        many = "".join(f'  - {{path: "/4/many/{number}/x", scope: teams}}\n' for number in range(4000))
        own.policy_file.write_text(POLICY + many)
        own.tell(signal.SIGHUP)
        newer = own.policy_file.with_suffix(".new")
        newer.write_text(POLICY.replace("/4/teams/**", "/4/crews/**"))
        newer.rename(own.policy_file)
        own.tell(signal.SIGHUP)
        token = own.token("teams")
        eventually(
            lambda: own.metric("scopegate_policy_reloads_total") >= 1 and own.ask("GET", "/4/crews/1", token=token).status == 200, "the newer policy", 20
        )
        for _ in range(20):
            assert own.ask("GET", "/4/crews/1", token=token).status == 200
            check_refusal(own.ask("GET", "/4/many/7/x", token=token), "route_unmapped")


def test_a_pipelined_burst_leaves_others_their_turn(gateway: GatewayProcess) -> None:
    """The burst's answers are counted when another's request is answered: it came later, and must not wait for all of them.

    Seen to fail without STEPS_A_TURN (inbound/connection.py)."""
    count = 8000
    with gateway.wire() as burst, gateway.wire() as other:
        burst.socket.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n" * count)
        other.send(b"GET /.scopegate/healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert other.answer().status == 200
        other.send(b"GET /.scopegate/healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert other.answer().status == 200
        burst.socket.setblocking(False)
        got = b""
        try:
            while piece := burst.socket.recv(1 << 20):
                got += piece
        except BlockingIOError:
            pass
        assert got.count(b"HTTP/1.1 401") < count
        burst.socket.settimeout(30)
        while got.count(b"HTTP/1.1 401") < count:
            piece = burst.socket.recv(1 << 20)
            assert piece
            got += piece


def test_a_log_that_nobody_reads_keeps_the_gateway_neither_from_serving_nor_from_ending(upstream: ScriptedUpstream) -> None:
    """Seen to fail with the lines written in the loop's own pool of threads, which is joined at the end."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 65536)
    except BlockingIOError:
        pass
    os.set_blocking(writer, True)
    own = GatewayProcess(upstream.url, settings={"access_log": f"/proc/{os.getpid()}/fd/{writer}", "drain_timeout": "2s"})
    try:
        with own:
            token = own.token("worklogs")
            for _ in range(50):
                assert own.ask("GET", "/4/worklogs/1", token=token).status == 200
            own.tell(signal.SIGTERM)
            assert own.wait(15) == 0
    finally:
        os.close(reader)
        os.close(writer)


def test_a_store_that_was_emptied_is_told_once_and_told_when_it_is_good_again(own: GatewayProcess) -> None:
    token = own.token("worklogs")
    meta = own.store().get("sg:meta")
    own.store().delete("sg:meta")
    own.wait_log("was emptied: it has lost the id")
    check_refusal(own.ask("GET", "/4/worklogs/1", token=token), "store_unavailable")
    assert meta is not None
    own.store().set("sg:meta", meta)
    own.wait_log("the store can be used again")
    assert own.log().count("was emptied") == 1
    assert own.ask("GET", "/4/worklogs/1", token=token).status == 200


def test_an_upstream_that_is_not_there_is_told_once() -> None:
    with GatewayProcess("http://127.0.0.1:1") as own:  # nothing listens there
        token = own.token("worklogs")
        for _ in range(3):
            check_refusal(own.ask("GET", "/4/worklogs/1", token=token), "upstream_unreachable")
        told = [line for line in own.log().splitlines() if "ERROR upstream api at" in line]
        assert len(told) == 1
        assert "Check that it runs, and upstreams.api.url." in told[0]


@pytest.mark.parametrize("target", ["/dev/full"])
def test_a_listing_that_can_not_be_written_is_told_in_one_line(own: GatewayProcess, target: str) -> None:
    own.token("worklogs")
    with Path(target).open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "token", "list", "-c", own.config_file],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
            env=own.environ,
        )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "can't be written" in done.stderr
