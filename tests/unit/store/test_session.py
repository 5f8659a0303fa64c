"""What a session makes of refusals that a real server gives only in rare states: whether a change may have been made."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.ports import StoreUnavailable
from gateway.store.connection import StoreOptions
from gateway.store.session import Session, Sessions


@asynccontextmanager
async def answered(*said: bytes, embedded: bool = False) -> AsyncIterator[Session]:
    """A session with a server that has an answer for all that it will be asked; it hangs up after the last, where that is b""."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        options = StoreOptions(f"redis://127.0.0.1:{listener.getsockname()[1]}", Path("data"), timeout_s=5, embedded=embedded)
        sessions = Sessions(options)
        async with sessions.session() as session:
            far, _ = listener.accept()
            with far:
                far.sendall(b"".join(said))
                if said[-1] == b"":
                    far.shutdown(socket.SHUT_WR)
                yield session
        await sessions.close()
        await asyncio.sleep(0.01)


async def refused(work: Awaitable[Any]) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as why:
        await work
    return why.value


ERROR, OK = b"-LOADING wait\r\n", b"+OK\r\n"


@pytest.mark.parametrize(
    ("said", "written"),
    [((ERROR, OK), False), ((OK, ERROR), True), ((ERROR, b""), False), ((OK, b""), True), ((b"",), True), ((b"what\r\n",), True)],
)
async def test_changes_that_fail_say_whether_one_may_have_been_made(said: tuple[bytes, ...], written: bool) -> None:
    """Seen to fail with every refusal told as "nothing was done", and with a hang-up told so."""
    async with answered(*said) as session:
        assert (await refused(session.write(("SET", "a", 1), ("SET", "b", 1)))).written is written


async def test_questions_that_fail_change_nothing() -> None:
    async with answered(OK, ERROR) as session:
        assert not (await refused(session.ask(("GET", "a"), ("GET", "b")))).written


async def test_what_fails_after_a_change_was_answered_says_that_it_may_have_been_made() -> None:
    async with answered(OK, ERROR) as session:
        assert await session.write(("SET", "a", 1)) == [b"OK"]
        assert (await refused(session.ask(("GET", "a")))).written


@pytest.mark.parametrize("said", [b"-ERR unknown command 'WAITAOF'\r\n", b"-NOPERM this user\r\n", b"*2\r\n:1\r\n:0\r\n"])
async def test_a_server_that_cannot_be_asked_whether_a_change_is_kept_carries_on(said: bytes) -> None:
    async with answered(said) as session:
        await session.settle()


@pytest.mark.parametrize(
    ("said", "embedded"),
    [(b"-ERR unknown command 'WAITAOF'\r\n", True), (ERROR, False), (b"-BUSY script\r\n", False), (b"*2\r\n:0\r\n:0\r\n", False), (b"", False)],
)
async def test_a_server_that_will_not_say_whether_a_change_is_kept_is_a_fault(said: bytes, embedded: bool) -> None:
    """Seen to fail with any refusal taken for that of a server without WAITAOF."""
    async with answered(OK, said, embedded=embedded) as session:
        await session.write(("SET", "a", 1))
        assert (await refused(session.settle())).written


async def test_a_connection_is_kept_for_the_next_session_unless_it_is_not_quiet() -> None:
    """Seen to fail with every kept connection taken."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sessions = Sessions(StoreOptions(f"redis://127.0.0.1:{listener.getsockname()[1]}", Path("data"), timeout_s=5))
        async with sessions.session():
            first, _ = listener.accept()
        async with sessions.session() as session:
            first.sendall(b"+ONE\r\n")
            assert await session.ask(("PING",)) == [b"ONE"]
        first.sendall(b"+STRAY\r\n")
        async with sessions.session() as session:
            second, _ = listener.accept()
            second.sendall(b"+TWO\r\n")
            assert await session.ask(("PING",)) == [b"TWO"]
        await sessions.close()
        first.close()
        second.close()


async def test_a_session_that_ends_by_an_exception_ends_its_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sessions = Sessions(StoreOptions(f"redis://127.0.0.1:{listener.getsockname()[1]}", Path("data"), timeout_s=5))
        with suppress(KeyError):
            async with sessions.session():
                far, _ = listener.accept()
                raise KeyError
        far.setblocking(False)
        with far:
            assert await asyncio.get_running_loop().sock_recv(far, 10) == b""
