"""One connection to a store, against a server that says what the test says, with both event loops."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import hiredis
import pytest
import uvloop

from gateway.store.channel import Channel
from tests.harness.sockets import sockets_of

MAXCLIENTS = b"-ERR max number of clients reached\r\n"
Work = Callable[[Channel, socket.socket], Coroutine[Any, Any, None]]


class Ends(NamedTuple):
    """Runs ``work`` with both ends of a new connection; the far one is a plain socket that blocks."""

    runner: asyncio.Runner
    kind: str
    folder: Path

    def __call__(self, work: Work) -> None:
        async def live() -> None:
            loop = asyncio.get_running_loop()
            with self._listening() as listener:
                if self.kind == "unix":
                    _, channel = await loop.create_unix_connection(Channel, listener.getsockname())
                else:
                    _, channel = await loop.create_connection(Channel, *listener.getsockname())
                far, _ = listener.accept()
            far.settimeout(10)
            with far:
                await work(channel, far)
                channel.abort()
                await asyncio.sleep(0.01)

        self.runner.run(live())

    def _listening(self) -> socket.socket:
        if self.kind == "tcp":
            return socket.create_server(("127.0.0.1", 0))
        return socket.create_server(str(self.folder / f"{len(list(self.folder.iterdir()))}.sock"), family=socket.AF_UNIX)


@pytest.fixture(params=["asyncio tcp", "asyncio unix", "uvloop tcp", "uvloop unix"])
def ends(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ends]:
    loop, kind = request.param.split()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
        yield Ends(runner, kind, tmp_path)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.001)


async def is_closed(far: socket.socket) -> bool:
    """Whether our end hangs up, within seconds; what it had sent is read first."""
    far.setblocking(False)
    try:
        async with asyncio.timeout(10):
            while await asyncio.get_running_loop().sock_recv(far, 65_536):
                pass
    except ConnectionError:
        pass
    return True


def test_replies_come_in_order_and_errors_in_their_places(ends: Ends) -> None:
    async def work(channel: Channel, far: socket.socket) -> None:
        asking = asyncio.create_task(channel.ask(("SET", "k", b"\0"), ("FAIL",), ("MGET", "k", 7)))
        await asyncio.sleep(0)
        sent = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n\0\r\n*1\r\n$4\r\nFAIL\r\n*3\r\n$4\r\nMGET\r\n$1\r\nk\r\n$1\r\n7\r\n"
        assert far.recv(1000) == sent, "all in one piece"
        for byte in b"+OK\r\n-NOSCRIPT none\r\n*2\r\n$1\r\n\0\r\n$-1\r\n":
            far.sendall(bytes([byte]))
            await asyncio.sleep(0.001)
        done, refused, values = await asking
        assert (done, values) == (b"OK", [b"\0", None])
        assert isinstance(refused, hiredis.ReplyError)
        assert str(refused) == "NOSCRIPT none"
        assert channel.is_quiet

    ends(work)


@pytest.mark.parametrize("read", [False, True], ids=["before we have read", "after we have read"])
def test_a_refusal_before_we_have_asked_is_told(ends: Ends, read: bool) -> None:
    """Seen to fail on unix sockets without the read after EPIPE, and without a reply being raised in place of the loss."""

    async def work(channel: Channel, far: socket.socket) -> None:
        far.sendall(MAXCLIENTS)
        far.close()
        if read:
            await until(lambda: channel._lost is not None)
        with pytest.raises(hiredis.ReplyError, match="max number of clients"):
            await channel.ask(("AUTH", "word"), ("SELECT", 1))

    ends(work)


def test_a_refusal_before_the_only_question_is_its_reply(ends: Ends) -> None:
    async def work(channel: Channel, far: socket.socket) -> None:
        far.sendall(MAXCLIENTS)
        far.close()
        (reply,) = await channel.ask(("PING",))
        assert isinstance(reply, hiredis.ReplyError)

    ends(work)


@pytest.mark.parametrize("said", [b"", b"+OK\r\n", b"+OK\r\n-LOADING wait\r\n", b"-ERR one\r\n-ERR two\r\n"])
def test_a_loss_after_something_may_have_been_done_is_no_refusal(ends: Ends, said: bytes) -> None:
    """Seen to fail with the last error reply raised in place of the loss: a change would be told as not made."""

    async def work(channel: Channel, far: socket.socket) -> None:
        asking = asyncio.create_task(channel.ask(("INCR", "a"), ("INCR", "b"), ("INCR", "c")))
        await asyncio.sleep(0)
        far.recv(1000)
        far.sendall(said)
        far.close()
        with pytest.raises(OSError):
            await asking

    ends(work)


def test_a_connection_is_quiet_while_nobody_has_said_a_word(ends: Ends) -> None:
    async def work(channel: Channel, far: socket.socket) -> None:
        assert channel.is_quiet
        await asyncio.sleep(0.01)
        assert channel.is_quiet

    ends(work)


@pytest.mark.parametrize("read", [False, True], ids=["before we have read", "after we have read"])
@pytest.mark.parametrize("end", ["a word", "an end"])
def test_a_connection_with_a_word_or_an_end_that_nobody_asked_for_is_not_quiet(ends: Ends, end: str, read: bool) -> None:
    """Seen to fail without a look at the reader, and without one at the system."""

    async def work(channel: Channel, far: socket.socket) -> None:
        if end == "a word":
            far.sendall(b"+")
        else:
            far.close()
        time.sleep(0.02)  # the loop sleeps too
        if read:
            await asyncio.sleep(0.02)
        assert not channel.is_quiet

    ends(work)


def test_a_connection_that_was_given_up_is_not_quiet_and_gone_at_once(ends: Ends) -> None:
    async def work(channel: Channel, far: socket.socket) -> None:
        channel.abort()
        assert not channel.is_quiet
        with pytest.raises(OSError):
            await channel.ask(("PING",))
        assert await is_closed(far)

    ends(work)


def test_what_is_no_resp_ends_the_connection(ends: Ends) -> None:
    async def work(channel: Channel, far: socket.socket) -> None:
        far.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with pytest.raises(hiredis.ProtocolError):
            await channel.ask(("PING",))
        assert await is_closed(far)

    ends(work)


def test_a_cancelled_exchange_leaves_no_socket(ends: Ends) -> None:
    """Seen to fail without the end of the connection: the next question would get this one's answer."""

    async def work(channel: Channel, far: socket.socket) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await channel.ask(("PING",), ("PING",))
        far.sendall(b"+PONG\r\n")
        assert await is_closed(far)
        assert not channel.is_quiet

    async def nothing(channel: Channel, far: socket.socket) -> None:
        assert channel.is_quiet

    ends(nothing)  # the loop opens its own files
    files = sockets_of(os.getpid())
    ends(work)
    assert sockets_of(os.getpid()) == files


def test_a_push_is_no_reply(ends: Ends) -> None:
    async def work(channel: Channel, far: socket.socket) -> None:
        far.sendall(b">2\r\n$10\r\ninvalidate\r\n_\r\n+ONE\r\n>2\r\n$10\r\ninvalidate\r\n_\r\n+TWO\r\n")
        assert await channel.ask(("A",), ("B",)) == [b"ONE", b"TWO"]

    ends(work)


class Heir(asyncio.Protocol):
    def __init__(self) -> None:
        self.heard = b""
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


def test_what_came_and_was_not_asked_for_is_handed_over(ends: Ends) -> None:
    """Seen to fail with a new reader for who takes over: half a push would have been lost, and the rest be no RESP."""

    async def work(channel: Channel, far: socket.socket) -> None:
        far.sendall(b"+OK\r\n>2\r\n$10\r\ninvali")
        assert await channel.ask(("CLIENT", "TRACKING", "ON")) == [b"OK"]
        heir = Heir()
        transport, reader = channel.hand_over(heir)
        far.sendall(b"date\r\n_\r\n")
        await until(lambda: bool(heir.heard))
        reader.feed(heir.heard)
        push = reader.gets()
        assert isinstance(push, hiredis.PushNotification)
        assert push == [b"invalidate", None]
        transport.write(b"after")
        await asyncio.sleep(0.01)
        assert far.recv(1000).endswith(b"after")
        far.close()
        await until(lambda: heir.lost)

    ends(work)


def test_an_ended_connection_is_not_handed_over(ends: Ends) -> None:
    async def work(channel: Channel, far: socket.socket) -> None:
        far.close()
        await until(lambda: channel._lost is not None)
        with pytest.raises(OSError):
            channel.hand_over(Heir())

    ends(work)


def test_large_replies_come_whole(ends: Ends) -> None:
    async def work(channel: Channel, far: socket.socket) -> None:
        text = os.urandom(1 << 20)
        sending = threading.Thread(target=far.sendall, args=(b"$%d\r\n%s\r\n" % (len(text), text),))
        sending.start()
        assert await channel.ask(("GET", "k")) == [text]
        sending.join()

    ends(work)
