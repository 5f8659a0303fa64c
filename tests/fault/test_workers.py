"""The processes: one that dies is replaced, a policy is used by all or by none, counts add up, a start that fails says why."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.gateway import ADMIN_KEY, POLICY, GatewayProcess, NotReady, free_port
from tests.harness.processes import Gate, alive, hashes, ready, stop
from tests.harness.upstream import ScriptedUpstream
from tests.harness.waiting import eventually
from tests.harness.wire import Wire, request

NARROW = POLICY.replace('  - {path: "/4/accounts/**", scope: accounts}\n', "")


# -- a process dies


def test_a_killed_worker_is_replaced_and_its_queue_is_answered(started: Callable[..., GatewayProcess]) -> None:
    gateway = started(workers=1)
    (worker,) = gateway.workers()
    stop(worker)
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(gateway.wire(timeout=20)) for _ in range(8)]
        for wire in wires:
            wire.send(request("GET", "/4/status/1"))
        os.kill(worker, signal.SIGKILL)
        assert [wire.answer().status for wire in wires] == [200] * 8
    assert worker not in gateway.workers()
    assert gateway.metric("scopegate_worker_restarts_total") == 1
    gateway.wait_log("worker 0 was ended by SIGKILL: another takes its place")


def test_a_killed_worker_is_replaced_within_a_second(started: Callable[..., GatewayProcess]) -> None:
    """Once of three times: a busy machine is no fault of the gateway. Seen to fail with a pause before every start (``_ended`` of processes/supervisor.py)."""
    gateway = started(workers=1)
    took_s = []
    for _ in range(3):
        (worker,) = gateway.workers()
        os.kill(worker, signal.SIGKILL)
        begun = time.monotonic()
        assert gateway.ask("GET", "/4/status/1").status == 200
        took_s.append(time.monotonic() - begun)
        assert worker not in gateway.workers()
    assert min(took_s) < 1.0, took_s


def test_a_killed_management_process_is_replaced_and_its_queue_is_answered(started: Callable[..., GatewayProcess]) -> None:
    gateway = started()
    (management,) = gateway.management()
    workers = gateway.workers()
    assert gateway.metric("scopegate_management_requests_total") >= 1
    before = gateway.metric("scopegate_management_requests_total")
    eventually(lambda: gateway.metric("scopegate_management_requests_total") > before, "a count")
    stop(management)
    with socket.create_connection(("127.0.0.1", gateway.admin_port), 20) as client:
        client.sendall(f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{gateway.admin_port}\r\nConnection: close\r\n\r\n".encode())
        os.kill(management, signal.SIGKILL)
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    assert gateway.workers() == workers
    assert gateway.metric("scopegate_worker_restarts_total") == 1


def test_a_worker_told_to_end_by_a_signal_finishes_and_is_replaced(started: Callable[..., GatewayProcess], gate: Gate) -> None:
    """Seen to fail with a drain that waits for a tenth of a second only (inbound/plane.py)."""
    gateway = started(workers=1)
    (worker,) = gateway.workers()
    with gateway.wire() as wire:
        wire.send(request("GET", "/4/status/gate"))
        assert gate.come.acquire(timeout=10)
        os.kill(worker, signal.SIGTERM)
        assert wire.is_quiet(0.7)  # neither answered nor cut
        gate.opened.set()
        assert wire.answer().status == 200
    eventually(lambda: gateway.workers() not in ([], [worker]), "another worker")
    assert gateway.ask("GET", "/4/status/1").status == 200


def test_a_worker_that_dies_again_and_again_is_started_more_slowly(started: Callable[..., GatewayProcess]) -> None:
    gateway = started(workers=1)
    killed: set[int] = set()
    for _ in range(6):
        (worker,) = eventually(lambda: [pid for pid in gateway.workers() if pid not in killed], "a new worker")
        killed.add(worker)
        os.kill(worker, signal.SIGKILL)
    gateway.wait_log("in a second, since this happens again and again")
    assert gateway.ask("GET", "/4/status/1").status == 200


def test_the_embedded_store_is_started_again_when_it_dies(started: Callable[..., GatewayProcess]) -> None:
    gateway = started(workers=1)
    token = gateway.token("worklogs")
    gateway.kill_store()
    eventually(lambda: gateway.ask("GET", "/4/worklogs/1", token=token).status == 200, "an answer")
    gateway.wait_log("the embedded store had died and was started again")
    assert gateway.store_pid() in gateway.children()


def test_a_child_of_others_is_reaped(upstream: ScriptedUpstream) -> None:
    gateway = GatewayProcess(upstream.url)
    try:
        gateway.config_file.write_text(json.dumps(gateway.settings))
        # As process 1 of a container inherits whatever loses its parent: here a child that the shell has made before.
        command = ["/bin/sh", "-c", 'sleep 0.05 & exec "$0" -m gateway serve -c "$1"', sys.executable, str(gateway.config_file)]
        with gateway.log_file.open("ab") as log:
            gateway.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=gateway.folder, env=gateway.environ)
        eventually(lambda: ready(gateway), "a gateway", 30)
        assert all(alive(pid) for pid in gateway.children())
        assert gateway.stop() == 0
    finally:
        gateway.close()


# -- reload


def test_a_policy_that_all_can_use_is_used_by_all(started: Callable[..., GatewayProcess]) -> None:
    gateway = started()
    token = gateway.token("accounts")
    (before,) = set(hashes(gateway))
    gateway.policy_file.write_text(NARROW)
    gateway.tell(signal.SIGHUP)
    gateway.wait_log("policy reloaded: ")
    after = hashes(gateway)
    assert len(after) == 2
    assert len(set(after)) == 1
    assert before not in after
    assert {gateway.ask("GET", "/4/accounts/1", token=token).code for _ in range(20)} == {"route_unmapped"}
    assert gateway.metric("scopegate_policy_reloads_total") == 1


def test_a_broken_policy_changes_nothing_and_is_told_once(started: Callable[..., GatewayProcess]) -> None:
    gateway = started()
    before = hashes(gateway)
    gateway.policy_file.write_text(POLICY + "surprise: 1\n")
    gateway.tell(signal.SIGHUP)
    gateway.wait_log("policy not reloaded, the one before stays: ")
    gateway.policy_file.unlink()
    gateway.tell(signal.SIGHUP)
    gateway.wait_log("there is no such file")
    gateway.policy_file.write_text(POLICY)
    gateway.tell(signal.SIGHUP)
    gateway.wait_log("policy reloaded: ")
    assert gateway.log().count("policy not reloaded") == 2
    assert hashes(gateway) == before
    assert gateway.metric("scopegate_policy_reloads_refused_total") == 2
    assert gateway.metric("scopegate_policy_reloads_total") == 1


def test_nobody_uses_a_policy_before_all_can(started: Callable[..., GatewayProcess]) -> None:
    """Seen to fail with the second step begun at the first answer (``_answered`` of processes/rollout.py)."""
    gateway = started()
    before = hashes(gateway)
    first, second = gateway.workers()
    stop(second)
    gateway.policy_file.write_text(NARROW)
    gateway.tell(signal.SIGHUP)
    # The other worker has long answered by then; the first step is not over.
    eventually(lambda: "worker 1 is not up" in gateway.admin("GET", "/readyz")[2].decode(), "a worker that is missed", 15)
    assert hashes(gateway) == before
    os.kill(second, signal.SIGKILL)  # whoever takes its place can
    gateway.wait_log("policy reloaded: ")
    assert first in gateway.workers()
    after = hashes(gateway)
    assert len(set(after)) == 1
    assert after != before


def test_a_worker_comes_back_with_the_policy_in_force_whatever_the_file_holds(started: Callable[..., GatewayProcess]) -> None:
    gateway = started(workers=1)
    token = gateway.token("accounts")
    before = hashes(gateway)
    gateway.policy_file.write_text("version: 1\nscopes: {")
    (worker,) = gateway.workers()
    os.kill(worker, signal.SIGKILL)
    assert gateway.ask("GET", "/4/accounts/1", token=token).status == 200
    eventually(lambda: ready(gateway), "a worker")
    assert hashes(gateway) == before


# -- the start


def test_a_port_that_another_program_shares_is_refused(upstream: ScriptedUpstream) -> None:
    """Seen to fail with a probe that shares the port too (``listen_shared`` of processes/listening.py)."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        gateway = GatewayProcess(upstream.url, settings={"workers": 2, "listen": f"127.0.0.1:{other.getsockname()[1]}"})
        try:
            assert gateway.launch().wait() == 2
            assert gateway.log() == f"scopegate: 127.0.0.1:{other.getsockname()[1]} is in use by another program: stop it, or set another listen\n"
            assert not gateway.data_dir.exists() or gateway.store_pid() is None
        finally:
            gateway.close()


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"access_log": "./no/such/folder/access.log"}, "no/such/folder/access.log can't be written (No such file or directory)"),
        ({"store": {"url": "redis://127.0.0.1:1"}}, "cannot be reached: nothing listens there"),
    ],
)
def test_what_cannot_start_says_why_in_one_line_and_leaves_nothing(upstream: ScriptedUpstream, settings: dict[str, object], line: str) -> None:
    gateway = GatewayProcess(upstream.url, settings={"workers": 2, **settings})
    try:
        with pytest.raises(NotReady):
            gateway.start()
        assert gateway.wait() == 2
        assert line in gateway.log()
        assert len(gateway.log().splitlines()) == 1
        assert gateway.store_pid() is None
    finally:
        gateway.close()


def test_a_start_that_is_told_to_stop_leaves_nothing(upstream: ScriptedUpstream) -> None:
    gateway = GatewayProcess(upstream.url)
    try:
        gateway.launch()
        eventually(lambda: gateway.store_pid() is not None, "a store")
        assert gateway.stop() == 0
        assert gateway.store_pid() is None
        assert "Traceback" not in gateway.log()
    finally:
        gateway.close()


# -- what is seen from outside


def test_counts_add_up_across_workers_and_stay_when_one_crashes(started: Callable[..., GatewayProcess]) -> None:
    """Seen to fail with the counts of the one before forgotten (``died`` of processes/slot.py)."""
    gateway = started()
    for _ in range(30):
        assert gateway.ask("GET", "/4/status/1").status == 200
    assert gateway.metric("scopegate_requests_total") == 30
    with gateway.wire() as wire:
        wire.send(request("GET", "/4/status/1"))
        assert wire.answer().status == 200
        assert gateway.metric("scopegate_connections_open") == 1
        for worker in gateway.workers():
            os.kill(worker, signal.SIGKILL)
        eventually(lambda: gateway.metric("scopegate_worker_restarts_total") == 2, "restarts")
    assert gateway.metric("scopegate_connections_open") == 0
    assert gateway.metric("scopegate_requests_total") == 31
    for _ in range(10):
        assert gateway.ask("GET", "/4/status/1").status == 200
    eventually(lambda: gateway.metric("scopegate_requests_total") == 41, "all counts")


def test_of_a_worker_that_does_not_answer_the_last_counts_are_told_beside_the_new_ones_of_the_others(started: Callable[..., GatewayProcess]) -> None:
    gateway = started()
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(gateway.wire()) for _ in range(12)]
        for wire in wires:
            wire.send(request("GET", "/4/status/1"))
            assert wire.answer().status == 200
        assert gateway.metric("scopegate_requests_total") == 12
        worker = gateway.workers()[0]
        stop(worker)
        try:
            answered = 0
            for wire in wires:
                wire.send(request("GET", "/4/status/1"))
                if not wire.is_quiet(0.3):  # one of the other worker
                    assert wire.answer().status == 200
                    answered += 1
                    break
            assert gateway.metric("scopegate_requests_total") == 12 + answered
            assert answered
        finally:
            os.kill(worker, signal.SIGCONT)


def test_no_process_shows_a_secret_or_the_policy_in_its_arguments_or_environment(started: Callable[..., GatewayProcess]) -> None:
    credential = "Bearer the-operators-own-credential"
    gateway = started(upstream={"credentials": {"header": "X-Key", "env": "UPSTREAM_VALUE"}}, environ={"UPSTREAM_VALUE": credential})
    assert len(gateway.children()) == 4
    for pid in gateway.children():
        shown = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        for secret in (ADMIN_KEY, credential, "worklogs", "SCOPEGATE_"):
            assert secret.encode() not in shown
    assert gateway.process is not None
    assert ADMIN_KEY.encode() not in Path(f"/proc/{gateway.process.pid}/cmdline").read_bytes()


def test_lines_of_several_workers_never_mix_on_a_pipe(upstream: ScriptedUpstream) -> None:
    gateway = GatewayProcess(upstream.url, settings={"workers": 2})
    read, write = os.pipe()
    try:
        gateway.config_file.write_text(json.dumps(gateway.settings))
        with gateway.log_file.open("ab") as log:
            command = [sys.executable, "-m", "gateway", "serve", "-c", str(gateway.config_file)]
            gateway.process = subprocess.Popen(command, stdout=write, stderr=log, cwd=gateway.folder, env=gateway.environ)
        os.close(write)
        eventually(lambda: ready(gateway), "a gateway", 30)

        def ask() -> None:
            for number in range(100):
                path = "/4/status/" + "a" * (6000 if number % 10 == 0 else 700)
                assert gateway.ask("GET", path).status == 200

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()  # nobody reads meanwhile: the pipe is full, and both workers write into each gap
        gateway.tell(signal.SIGTERM)
        with os.fdopen(read, "rb") as reader:
            lines = [json.loads(line) for line in reader.read().splitlines()]
        assert gateway.wait() == 0
        assert len(lines) == 600
        assert {len(line["path"]) for line in lines} == {710, 1025}
    finally:
        gateway.close()


def test_a_free_port_is_told_when_the_system_chooses_it(upstream: ScriptedUpstream) -> None:
    gateway = GatewayProcess(upstream.url, settings={"workers": 2, "listen": "127.0.0.1:0"})
    try:
        gateway.start()
        gateway.wait_log(" with 2 workers")
        port = int(gateway.log().partition("ready: 127.0.0.1:")[2].split()[0])
        with Wire(port) as wire:
            wire.send(request("GET", "/4/status/1"))
            assert wire.answer().status == 200
        assert free_port() != port
    finally:
        gateway.close()
