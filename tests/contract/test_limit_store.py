"""ports.LimitStore on a real server, against an obvious reference."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
import uuid
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from throttled import RateLimiterType, Throttled, per_duration
from throttled import store as throttled_store

from gateway.core.route import RateLimit
from gateway.ports import StoreUnavailable
from gateway.store.connection import StoreOptions
from gateway.store.embedded import EmbeddedStore
from gateway.store.limit_store import RedisLimitStore
from gateway.store.scripts import LIMIT
from gateway.store.server import Store
from gateway.store.wire import ask


def reference(requests: int, period_us: int, arrivals: list[int]) -> list[bool]:
    """GCRA as a leaky bucket (the other of the two equivalent algorithms in ITU-T I.371): a request fits if the bucket has room for it."""
    cost = -(-period_us // requests)
    level, last = 0, arrivals[0] if arrivals else 0
    verdicts = []
    for now in arrivals:
        level, last = max(0, level - (now - last)), now
        fits = level + cost <= cost * requests
        level += cost if fits else 0
        verdicts.append(fits)
    return verdicts


async def steps(store: Store, key: str, limit: RateLimit, count: int) -> tuple[list[int], list[bool]]:
    """Arrivals on the store's clock, and their verdicts."""
    replies = await store.link.ask([("EVAL", LIMIT.text, 1, key, limit.requests, limit.period_ms * 1000)] * count)
    return [int(reply[3]) for reply in replies], [bool(reply[0]) for reply in replies]


async def test_exactly_the_limit_passes_at_once(store: Store) -> None:
    limits = RedisLimitStore(store)
    verdicts = await asyncio.gather(*(limits.take("r:t", RateLimit(7, 3_600_000)) for _ in range(30)))
    assert [verdict.allowed for verdict in verdicts].count(True) == 7
    assert sorted(verdict.remaining for verdict in verdicts if verdict.allowed) == [0, 1, 2, 3, 4, 5, 6]
    refused = verdicts[-1]
    assert not refused.allowed
    assert 0 < refused.retry_after_ms <= 3_600_000 / 7 + 1


async def test_clients_on_two_nodes_share_one_limit(store: Store, options: StoreOptions) -> None:
    second = Store(options)
    await second.start()
    nodes = [RedisLimitStore(store), RedisLimitStore(second)]
    verdicts = await asyncio.gather(*(nodes[turn % 2].take("r:t", RateLimit(100, 3_600_000)) for turn in range(400)))
    assert [verdict.allowed for verdict in verdicts].count(True) == 100
    await second.close()


async def test_keys_are_limited_apart(store: Store) -> None:
    limits = RedisLimitStore(store)
    one = RateLimit(1, 60_000)
    assert [(await limits.take(key, one)).allowed for key in ("a", "b", "a", "b")] == [True, True, False, False]


async def test_request_passes_once_the_wait_is_over(store: Store) -> None:
    limits = RedisLimitStore(store)
    limit = RateLimit(2, 200)
    assert [(await limits.take("k", limit)).allowed for _ in range(2)] == [True, True]
    verdict = await limits.take("k", limit)
    until = time.monotonic() + 10
    while not verdict.allowed:
        assert time.monotonic() < until
        await asyncio.sleep(verdict.retry_after_ms / 1000)
        verdict = await limits.take("k", limit)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.integers(1, 60), period_ms=st.integers(1, 200), count=st.integers(1, 300))
async def test_verdicts_are_those_of_the_reference(store: Store, requests: int, period_ms: int, count: int) -> None:
    """The store's clock runs on between the requests, so that short periods refill while they are counted."""
    arrivals, verdicts = await steps(store, f"sg:limit:{uuid.uuid4()}", RateLimit(requests, period_ms), count)
    assert verdicts == reference(requests, period_ms * 1000, arrivals)


@pytest.mark.parametrize("requests", [1, 3, 7, 10, 60])
async def test_burst_is_that_of_another_implementation(store: Store, requests: int) -> None:
    other = Throttled(
        key="k", using=RateLimiterType.GCRA.value, quota=per_duration(dt.timedelta(hours=1), requests, burst=requests), store=throttled_store.MemoryStore()
    )
    limits = RedisLimitStore(store)
    for _ in range(requests + 5):
        ours, theirs = await limits.take("k", RateLimit(requests, 3_600_000)), other.limit()
        assert (ours.allowed, ours.remaining) == (not theirs.limited, theirs.state.remaining)


@pytest.mark.parametrize(("requests", "period_ms"), [(7, 1000), (3, 1), (1_000_000, 1000), (1, 86_400_000), (999_983, 86_400_000)])
async def test_odd_limits_are_exact_too(store: Store, requests: int, period_ms: int) -> None:
    count = min(requests + 3, 2000)
    arrivals, verdicts = await steps(store, "sg:limit:odd", RateLimit(requests, period_ms), count)
    assert verdicts == reference(requests, period_ms * 1000, arrivals)


async def test_cancelled_takes_leave_the_others_their_answers(store: Store) -> None:
    limits = RedisLimitStore(store)
    told = 0
    for turn in range(40):
        tasks = [asyncio.create_task(limits.take(f"k{turn}-{number}", RateLimit(number + 1, 60_000))) for number in range(25)]
        await asyncio.sleep(0 if turn % 2 else 0.0002)
        for task in tasks[turn % 3 :: 3]:
            task.cancel()
        for number, outcome in enumerate(await asyncio.gather(*tasks, return_exceptions=True)):
            if not isinstance(outcome, asyncio.CancelledError):
                assert not isinstance(outcome, BaseException)
                assert (outcome.allowed, outcome.remaining) == (True, number)
                told += 1
    assert told > 400


async def test_state_of_a_limit_vanishes_once_it_is_full_again(store: Store) -> None:
    await RedisLimitStore(store).take("k", RateLimit(5, 100))
    until = time.monotonic() + 10
    while True:
        async with store.session() as (session, _):
            (there,) = await session.ask(("EXISTS", store.keys.limit("k")))
        if not there:
            break
        assert time.monotonic() < until
        await asyncio.sleep(0.01)


async def test_narrowed_limit_never_locks_out_for_longer_than_its_own_period(store: Store) -> None:
    limits = RedisLimitStore(store)
    for _ in range(100):
        await limits.take("k", RateLimit(100, 3_600_000))
    verdict = await limits.take("k", RateLimit(10, 1000))
    assert verdict.retry_after_ms <= 1000


async def test_limit_survives_a_script_flush(store: Store, valkey: EmbeddedStore) -> None:
    limits = RedisLimitStore(store)
    assert (await limits.take("k", RateLimit(2, 60_000))).allowed
    ask(valkey.socket, "SCRIPT", "FLUSH", timeout_s=5)
    assert (await limits.take("k", RateLimit(2, 60_000))).allowed
    assert not (await limits.take("k", RateLimit(2, 60_000))).allowed


async def test_limit_of_a_store_that_is_gone_is_unavailable(options: StoreOptions, own_server: EmbeddedStore) -> None:
    store = Store(replace(options, url=own_server.url))
    await store.start()
    own_server.stop()
    with pytest.raises(StoreUnavailable):
        await RedisLimitStore(store).take("k", RateLimit(1, 1000))
    await store.close()
