"""What is added in one turn of the loop is given to the work together, once, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from gateway.core.turn import Turn


async def test_what_comes_in_one_turn_is_given_together_in_order() -> None:
    given: list[Sequence[int]] = []
    turn: Turn[int] = Turn(asyncio.get_running_loop().call_soon, given.append)
    for number in range(3):
        turn.add(number)
    assert given == []
    await asyncio.sleep(0)
    turn.add(3)
    await asyncio.sleep(0)
    assert given == [[0, 1, 2], [3]]


async def test_what_is_added_while_the_work_is_done_is_for_the_next_turn() -> None:
    given: list[list[str]] = []

    def work(items: Sequence[str]) -> None:
        given.append(list(items))
        if items == ["first"]:
            turn.add("second")

    turn: Turn[str] = Turn(asyncio.get_running_loop().call_soon, work)
    turn.add("first")
    await asyncio.sleep(0)
    assert given == [["first"]]
    await asyncio.sleep(0)
    assert given == [["first"], ["second"]]


def test_the_work_can_be_asked_for_at_once_and_is_not_done_twice() -> None:
    given: list[Sequence[int]] = []
    soon: list[Callable[[], object]] = []
    turn: Turn[int] = Turn(soon.append, given.append)
    turn.run()
    turn.add(1)
    turn.run()
    for call in soon:
        call()
    assert given == [[1]]
