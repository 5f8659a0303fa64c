"""The micro benchmark goes through all stages: a change of one of them that it does not follow is seen here."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import FrameType

import pytest

from bench.ground import ROOT
from bench.stages import ALL, CROWD, WHOLE, Stage, prepared, run, worker

# What only leads from one stage to the next: it is in the figure of the whole exchange alone.
BETWEEN = (
    "gateway/inbound/connection.py",
    "gateway/inbound/proxy.py",
    "gateway/inbound/ending.py",
    "gateway/inbound/plane.py",
    "gateway/core/turn.py",
    "gateway/upstream/pool.py",
    "gateway/app/",
)


def called(call: Callable[[], object]) -> set[str]:
    """The functions of the gateway that a call goes through, those in between left out."""
    seen: set[str] = set()

    def profile(frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename.removeprefix(f"{ROOT}/")
        if event == "call" and file.startswith("gateway/") and not file.startswith(BETWEEN):
            seen.add(f"{file}: {frame.f_code.co_qualname}")

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return seen


@pytest.fixture(scope="module")
def stages() -> Iterator[dict[str, set[str]]]:
    """The functions that each stage goes through."""

    async def gone_through(made: list[Stage]) -> dict[str, set[str]]:
        for stage in made:
            stage.call()  # the first time is different: names are looked up, blocks are made
        return {stage.name: called(stage.call) for stage in made}

    async def look(stack: ExitStack) -> dict[str, set[str]]:
        async with worker(*prepared(stack)) as parts:
            return await gone_through(parts.stages())

    with ExitStack() as stack:
        yield asyncio.run(look(stack))


def test_whatever_a_whole_exchange_goes_through_has_a_stage(stages: dict[str, set[str]]) -> None:
    whole = stages[WHOLE]
    assert len(whole) > 20
    assert sorted(whole - set().union(*(functions for name, functions in stages.items() if name not in {WHOLE, CROWD, ALL}))) == []


def test_its_stages_one_after_the_other_leave_nothing_out(stages: dict[str, set[str]]) -> None:
    assert sorted(stages[WHOLE] - stages[ALL]) == []


def test_every_stage_and_every_question_to_the_store_has_a_figure() -> None:
    alone, store = run(rounds=1, calls=3)
    assert list(alone)[:3] == [WHOLE, CROWD, ALL]
    assert all(0 < figure < 1e9 for figure in alone.values())
    assert [name for name in store if not name.endswith("at once")] == ["a whole exchange", "a token's record", "a decision", "a rate limit"]
    assert len(store) == 8
    assert all(each.cpu > 0 and 0 < each.elapsed < 1e9 for each in store.values())
