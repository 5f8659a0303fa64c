"""What the bench's commands have in common: what they say, how they end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType

from bench.plan import Plan, PlanFault, read_plan
from bench.processes import CannotMeasure


def say(text: str) -> None:
    """A line about how it goes; the results alone go to standard output."""
    print(text, file=sys.stderr, flush=True)


def run(sit: Callable[[Plan], int]) -> int:
    """A sitting by the BENCH_* variables: its exit status, 2 where nothing can be measured, 130 when broken off."""
    signal.signal(signal.SIGTERM, _interrupt)  # so that it ends like Ctrl-C: everything that was started is stopped
    try:
        return sit(read_plan())
    except (PlanFault, CannotMeasure) as fault:
        say(f"bench: {fault}")
        return 2
    except KeyboardInterrupt:
        say("bench: broken off; everything is stopped. Whole rounds are in the results as a trial")
        return 130


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
