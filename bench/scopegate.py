"""Scopegate as it is measured: ``serve`` with all its processes, a token, and what its management port tells."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from bench.ground import ROOT, Ground, Running, configured, token_file
from bench.processes import CannotMeasure, Program, arguments, free_port, pin

POLICY: Final = ROOT / "policies/tempo.yaml"
READY_S: Final = 60.0  # a policy of 10,000 routes is read by each process
_WORKER: Final = "gateway.processes.worker"


class Scopegate:
    """A gateway that is ready. Everything that goes wrong is CannotMeasure."""

    def __init__(self, program: Program, port: int, admin: int, folder: Path) -> None:
        self.port = port
        self.folder = folder
        self._program = program
        self._admin = admin
        self._connection: http.client.HTTPConnection | None = None
        self.own: list[int] = []
        self.store: list[int] = []

    def await_ready(self) -> None:
        """Wait until it says that all its processes are up: it listens long before, and requests would wait in the queue."""
        deadline = time.monotonic() + READY_S
        self._program.await_port(self._admin)
        while self._asked("GET", "/readyz")[0] != 200:
            if time.monotonic() > deadline:
                raise CannotMeasure(f"scopegate was not ready within {READY_S:g} s: {self._program.last_words()}")
            time.sleep(0.02)
        self.own, self.store = self._program.split()

    @property
    def workers(self) -> list[int]:
        """The processes of the data plane."""
        return [pid for pid in self.own if _WORKER in arguments(pid)]

    def call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        """A call of the management API with the admin key; what it answers."""
        key = (self.folder / "data/admin.key").read_text("ascii").strip()
        status, answer = self._asked(method, path, None if body is None else json.dumps(body), {"Authorization": f"Bearer {key}"})
        if status not in {200, 201}:
            raise CannotMeasure(f"scopegate answers {method} {path.rpartition('/')[0]} with {status}")
        return json.loads(answer)

    def metric(self, name: str) -> int:
        """A count without labels, of all workers."""
        _, text = self._asked("GET", "/metrics")
        found = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(f"{name} ")]
        if not found:
            raise CannotMeasure(f"scopegate tells no {name}")
        return int(float(found[0]))

    def lookups(self) -> int:
        """How often a request has asked the store for a token."""
        return self.metric("scopegate_store_lookups_total")

    def token(self) -> str:
        """A new token for the worklogs."""
        made: str = self.call("POST", "/api/v1/tokens", {"name": "bench", "access": "custom", "grants": ["worklogs"]})["secret"]
        return made

    def _asked(self, method: str, path: str, body: str | None = None, fields: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Status and body, on a connection that is kept: where it has ended meanwhile, on a new one."""
        for again in (False, True):
            connection = self._connection = self._connection or http.client.HTTPConnection("127.0.0.1", self._admin, timeout=30)
            try:
                connection.request(method, path, body, {"Content-Type": "application/json", **(fields or {})})
                answer = connection.getresponse()
                return answer.status, answer.read().decode("utf-8", "replace")
            except (OSError, http.client.HTTPException):
                self._connection = None
                connection.close()
                if again:
                    raise CannotMeasure(f"scopegate's management port does not answer: {self._program.last_words()}") from None
        raise AssertionError

    def close(self) -> None:
        """End the connection to the management port."""
        if self._connection is not None:
            self._connection.close()


def start_scopegate(
    stack: ExitStack, ground: Ground, folder: Path, cores: Sequence[int], variables: Mapping[str, str] | None = None, policy: Path = POLICY
) -> Scopegate:
    """Start it with everything on, and with what ``variables`` (SCOPEGATE_*) say; it ends with ``stack``. CannotMeasure."""
    port, admin = free_port(), free_port()
    config = configured("gateway.yaml", folder, PORT=port, ADMIN=admin, UPSTREAM=ground.upstream, POLICY=policy)
    env = {name: value for name, value in os.environ.items() if not name.startswith("SCOPEGATE_")} | dict(variables or {}) | {"PYTHONPATH": str(ROOT)}
    program = stack.enter_context(Program([ground.python, "-m", "gateway", "serve", "-c", config], cores, folder / "out", env))
    gateway = Scopegate(program, port, admin, folder)
    stack.callback(gateway.close)
    gateway.await_ready()
    astray = [pid for pid in gateway.own if os.sched_getaffinity(pid) != set(cores)]
    if astray:
        raise CannotMeasure(f"process {astray[0]} of scopegate does not stay on the core that it was given")
    for pid in gateway.store:  # it began on the gateway's core; Redis has its place beside load and upstream too
        with contextlib.suppress(FileNotFoundError):
            pin(pid, ground.other_core)
    return gateway


def start_row(stack: ExitStack, ground: Ground, folder: Path, workers: int = 1, variables: Mapping[str, str] | None = None, policy: Path = POLICY) -> Running:
    """A row of Scopegate's: one worker stays on the gateway's core with the supervisor and the management process, several take both cores."""
    cores = [ground.gateway_core] if workers == 1 else [ground.gateway_core, ground.other_core]
    gateway = start_scopegate(stack, ground, folder, cores, {"SCOPEGATE_WORKERS": str(workers), **(variables or {})}, policy)
    if len(gateway.workers) != workers:
        raise CannotMeasure(f"scopegate has {len(gateway.workers)} workers instead of {workers}")
    cached = (variables or {}).get("SCOPEGATE_CACHE__RECORDS") != "0"
    return Running(gateway.port, token_file(folder, gateway.token()), gateway.own, gateway.store, folder / "access.jsonl", gateway.lookups, cached)
