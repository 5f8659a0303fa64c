"""The end of the data plane. All else of it goes through tests/flow, by a running gateway."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import uvloop

from gateway.app.data_plane import DataPlaneApp
from gateway.flow.reload import load_fitting_policy
from gateway.inbound.plane import DataPlane
from gateway.processes.listening import listen
from gateway.settings import Address
from gateway.settings.load import load_settings
from gateway.store.connection import StoreOptions

POLICY = "version: 1\nscopes: {a: {title: A}}\nroutes: [{path: /a, scope: a}]\n"
WAITING = 5


def test_listener_that_closes_before_the_loops_next_turn_loses_nobody_who_waits_in_its_queue(tmp_path: Path) -> None:
    """As where the worker is busy when it is told to drain. Seen to fail without the ``accept`` in ``_close_listeners``."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as a worker's
        assert runner.run(answers_after_the_close(tmp_path)) == [b"HTTP/1.1 200 OK"] * WAITING


def test_many_who_come_at_once_are_accepted_within_few_turns_of_the_loop(tmp_path: Path) -> None:
    """The loop itself accepts one a turn, and a busy worker's turn takes milliseconds: hundreds of clients waited for half a second. Seen to fail, with
    as many turns as clients, without the ``accept`` for those who came with one."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(turns_until_accepted(tmp_path, 300)) < 60


async def turns_until_accepted(tmp_path: Path, count: int) -> int:
    plane, listener = plane_at(tmp_path)
    await plane.listen(listener)
    turns = 0
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(listener.getsockname(), 5)) for _ in range(count)]
        async with asyncio.timeout(30):
            while len(plane.connections) < count:
                await asyncio.sleep(0)
                turns += 1
        assert len(clients) == plane.counters.connections_open == count
    await plane.drain(5)
    return turns


def plane_at(tmp_path: Path) -> tuple[DataPlane, socket.socket]:
    """A data plane without a store or upstream, and a socket for it to listen on."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "gateway.yaml").write_text(f'policy: {tmp_path}/policy.yaml\nupstreams: {{api: {{url: "http://127.0.0.1:9"}}}}\naccess_log: "off"\n')
    settings = load_settings(tmp_path / "gateway.yaml", {})
    plane = DataPlaneApp(settings, load_fitting_policy(settings), StoreOptions("redis://127.0.0.1:9", tmp_path), "node/0")._plane
    return plane, listen(Address("127.0.0.1", 0), "listen")


async def answers_after_the_close(tmp_path: Path) -> list[bytes]:
    plane, listener = plane_at(tmp_path)
    port = listener.getsockname()[1]
    await plane.listen(listener)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 5)) for _ in range(WAITING)]
        for client in clients:
            client.sendall(b"GET /.scopegate/healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            client.setblocking(False)
        await plane._close_listeners()
        async with asyncio.timeout(10):
            return [(await asyncio.get_running_loop().sock_recv(client, 4096))[:15] for client in clients]
