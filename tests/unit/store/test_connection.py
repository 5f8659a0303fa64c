"""What a store URL means, where it leads, and what is told of a connection's errors."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hiredis
import pytest
import redis
import uvloop

from gateway.ports import StoreUnavailable
from gateway.store import connection
from gateway.store.channel import Channel, Command
from gateway.store.connection import StoreOptions, connect, unavailable
from tests.harness.sockets import sockets_of

HELLO = ("HELLO", 3)


def options(url: str, timeout_s: float = 5) -> StoreOptions:
    return StoreOptions(url, Path("data"), timeout_s=timeout_s)


URLS: dict[str, tuple[list[Command], list[Command]]] = {  # what is said by RESP2, and by RESP3
    "redis://h": ([], [HELLO]),
    "redis://h/": ([], [HELLO]),
    "redis://h:1/0": ([], [HELLO]),
    "redis://h/7": ([("SELECT", 7)], [HELLO, ("SELECT", 7)]),
    "redis://h/7?db=3": ([("SELECT", 3)], [HELLO, ("SELECT", 3)]),
    "redis://h/7?db=0": ([], [HELLO]),
    "redis://h/7?db=": ([("SELECT", 7)], [HELLO, ("SELECT", 7)]),
    "redis://:p%40%3a%2F%25@h": ([("AUTH", "p@:/%")], [(*HELLO, "AUTH", "default", "p@:/%")]),
    "redis://:a+b@h": ([("AUTH", "a+b")], [(*HELLO, "AUTH", "default", "a+b")]),
    "redis://u%20v:p@h/2": ([("AUTH", "u v", "p"), ("SELECT", 2)], [(*HELLO, "AUTH", "u v", "p"), ("SELECT", 2)]),
    "redis://User:p@h": ([("AUTH", "User", "p")], [(*HELLO, "AUTH", "User", "p")]),
    "redis://u@h": ([("AUTH", "u", "")], [(*HELLO, "AUTH", "u", "")]),
    "redis://u:p@q@h": ([("AUTH", "u", "p@q")], [(*HELLO, "AUTH", "u", "p@q")]),
    "redis://h?username=u&password=p%2520q": ([("AUTH", "u", "p%20q")], [(*HELLO, "AUTH", "u", "p%20q")]),
    "redis://u:p@h?username=x&password=y": ([("AUTH", "u", "p")], [(*HELLO, "AUTH", "u", "p")]),
    "redis://u@h?password=y": ([("AUTH", "u", "y")], [(*HELLO, "AUTH", "u", "y")]),
    "rediss://:p@h/1": ([("AUTH", "p"), ("SELECT", 1)], [(*HELLO, "AUTH", "default", "p"), ("SELECT", 1)]),
    "unix:///run/5": ([], [HELLO]),
    "unix://u:p@/run/s.sock?db=5": ([("AUTH", "u", "p"), ("SELECT", 5)], [(*HELLO, "AUTH", "u", "p"), ("SELECT", 5)]),
    "unix:///run/s.sock?username=u&password=p&db=5": ([("AUTH", "u", "p"), ("SELECT", 5)], [(*HELLO, "AUTH", "u", "p"), ("SELECT", 5)]),
}


@pytest.mark.parametrize("url", URLS)
def test_who_we_are_and_in_which_database_is_what_the_url_says(url: str) -> None:
    for protocol, said in zip((2, 3), URLS[url], strict=True):
        assert connection._greeting(urlsplit(url), protocol) == said


@pytest.mark.parametrize("url", URLS)
def test_a_url_means_what_it_means_to_another_client(url: str) -> None:
    meant: dict[str, Any] = dict(redis.connection.parse_url(url))
    said = {words[0]: words[1:] for words in connection._greeting(urlsplit(url), 2)}
    assert said.get("SELECT", (0,)) == (meant.get("db", 0),)
    user, password = meant.get("username", ""), meant.get("password", "")
    assert said.get("AUTH") == ((user, password) if user else (password,) if password else None)


@pytest.mark.parametrize(
    ("url", "leads"),
    [
        ("redis://", ("localhost", 6379)),
        ("redis://:p@/1", ("localhost", 6379)),
        ("redis://Store.Example", ("store.example", 6379)),
        ("redis://u:p@h:7000/1", ("h", 7000)),
        ("redis://[::1]:7", ("::1", 7)),
        ("redis://[fe80::1%25lo]", ("fe80::1%lo", 6379)),
        ("unix://u:p@/run/a%20b/s.sock?db=1", ("/run/a b/s.sock",)),
    ],
)
async def test_a_url_leads_to_its_host_and_port_or_socket(url: str, leads: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[tuple[Any, ...]] = []

    async def go(_: type[Channel], *where: Any, **settings: Any) -> None:
        assert not any(settings.values()), "no TLS"
        gone.append(where)
        raise ConnectionRefusedError

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "create_connection", go)
    monkeypatch.setattr(loop, "create_unix_connection", go)
    with pytest.raises(ConnectionRefusedError):
        await connect(options(url))
    assert gone == [leads]


async def test_the_name_that_a_certificate_must_hold_is_the_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go(_: type[Channel], host: str, port: int, *, ssl: ssl.SSLContext, server_hostname: str) -> None:
        assert (host, port, server_hostname) == ("store.example", 6379, "store.example")
        assert ssl.check_hostname
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", go)
    with pytest.raises(ConnectionRefusedError):
        await connect(options("rediss://store.example"))


async def test_a_wrong_url_is_never_gone_to() -> None:
    with pytest.raises(ValueError, match=r"store\.url: the database is a number"):
        await connect(options("redis://:SECRET@h/name"))


@pytest.fixture(params=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if request.param == "uvloop" else None) as runner:
        yield runner


def test_a_connection_sends_at_once_and_is_kept_alive(runner: asyncio.Runner) -> None:
    async def look(port: int) -> None:
        channel = await connect(options(f"redis://127.0.0.1:{port}"))
        sock = channel._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        channel.abort()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        runner.run(look(listener.getsockname()[1]))


@pytest.mark.parametrize("url", ["redis://:word@127.0.0.1:{}/1", "rediss://127.0.0.1:{}"], ids=["greeting", "handshake"])
def test_a_start_that_is_broken_off_leaves_no_socket(runner: asyncio.Runner, url: str) -> None:
    """Seen to fail without the end of a connection whose greeting is not answered."""

    async def wait(port: int) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await connect(options(url.format(port)))
        await asyncio.sleep(0.01)

    runner.run(asyncio.sleep(0))  # the loop opens its own files
    with socket.create_server(("127.0.0.1", 0)) as listener:
        files = sockets_of(os.getpid())
        runner.run(wait(listener.getsockname()[1]))
        assert sockets_of(os.getpid()) == files
        far, _ = listener.accept()
        with far:
            far.settimeout(5)
            try:
                while far.recv(1000):
                    pass
            except ConnectionResetError:
                pass


@pytest.mark.parametrize(
    "said", [b"-WRONGPASS no\r\n-NOAUTH first\r\n", b"+OK\r\n-ERR DB index is out of range\r\n", b"-ERR max number of clients reached\r\n"]
)
def test_a_greeting_that_is_refused_ends_the_connection_and_is_raised(runner: asyncio.Runner, said: bytes) -> None:
    async def greet(port: int, listener: socket.socket) -> None:
        asking = asyncio.create_task(connect(options(f"redis://:word@127.0.0.1:{port}/99")))
        far, _ = await asyncio.get_running_loop().sock_accept(listener)
        with far:
            far.sendall(said)
            if b"clients" in said:
                far.shutdown(socket.SHUT_WR)
            with pytest.raises(hiredis.ReplyError) as refused:
                await asking
            assert str(refused.value) == next(line[1:] for line in said.decode().split("\r\n") if line.startswith("-"))
            async with asyncio.timeout(5):
                while await asyncio.get_running_loop().sock_recv(far, 1000):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        runner.run(greet(listener.getsockname()[1], listener))


@pytest.mark.parametrize("host", ["a..b", "a" * 70, "a%00b"])
def test_a_host_that_is_no_name_is_told_as_one_that_does_not_resolve(runner: asyncio.Runner, host: str) -> None:
    """Seen to fail with the ValueError of the look-up left as it is."""

    async def go() -> None:
        with pytest.raises(socket.gaierror) as gone:
            await connect(options(f"redis://{host}"))
        assert "its name does not resolve; start it, or mend store.url" in str(unavailable(gone.value, options("redis://h")))

    runner.run(go())


AT = "the store at redis://h:1/2"
TOLD: list[tuple[BaseException, str]] = [
    (hiredis.ReplyError("OOM command not allowed when used memory > 'maxmemory'."), f"{AT} is full (OOM): raise its maxmemory"),
    (hiredis.ReplyError("READONLY You can't write against a read only replica."), f"{AT} is a read-only replica: name its primary in store.url"),
    (hiredis.ReplyError("READONLY"), f"{AT} is a read-only replica: name its primary in store.url"),
    (hiredis.ReplyError("LOADING Redis is loading"), f"{AT} is still loading its data: wait until it is done"),
    (hiredis.ReplyError("ERR max number of clients reached"), f"{AT} has as many clients as it takes: raise its maxclients"),
    (hiredis.ReplyError("ERR unknown command 'HELLO'"), f"{AT} refused a command (ERR): look at its log"),
    (hiredis.ProtocolError("Protocol error"), "what answers at the store's address does not speak RESP: check store.url"),
    (TimeoutError(), f"{AT} did not answer within 250 ms (store.timeout): look at its load, or raise the limit"),
    (ConnectionRefusedError(111, "Connect call failed"), f"{AT} cannot be reached: nothing listens there; start it, or mend store.url"),
    (ConnectionResetError(), f"{AT} cannot be reached: the connection was lost; start it, or mend store.url"),
    (OSError("Multiple exceptions"), f"{AT} cannot be reached: the connection was lost; start it, or mend store.url"),
]


@pytest.mark.parametrize(("error", "told"), TOLD, ids=[repr(error)[:40] for error, _ in TOLD])
def test_an_error_is_told_with_what_to_do(error: Exception, told: str) -> None:
    where = options("redis://u:SECRET@h:1/2?password=SECRET", timeout_s=0.25)
    for written in (False, True):
        made = unavailable(error, where, written=written)
        assert isinstance(made, StoreUnavailable)
        assert (str(made), made.written) == (told, written)


def test_a_loss_by_tls_points_at_the_client_certificate() -> None:
    assert "closed the connection: if it asks for a client certificate, set" in str(unavailable(ConnectionResetError(), options("rediss://h")))
