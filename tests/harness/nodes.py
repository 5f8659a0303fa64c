"""Several nodes on one store: gateways as they would run on several machines, each with processes of its own."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import redis

from gateway.store.embedded import EmbeddedStore
from tests.harness.gateway import GatewayProcess
from tests.harness.sockets import end_of
from tests.harness.waiting import eventually
from tests.harness.wire import Wire, request

WORKERS = 2  # a node
LEASE_S = 2.0


class Worker(NamedTuple):
    """One worker: its node and its process."""

    node: GatewayProcess
    pid: int

    def __repr__(self) -> str:
        return f"worker {self.pid}"

    def wire(self, **options: Any) -> Wire:
        """A new connection that this worker has taken. The kernel deals them out, so it may take several; all workers of its node must be running."""
        for _ in range(200):
            wire = self.node.wire(**options)
            wire.send(request("GET", "/.scopegate/healthz"))
            assert wire.answer().status == 200
            if end_of(self.pid, self.node.port, wire.socket.getsockname()[1]):
                return wire
            wire.close()
        raise AssertionError(f"{self!r} takes no connection")


class Nodes:
    """A node for each of ``store_settings``, which are merged over its ``store``; "url" is the server's unless given. ``options`` are GatewayProcess's."""

    def __init__(self, server: EmbeddedStore, upstream_url: str, store_settings: Sequence[Mapping[str, Any]] = ({}, {}, {}), **options: Any) -> None:
        self.server = server
        self.nodes = [GatewayProcess(upstream_url, settings={"workers": WORKERS}, **options) for _ in store_settings]
        for node, settings in zip(self.nodes, store_settings, strict=True):
            node.settings["store"] |= {"url": server.url, "lease": f"{LEASE_S:g}s", **settings}
        self.workers: list[Worker] = []

    def __getitem__(self, number: int) -> GatewayProcess:
        return self.nodes[number]

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                node.launch()
            for node in self.nodes:
                node.await_ready()
            self.workers = [Worker(node, pid) for node in self.nodes for pid in node.workers()]
            # A server that has just started is believed to have forgotten its workers: each change would cost a whole lease.
            with self.store() as store:
                eventually(lambda: store.info("server")["uptime_in_seconds"] > LEASE_S + 1, "an older server", 20)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all, and leave nothing behind."""
        for node in self.nodes:
            if node.process is not None:
                node.tell(signal.SIGTERM)
        for node in self.nodes:
            node.close()

    def store(self) -> redis.Redis:
        """The store, past the gateways."""
        return redis.Redis(unix_socket_path=str(self.server.socket), decode_responses=True)

    def names(self) -> list[str]:
        """The workers that are registered with the store now."""
        with self.store() as store:
            return list(store.zrangebyscore("sg:workers", int(store.time()[0] * 1000), "+inf"))

    def await_all(self) -> None:
        """Wait until every worker is registered."""
        eventually(lambda: len(self.names()) == len(self.workers), "all workers registered", 20)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that is frozen meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", "a stopped process")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
