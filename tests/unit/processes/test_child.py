"""A process's end of the control socket: what it makes of orders."""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
from typing import Final

import pytest

from gateway.core.policy import Policy
from gateway.core.route_table import RouteTable
from gateway.observe.metrics import Counters
from gateway.processes.child import ControlLink
from gateway.processes.control import Prepare, Swap, packed

FORMER: Final = threading.Event()  # the former of two policies may be read to its end
COLLECTED: Final[list[bool]] = []


class Held:
    """Part of a policy that is read only once FORMER is set."""

    def __setstate__(self, _: object) -> None:
        assert FORMER.wait(10)


class Watched:
    """Part of a policy that notes whether the garbage collector is on while it is read."""

    def __setstate__(self, _: object) -> None:
        COLLECTED.append(gc.isenabled())


class Used:
    """A process that notes what it is told to use."""

    def __init__(self) -> None:
        self.policies: list[str] = []

    async def start(self, listener: object) -> None: ...

    def use(self, policy: Policy) -> None:
        self.policies.append(policy.name)

    def count(self) -> Counters:
        return Counters()

    async def end(self, within_s: float | None = None) -> None: ...


def policy(name: str, part: object = None) -> Policy:
    if part is not None:
        part.__dict__["any"] = "state"
    return Policy(name, name, {"part": part}, (), RouteTable([]))  # type: ignore[dict-item]


async def told(link: ControlLink, *orders: Prepare | Swap) -> None:
    link.data_received(b"".join(packed(order) for order in orders))


@pytest.fixture
async def link() -> ControlLink:
    FORMER.clear()
    COLLECTED.clear()
    return ControlLink()


async def test_of_two_policies_that_come_together_the_latter_is_used_whichever_is_read_first(link: ControlLink) -> None:
    """As for a process that was stopped while one reload was given up and the next begun. Seen to fail with what was read last kept."""
    used = Used()
    link.serve(used, policy("first"))
    await told(link, Prepare(1, pickle.dumps(policy("former", Held()))), Prepare(2, pickle.dumps(policy("latter"))))
    while len(link._preparing) == 2:
        await asyncio.sleep(0.001)
    FORMER.set()
    while link._preparing:
        await asyncio.sleep(0.001)
    await told(link, Swap(2))
    assert used.policies == ["latter"]


async def test_a_policy_is_read_with_the_collector_off(link: ControlLink) -> None:
    """Seen to fail with ``pickle.loads`` alone: a policy of 10,000 routes held the requests up three times as long."""
    link.serve(Used(), policy("first"))
    await told(link, Prepare(1, pickle.dumps(policy("new", Watched()))))
    while link._preparing:
        await asyncio.sleep(0.001)
    assert COLLECTED == [False]
    assert gc.isenabled()
