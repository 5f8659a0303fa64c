"""G10: SIGTERM and worse. What is in flight finishes, what waits is answered, nothing outlives the supervisor."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable

import pytest

from tests.harness.gateway import GatewayProcess
from tests.harness.processes import Gate, alive, stop
from tests.harness.waiting import eventually
from tests.harness.wire import Answer, Closed, Wire, request


@pytest.mark.parametrize(("number", "whole_group"), [(signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGINT, True)])
def test_requests_in_flight_finish_and_kept_connections_are_told(
    started: Callable[..., GatewayProcess], gate: Gate, number: signal.Signals, whole_group: bool
) -> None:
    """Seen to fail with a drain that waits for a tenth of a second only (inbound/plane.py), and with a management process that is told as one that died."""
    gateway = started(workers=1)
    processes = gateway.children()
    with gateway.wire() as slow, gateway.wire() as kept, gateway.wire() as idle:
        for wire in (kept, idle):
            wire.send(request("GET", "/4/status/1"))
            assert wire.answer().status == 200
        slow.send(request("GET", "/4/status/gate"))
        assert gate.come.acquire(timeout=10)
        gateway.tell(number)
        if whole_group:  # as Ctrl-C, or a service manager that signals all it finds
            for pid in [*gateway.workers(), *gateway.management()]:
                os.kill(pid, number)
        eventually(lambda: refused(gateway.port), "closed listeners")
        kept.send(request("GET", "/4/status/2"))
        told = kept.answer()
        assert (told.status, told.one("connection")) == (200, "close")
        assert kept.wait_closed() == b""
        assert idle.is_quiet(0.2)  # it goes last
        gate.opened.set()
        answer = slow.answer()
        assert (answer.status, answer.complete) == (200, True)
        assert idle.wait_closed() == b""
    assert gateway.wait() == 0
    assert not any(map(alive, processes))
    assert "another takes its place" not in gateway.log()


def refused(port: int) -> bool:
    """Whether nobody listens."""
    with socket.socket() as client:
        client.settimeout(5)
        return client.connect_ex(("127.0.0.1", port)) != 0


def test_what_waits_in_the_queue_is_answered_before_the_listener_closes(started: Callable[..., GatewayProcess]) -> None:
    """Seen to fail without ``begin_no_more`` (processes/supervisor.py): further connections are begun meanwhile."""
    gateway = started(workers=1)
    (worker,) = gateway.workers()
    stop(worker)
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(gateway.wire(timeout=20)) for _ in range(50)]
        for wire in wires:
            wire.send(request("GET", "/4/status/1"))
        gateway.tell(signal.SIGTERM)
        eventually(lambda: queue_is_shut(gateway.port), "a drain")
        os.kill(worker, signal.SIGCONT)
        answers = [wire.answer() for wire in wires]
        assert [(answer.status, answer.one("connection")) for answer in answers] == [(200, "close")] * 50
    assert gateway.wait() == 0


def queue_is_shut(port: int) -> bool:
    """Whether no further handshake is begun: the supervisor has heard the signal."""
    with socket.socket() as client:
        client.settimeout(0.2)
        try:
            client.connect(("127.0.0.1", port))
        except TimeoutError:
            return True
        return False


class Client(threading.Thread):
    """Asks one request after the other until there is nobody to connect to. ``lost`` says what was sent and not answered."""

    def __init__(self, port: int, *, kept: bool, thinks_s: float) -> None:
        super().__init__()
        self.port, self.kept, self.thinks_s = port, kept, thinks_s
        self.answered = 0
        self.lost: list[str] = []

    def run(self) -> None:
        wire: Wire | None = None
        while True:
            if wire is None:
                try:
                    wire = Wire(self.port, timeout=20)
                except OSError:
                    return
            try:
                wire.send(request("GET", "/4/status/1"))
                answer: Answer = wire.answer()
            except (Closed, OSError) as error:
                self.lost.append(repr(error))
                wire.close()
                return
            if answer.status == 200 and answer.complete:
                self.answered += 1
            else:
                self.lost.append(str(answer.status))
            if not self.kept or answer.one("connection") == "close":
                wire.close()
                wire = None
            if self.thinks_s:
                threading.Event().wait(self.thinks_s)


@pytest.mark.parametrize(("kept", "thinks_s"), [(False, 0.0), (True, 0.0), (True, 0.2)])
def test_the_end_under_load_loses_no_request(started: Callable[..., GatewayProcess], kept: bool, thinks_s: float) -> None:
    gateway = started()
    clients = [Client(gateway.port, kept=kept, thinks_s=thinks_s) for _ in range(8)]
    for client in clients:
        client.start()
    eventually(lambda: all(client.answered > (3 if thinks_s else 20) for client in clients), "a load")
    gateway.tell(signal.SIGTERM)
    assert gateway.wait() == 0
    for client in clients:
        client.join(30)
    assert [client.lost for client in clients] == [[]] * 8


def test_a_worker_that_hangs_is_killed_when_the_time_is_over(started: Callable[..., GatewayProcess]) -> None:
    """Seen to fail with the kill taken out of ``_end_late`` (processes/supervisor.py)."""
    gateway = started(settings={"drain_timeout": "500ms"})
    processes = gateway.children()
    stop(gateway.workers()[0])
    assert gateway.stop() == 0
    assert "worker 0 has not ended in time: it is killed" in gateway.log()
    assert not any(map(alive, processes))


def test_a_second_signal_ends_at_once(started: Callable[..., GatewayProcess], gate: Gate) -> None:
    gateway = started(settings={"drain_timeout": "1h"})
    processes = gateway.children()
    with gateway.wire() as wire:
        wire.send(request("GET", "/4/status/gate"))
        assert gate.come.acquire(timeout=10)
        gateway.tell(signal.SIGTERM)
        eventually(lambda: refused(gateway.port), "closed listeners")
        gateway.tell(signal.SIGTERM)
        assert gateway.wait() == 1
        with pytest.raises(Closed):
            wire.answer()
    assert not any(map(alive, processes))


@pytest.mark.parametrize("frozen", [False, True])
def test_nothing_outlives_a_supervisor_that_is_killed(started: Callable[..., GatewayProcess], gate: Gate, frozen: bool) -> None:
    """Seen to fail with a lost control socket that means nothing (``connection_lost`` of processes/child.py)."""
    gateway = started()
    processes = gateway.children()
    assert len(processes) == 4  # two workers, the management process, the store's server
    with gateway.wire() as wire:
        wire.send(request("GET", "/4/status/gate"))  # one that never ends does not hold it up
        assert gate.come.acquire(timeout=10)
        worker = gateway.workers()[0]
        if frozen:
            stop(worker)
        gateway.tell(signal.SIGKILL)
        gateway.wait()
        if frozen:
            os.kill(worker, signal.SIGCONT)
        eventually(lambda: not any(map(alive, processes)), "no process")
    assert refused(gateway.port)


def test_what_is_in_flight_has_a_moment_when_the_supervisor_is_killed(started: Callable[..., GatewayProcess], gate: Gate) -> None:
    """Seen to fail with an ORPHAN_S of nothing (processes/child.py)."""
    gateway = started(workers=1)
    with gateway.wire() as wire:
        wire.send(request("GET", "/4/status/gate"))
        assert gate.come.acquire(timeout=10)
        gateway.tell(signal.SIGKILL)
        gateway.wait()
        assert wire.is_quiet(0.3)
        gate.opened.set()
        assert wire.answer().complete


def test_after_a_killed_supervisor_the_next_one_starts(started: Callable[..., GatewayProcess]) -> None:
    gateway = started(workers=1)
    token = gateway.token("worklogs")
    gateway.tell(signal.SIGKILL)
    gateway.wait()
    gateway.start()
    assert gateway.ask("GET", "/4/worklogs/1", token=token).status == 200
