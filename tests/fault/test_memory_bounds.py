"""G8 on real processes: a worker remembers so many records and no more, least used out first; a flood of made-up tokens costs it no more than that."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Final

import pytest

from gateway.core.token_text import make_token
from tests.harness.gateway import GatewayProcess
from tests.harness.pressing import wires_to_each
from tests.harness.upstream import ScriptedUpstream
from tests.harness.wire import Wire, request

WORKERS: Final = 2
RECORDS: Final = 100
NEGATIVES: Final = 10_000
FLOOD: Final = 20_000
BURST: Final = 100  # requests sent in one piece
GROWTH: Final = 1 << 20
LOOKUPS: Final = "scopegate_store_lookups_total"


@pytest.fixture(scope="module")
def small(shared_upstream: ScriptedUpstream) -> Iterator[GatewayProcess]:
    """Two workers with room for few records. The lease is long: a busy machine must not make them forget."""
    gateway = GatewayProcess(shared_upstream.url, settings={"workers": WORKERS, "cache": {"records": RECORDS}, "access_log": "off"})
    gateway.settings["store"] |= {"lease": "20s"}
    with gateway:
        yield gateway
        assert "Traceback" not in gateway.log()


def use(wire: Wire, secrets: Sequence[str], status: int = 200) -> None:
    """Ask with each of these, by one connection and so of one worker: many requests in one piece."""
    for at in range(0, len(secrets), BURST):
        some = secrets[at : at + BURST]
        wire.send(*(request("GET", "/4/worklogs/1", token=secret) for secret in some))
        for _ in some:
            assert wire.answer().status == status


def asked(gateway: GatewayProcess, wire: Wire, secrets: Sequence[str]) -> int:
    """How many of these the worker behind a connection had to ask the store for."""
    before = gateway.metric(LOOKUPS)
    use(wire, secrets)
    return int(gateway.metric(LOOKUPS) - before)


def test_a_worker_holds_so_many_records_and_forgets_what_was_least_used(small: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Seen to fail without the limit, and with records that are forgotten in the order in which they came (store/record_cache.py)."""
    secrets = [small.make("worklogs").secret for _ in range(3 * RECORDS)]
    favourite, others = secrets[0], secrets[1:]
    with ExitStack() as stack:
        wires = [wires[0] for wires in wires_to_each(small, 1, stack).values()]
        for wire in wires:
            for at in range(0, len(others), 10):
                use(wire, [*others[at : at + 10], favourite])  # the favourite is never the least used
                assert small.metric("scopegate_cache_records") <= WORKERS * RECORDS
        assert small.metric("scopegate_cache_records") == WORKERS * RECORDS
        for wire in wires:
            latest = [favourite, *others[1 - RECORDS :]]
            assert asked(small, wire, latest) == 0
            assert asked(small, wire, others[:10]) == 10  # long forgotten
            # They took the place of those that were used least of late: the favourite, and then the ten after it.
            assert asked(small, wire, latest[11:]) == 0
            assert asked(small, wire, latest[:11]) == 11
        assert small.metric("scopegate_cache_records") == WORKERS * RECORDS


def test_a_flood_of_made_up_tokens_costs_so_much_and_no_more(small: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Seen to fail without the limit on negative entries: by their number, and by memory alone (1.8 MiB)."""
    known = [small.make("worklogs").secret for _ in range(10)]
    with ExitStack() as stack:
        by_worker = wires_to_each(small, 1, stack)
        for (wire,) in by_worker.values():
            use(wire, known)
        sizes = []
        for _ in range(2):
            floods = [threading.Thread(target=use, args=(wire, [made_up() for _ in range(FLOOD // 2)], 401)) for (wire,) in by_worker.values()]
            for flood in floods:
                flood.start()
            for flood in floods:
                flood.join(100)
            assert small.metric("scopegate_cache_negatives") == WORKERS * NEGATIVES
            sizes.append(small.rss())
        assert sizes[1] - sizes[0] < GROWTH, f"{(sizes[1] - sizes[0]) / 2**20:.1f} MiB"
        # They took no room from tokens that there are.
        for (wire,) in by_worker.values():
            assert asked(small, wire, known) == 0
    assert {seen.target for seen in upstream.seen} == {"/4/worklogs/1"}


def made_up() -> str:
    """A token in all but that it was never made."""
    return make_token("sgt", os.urandom).text
