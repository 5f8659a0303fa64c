"""Clients that go on asking whatever the answers are, and write down each of them: over kept connections, some to every worker."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final, NamedTuple, Self

from tests.harness.gateway import GatewayProcess
from tests.harness.nodes import Worker
from tests.harness.wire import Wire, request

_PAUSE_S: Final = 0.02
_NUMBERS: Final = itertools.count()


class Told(NamedTuple):
    """One answer: who asked by which connection's worker, for what, when (monotonic), how long it took, and what was said."""

    who: str
    worker: int
    target: str
    sent_s: float
    took_s: float
    status: int
    code: str
    retry_after: str


def wires_to_each(gateway: GatewayProcess, count: int, stack: ExitStack) -> dict[int, list[Wire]]:
    """Open connections, so many to each worker; the stack closes them."""
    return {pid: [stack.enter_context(Worker(gateway, pid).wire(timeout=20)) for _ in range(count)] for pid in gateway.workers()}


class Pressing:
    """Asks with each secret in turn, by ``each`` clients a worker, from ``with`` on to its end. A client that gets no answer says so in ``lost``."""

    def __init__(self, gateway: GatewayProcess, secrets: Mapping[str, str], *, each: int = 3, path: str = "/4/worklogs") -> None:
        self.told: list[Told] = []
        self.lost: list[str] = []
        self._gateway = gateway
        self._secrets = secrets
        self._each = each
        self._path = path
        self._done = threading.Event()
        self._stack = ExitStack()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        for worker, wires in wires_to_each(self._gateway, self._each, self._stack).items():
            self._threads += [threading.Thread(target=self._press, args=(worker, wire), daemon=True) for wire in wires]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(30)
        self._stack.close()

    def since(self, moment: float, *whose: str) -> list[Told]:
        """What was told of requests that were sent after a moment, of these or of all."""
        return [told for told in list(self.told) if told.sent_s >= moment and (not whose or told.who in whose)]

    def _press(self, worker: int, wire: Wire) -> None:
        turns = itertools.cycle(self._secrets.items())
        while not self._done.wait(_PAUSE_S):
            who, secret = next(turns)
            target = f"{self._path}/{next(_NUMBERS)}"
            sent = time.monotonic()
            try:
                wire.send(request("GET", target, token=secret))
                answer = wire.answer()
            except Exception as error:  # noqa: BLE001 - whatever it is, the test has to see it
                self.lost.append(f"{target} of {who}: {error!r}")
                return
            self.told.append(Told(who, worker, target, sent, time.monotonic() - sent, answer.status, answer.code, answer.one("retry-after") or ""))
