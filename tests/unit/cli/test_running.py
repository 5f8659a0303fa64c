"""What answers at the management port is taken for a gateway only if it speaks as one, and in time."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.cli import running
from gateway.cli.running import body_at, readiness_at
from gateway.settings import Address

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GOOD: dict[str, Any] = {
    "ready": True,
    "policy": {"hash": "aa", "scopes": 1, "routes": 1},
    "policy_refused": {"hash": "bb", "faults": 3},
    "workers": [{"number": 0, "up": True, "policy": "cc"}, {"number": 1, "up": False, "policy": ""}],
}


@contextlib.contextmanager
def program(serve: Callable[[socket.socket], None]) -> Iterator[Address]:
    """One that has the port; it serves one connection, in a thread, until it or its client has enough."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            with contextlib.suppress(OSError), listener.accept()[0] as connection:
                connection.recv(1 << 16)
                serve(connection)

        thread = threading.Thread(target=run)
        thread.start()
        yield Address("127.0.0.1", listener.getsockname()[1])
        thread.join(20)
        assert not thread.is_alive()


def saying(body: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(HEAD + b"\r\n" + body)


def test_a_gateway_tells_what_its_processes_run() -> None:
    with program(saying(json.dumps(GOOD).encode())) as address:
        told = readiness_at(address)
    assert told is not None
    assert told.running == {"aa", "cc"}
    assert told.policy_refused is not None
    assert (told.policy_refused.hash, told.policy_refused.faults) == ("bb", 3)


@pytest.mark.parametrize(
    "body",
    [
        *(json.dumps(GOOD | {"policy": {"hash": wrong}}).encode() for wrong in (5, None, [])),
        *(json.dumps(GOOD | {"policy_refused": wrong}).encode() for wrong in ("x", 7, {}, {"hash": "bb"})),
        *(json.dumps(GOOD | {"workers": wrong}).encode() for wrong in (None, {}, [5], [{"up": True}])),
        *(b"", b"{}", b"5", b"hello", b"\xff", b'{"policy": {"hash": "\xff"}}', b"[" * 400_000, b'{"x": ' + b"[" * 400_000, b'{"x": "' + b"y" * (1 << 21)),
    ],
)
def test_what_another_program_says_is_no_gateways(body: bytes) -> None:
    """Seen to fail with a TypeError, an AttributeError or a RecursionError let through."""
    with program(saying(body)) as address:
        assert readiness_at(address) is None


def test_what_is_no_http_has_no_body() -> None:
    with program(lambda connection: connection.sendall(b"220 mail\r\n\r\nthe mark")) as address:
        assert body_at(address, "/x") == b""


@pytest.mark.parametrize("head", [b"", HEAD + b"\r\n", HEAD + b"Content-Length: 1000\r\n\r\n"])
def test_one_that_answers_byte_by_byte_is_left_after_one_limit(monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    """Seen to fail with a limit for each read."""
    monkeypatch.setattr(running, "_LIMIT_S", 0.3)
    left = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(head)
        until = time.monotonic() + 10
        while time.monotonic() < until and not left.wait(0.05):
            connection.sendall(b"x")

    with program(drip) as address:
        since = time.monotonic()
        assert body_at(address, "/readyz") == b""
        took = time.monotonic() - since
        left.set()
    assert took < 5


def test_nothing_that_listens_has_no_body() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address("127.0.0.1", listener.getsockname()[1])
    assert body_at(address, "/readyz") == b""
