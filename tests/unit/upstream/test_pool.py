from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gateway.settings import UpstreamSettings
from gateway.upstream.failures import UpstreamFailure
from gateway.upstream.pool import UpstreamPool

SETTINGS = UpstreamSettings("api", "http://127.0.0.1:1", "127.0.0.1", 1, False, 0.3, 5, 5, 2, False, None, "headers", False)


@pytest.fixture
async def pool() -> AsyncIterator[UpstreamPool]:
    """A pool of two connections to a server that says nothing."""

    served: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())  # type: ignore[arg-type]
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    pool = UpstreamPool(replace(SETTINGS, port=server.sockets[0].getsockname()[1]))
    yield pool
    pool.close()
    for connection in list(pool._all):
        connection.abort()
    server.close()
    await asyncio.gather(*served)


async def lost(pool: UpstreamPool, count: int) -> None:
    async with asyncio.timeout(5):
        while f"open={count}," not in repr(pool):
            await asyncio.sleep(0.005)


async def test_the_connection_given_last_is_taken_first(pool: UpstreamPool) -> None:
    one, two = await pool.acquire(), await pool.acquire()
    pool.give(one)
    pool.give(two)
    assert pool.take() is two
    assert pool.take() is one
    assert pool.take() is None


async def test_who_finds_none_free_waits_in_order_and_is_given_what_comes_back(pool: UpstreamPool) -> None:
    one, two = await pool.acquire(), await pool.acquire()
    first, second = asyncio.ensure_future(pool.acquire()), asyncio.ensure_future(pool.acquire())
    await asyncio.sleep(0)
    pool.give(two)
    pool.give(one)
    assert await first is two
    assert await second is one


async def test_who_waits_too_long_is_told_that_all_are_busy(pool: UpstreamPool) -> None:
    held = [await pool.acquire(), await pool.acquire()]
    with pytest.raises(UpstreamFailure) as failure:
        await pool.acquire()
    assert failure.value.code == "upstream_busy"
    pool.give(held[0])
    assert pool.take() is held[0]


async def test_a_lost_connection_makes_room_for_who_waits(pool: UpstreamPool) -> None:
    one, _two = await pool.acquire(), await pool.acquire()
    waiting = asyncio.ensure_future(pool.acquire())
    await asyncio.sleep(0)
    one.abort()
    assert (await waiting) is not one
    await lost(pool, 2)


async def test_a_connection_given_to_one_who_has_just_left_is_not_lost(pool: UpstreamPool) -> None:
    one, _two = await pool.acquire(), await pool.acquire()
    waiting = asyncio.ensure_future(pool.acquire())
    await asyncio.sleep(0)
    pool.give(one)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert pool.take() is one


async def test_a_place_freed_for_one_who_has_just_left_goes_to_the_next(pool: UpstreamPool) -> None:
    """Seen to fail with only connections passed on: the next waited on beside a free place, and was told that all are busy."""
    one, _two = await pool.acquire(), await pool.acquire()
    leaves, stays = asyncio.ensure_future(pool.acquire()), asyncio.ensure_future(pool.acquire())
    await asyncio.sleep(0)
    pool.lost(one)
    leaves.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaves
    (await stays).abort()
    one.abort()


async def test_many_who_leave_while_they_wait_take_nothing_along(pool: UpstreamPool) -> None:
    held = [await pool.acquire(), await pool.acquire()]
    waiting = [asyncio.ensure_future(pool.acquire()) for _ in range(100)]
    await asyncio.sleep(0)
    for number, each in enumerate(waiting):
        if number % 2:
            each.cancel()
    for _ in range(2):
        pool.give(held.pop())
    given = [await each for number, each in enumerate(waiting[:4]) if not number % 2]
    assert len(set(given)) == 2
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for connection in given:
        pool.give(connection)
    assert {pool.take(), pool.take()} == set(given)


async def test_nothing_listening_is_unreachable_and_leaves_the_place_free() -> None:
    probe = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = probe.sockets[0].getsockname()[1]
    probe.close()
    await probe.wait_closed()
    pool = UpstreamPool(replace(SETTINGS, port=port))
    for _ in range(5):
        with pytest.raises(UpstreamFailure) as failure:
            await pool.acquire()
        assert failure.value.code == "upstream_unreachable"
        assert str(port) not in failure.value.detail
    assert repr(pool) == "UpstreamPool('api', open=0, idle=0, waiting=0)"


async def test_an_idle_connection_ages_and_is_closed(pool: UpstreamPool) -> None:
    pool.give(await pool.acquire())
    pool.sweep(asyncio.get_running_loop().time() + 29)
    assert "idle=1" in repr(pool)
    pool.sweep(asyncio.get_running_loop().time() + 31)
    assert pool.take() is None
    await lost(pool, 0)


async def test_a_closed_pool_keeps_nothing(pool: UpstreamPool) -> None:
    one, two = await pool.acquire(), await pool.acquire()
    pool.give(one)
    pool.close()
    pool.give(two)
    await lost(pool, 0)
