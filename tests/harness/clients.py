"""Clients of several nodes that ask with one token, and note of each request when it was sent and what became of it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import NamedTuple, Self

from tests.harness.gateway import GatewayProcess, Made
from tests.harness.nodes import Nodes, Worker
from tests.harness.wire import Wire, request


class Asked(NamedTuple):
    """A request with one of a token's secrets, when its first byte was sent, and what became of it."""

    client: object
    secret: str  # "old" or "new"
    target: str
    sent: float
    status: int
    code: str


class Clients:
    """They ask with the secrets of one token, each time for a path of its own. ``ask`` asks every worker once; inside ``with`` others ask all the time:
    one on a kept connection to each worker, one a node that connects anew for each request.
    """

    def __init__(self, name: str, token: Made, at_once: dict[Worker, Wire], kept: dict[Worker, Wire]) -> None:
        self.log: list[Asked] = []
        self._name = name
        self._secrets = {"old": token.secret}
        self._at_once = at_once
        self._kept = kept
        self._serial = count()
        self._over = threading.Event()
        self._running: list[Future[None]] = []

    def __enter__(self) -> Self:
        nodes = {id(worker.node): worker.node for worker in self._kept}
        self._pool = ThreadPoolExecutor(len(self._kept) + len(nodes))
        self._running = [self._pool.submit(self._keep_asking, worker, wire) for worker, wire in self._kept.items()]
        self._running += [self._pool.submit(self._keep_connecting, node) for node in nodes.values()]
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._pool.shutdown()
        for client in self._running:
            client.result()

    def know(self, secret: str) -> None:
        """Ask with the new secret as well from now on."""
        self._secrets = {**self._secrets, "new": secret}

    def ask(self, secret: str = "old") -> None:
        """Ask every worker, all at once."""
        for each in [(worker, wire, secret, *self._send(wire, secret)) for worker, wire in self._at_once.items()]:
            self._take(*each)

    def are_running(self, since: float = 0.0) -> bool:
        """Whether each of those that ask all the time has asked some times since then, and was answered."""
        asked = [asked.client for asked in self.log if asked.sent > since]
        clients = {*self._kept, *(id(worker.node) for worker in self._kept)} if self._running else set()
        return all(asked.count(client) > 3 * len(self._secrets) for client in clients)

    def _send(self, wire: Wire, secret: str) -> tuple[str, float]:
        target = f"/4/worklogs/{self._name}-{next(self._serial)}"
        data = request("GET", target, token=self._secrets[secret])
        sent = time.monotonic()  # read first: so nothing is taken for later than it was
        wire.send(data)
        return target, sent

    def _take(self, client: object, wire: Wire, secret: str, target: str, sent: float) -> None:
        answer = wire.answer()
        assert answer.complete
        self.log.append(Asked(client, secret, target, sent, answer.status, answer.code))

    def _keep_asking(self, worker: Worker, wire: Wire) -> None:
        while not self._over.is_set():
            for secret in self._secrets:
                self._take(worker, wire, secret, *self._send(wire, secret))

    def _keep_connecting(self, node: GatewayProcess) -> None:
        while not self._over.is_set():
            for secret in self._secrets:
                with node.wire() as wire:
                    self._take(id(node), wire, secret, *self._send(wire, secret))


def lookups(nodes: Nodes) -> float:
    return sum(node.metric("scopegate_store_lookups_total") for node in nodes.nodes)


def from_memory(nodes: Nodes, clients: Clients) -> bool:
    """Whether every worker has just answered, and none of them had to ask the store."""
    before = lookups(nodes)
    clients.ask()
    return lookups(nodes) == before
