"""Looking at a gateway's processes from outside, and a gate that holds its requests."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.gateway import GatewayProcess
from tests.harness.upstream import PLAIN, ScriptedUpstream
from tests.harness.waiting import eventually


@pytest.fixture
def started(upstream: ScriptedUpstream) -> Iterator[Callable[..., GatewayProcess]]:
    """Starts gateways, and ends them."""
    with contextlib.ExitStack() as stack:

        def start(workers: int = 2, **options: object) -> GatewayProcess:
            settings = {"workers": workers, **options.pop("settings", {})}  # type: ignore[dict-item]
            gateway = stack.enter_context(GatewayProcess(upstream.url, settings=settings, **options))  # type: ignore[arg-type]
            stack.callback(lambda: "Traceback" not in gateway.log() or pytest.fail(gateway.log()))
            return gateway

        yield start


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def stop(pid: int) -> None:
    """Freeze a process."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: is_stopped(pid), "a stopped process")


def ready(gateway: GatewayProcess) -> bool:
    try:
        return gateway.admin("GET", "/readyz")[0] == 200
    except OSError:
        return False


def hashes(gateway: GatewayProcess) -> list[str]:
    """The policy that each worker runs."""
    return [worker["policy"] for worker in json.loads(gateway.admin("GET", "/readyz")[2])["workers"]]


class Gate:
    """An upstream's answer that waits: ``come`` says that a request is there, ``open`` lets all through."""

    def __init__(self) -> None:
        self.come = threading.Semaphore(0)
        self.opened = threading.Event()

    def __call__(self, peer: object, _: object) -> None:
        self.come.release()
        assert self.opened.wait(30)
        peer.send(PLAIN)  # type: ignore[attr-defined]


@pytest.fixture
def gate(upstream: ScriptedUpstream) -> Iterator[Gate]:
    """The answer to paths that end in ``/gate``."""
    gate = Gate()
    upstream.script("gate", gate)
    yield gate
    gate.opened.set()
