"""What a link makes of its first words: pushes that come with them, and servers that may not be asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.ports import StoreUnavailable
from gateway.store.connection import StoreOptions
from gateway.store.link import Link

HELLO = b"%2\r\n$5\r\nproto\r\n:3\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
PUSH = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"
TRACKING = ("CLIENT", "TRACKING", "ON", "BCAST")


@asynccontextmanager
async def link_to(*said: bytes) -> AsyncIterator[Link]:
    """A link to a server that answers each piece that it gets with the next of these."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            for words in said:
                if not await reader.read(65_536):
                    break
                writer.write(words)
            await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    link = Link(StoreOptions(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", Path("data"), timeout_s=5), (TRACKING,))
    try:
        yield link
    finally:
        await link.close()
        server.close()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("cut", [0, 1, 17, len(PUSH)])
async def test_a_push_that_comes_with_the_last_word_of_the_greeting_is_heard(cut: int) -> None:
    """Seen to fail with what the greeting's reader held left in it, by a half push as "does not speak RESP"."""
    heard: list[Any] = []
    async with link_to(HELLO, HELLO + b"+OK\r\n" + PUSH[:cut], PUSH[cut:] + b"+PONG\r\n") as link:
        link.on_push = heard.append
        assert await link.ask([("PING",)]) == [b"PONG"]
        assert heard == [[b"invalidate", [b"k"]]]


async def test_a_push_that_comes_with_the_last_word_of_the_greeting_is_heard_at_once() -> None:
    """Seen to fail with it left until the next word comes."""
    heard = asyncio.Event()
    async with link_to(HELLO, HELLO + b"+OK\r\n" + PUSH) as link, asyncio.timeout(5):
        link.on_push = lambda _: heard.set()
        link.keep_up()
        await heard.wait()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (HELLO, "PONG"),
        (HELLO.replace(b"$6\r\nmaster", b"$7\r\nreplica"), "is a read-only replica: name its primary in store.url"),
        (b"*2\r\n$5\r\nproto\r\n:2\r\n", "cannot be reached: the connection was lost"),
        (b"-NOPERM this user\r\n", "does not let this user do what the gateway needs"),
    ],
)
async def test_only_a_primary_that_speaks_resp3_is_asked(said: bytes, told: str) -> None:
    async with link_to(HELLO, said + b"+OK\r\n", b"+PONG\r\n") as link:
        try:
            answer = (await link.ask([("PING",)]))[0].decode()
        except StoreUnavailable as why:
            answer = str(why)
        assert told in answer


async def test_greeting_that_is_refused_is_told_and_ends_the_link() -> None:
    async with link_to(HELLO, HELLO + b"-NOPERM this user\r\n") as link:
        with pytest.raises(StoreUnavailable, match="does not let this user do what the gateway needs"):
            await link.ask([("PING",)])
        assert not link.up
