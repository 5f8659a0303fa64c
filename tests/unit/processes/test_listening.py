"""Listening sockets: a busy port is seen, each worker has its own, and none takes a handshake that nobody would answer."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from gateway.processes.listening import CannotServe, address_of, begin_no_more, listen, listen_shared
from gateway.settings import Address

HERE = Address("127.0.0.1", 0)


@contextlib.contextmanager
def opened(sockets: list[socket.socket]) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(sock) for sock in sockets]


def test_each_worker_has_a_socket_on_one_port() -> None:
    with opened(listen_shared(HERE, "listen", 3)) as sockets:
        assert len({sock.getsockname() for sock in sockets}) == 1
        assert len({sock.fileno() for sock in sockets}) == 3
        assert not any(sock.get_inheritable() or sock.getblocking() for sock in sockets)
        assert address_of(sockets[0], HERE).port != 0


def test_one_worker_alone_shares_its_port_with_nobody() -> None:
    with opened(listen_shared(HERE, "listen", 1)) as (sock,), socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind(sock.getsockname())


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_in_use_is_refused_even_where_its_holder_would_share_it(shared: bool, workers: int) -> None:
    with listen(HERE, "listen", shared=shared) as other:
        port = other.getsockname()[1]
        with pytest.raises(CannotServe, match=f"127.0.0.1:{port} is in use by another program: stop it, or set another listen"):
            listen_shared(Address("127.0.0.1", port), "listen", workers)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(CannotServe, match=r"192\.0\.2\.1:80 is no address of this machine: set another admin\.listen"):
        listen(Address("192.0.2.1", 80), "admin.listen")


@pytest.mark.parametrize("host", ["", "::1"])
def test_ipv6_and_every_address_can_be_listened_on(host: str) -> None:
    with opened(listen_shared(Address(host, 0), "listen", 2)) as sockets, socket.create_connection(("::1", sockets[0].getsockname()[1]), 5) as client:
        assert client.getpeername()[1] == sockets[0].getsockname()[1]


@pytest.mark.parametrize("address", [HERE, Address("::1", 0)])
def test_after_the_last_handshake_what_waits_can_be_accepted_and_no_more_comes(address: Address) -> None:
    with listen(address, "listen") as sock, contextlib.ExitStack() as stack:
        where = sock.getsockname()[:2]
        for _ in range(3):
            stack.enter_context(socket.create_connection(where, 5)).sendall(b"hello")
        begin_no_more(sock)
        with pytest.raises(TimeoutError):
            socket.create_connection(where, 0.2)
        for _ in range(3):
            waiting = stack.enter_context(sock.accept()[0])
            waiting.settimeout(5)
            assert waiting.recv(10) == b"hello"
        with pytest.raises(BlockingIOError):
            sock.accept()
