"""The end of the data plane. All else of it goes through tests/flow, by a running gateway."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import uvloop

from gateway.app.data_plane import DataPlaneApp
from gateway.flow.reload import load_fitting_policy
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


async def answers_after_the_close(tmp_path: Path) -> list[bytes]:
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "gateway.yaml").write_text(f'policy: {tmp_path}/policy.yaml\nupstreams: {{api: {{url: "http://127.0.0.1:9"}}}}\naccess_log: "off"\n')
    settings = load_settings(tmp_path / "gateway.yaml", {})
    plane = DataPlaneApp(settings, load_fitting_policy(settings), StoreOptions("redis://127.0.0.1:9", tmp_path), "node/0")._plane
    listener = listen(Address("127.0.0.1", 0), "listen")
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
