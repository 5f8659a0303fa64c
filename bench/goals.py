"""What the gateway is to reach beside the others: ratios to what one could put there instead, and the most that each may be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from bench.figures import Round, Spread, ratios
from bench.plan import BASE, TITLES, Case


class Goal(NamedTuple):
    """A field of ``row`` divided by that of ``base``, both in ``case``: at most ``most``."""

    row: str
    case: Case
    field: str
    base: str
    most: float

    @property
    def title(self) -> str:
        what = "p99" if self.field == "p99_ms" else "CPU"
        return f"{what} of {TITLES[self.row]}, to {TITLES[self.base]}: {self.case.title}"


class Reached(NamedTuple):
    """A goal and how far it was reached."""

    goal: Goal
    ratio: Spread

    @property
    def holds(self) -> bool:
        return self.ratio.median <= self.goal.most


GOALS: Final = (
    Goal("scopegate", Case(377, 32), "cpu_us", BASE, 1.0),
    Goal("scopegate", Case(377, 32), "cpu_us", "envoy", 0.75),
    Goal("scopegate", Case(377, 32), "cpu_us", "caddy", 0.6),
    Goal("scopegate-ask", Case(377, 32), "cpu_us", BASE, 1.5),
    Goal("scopegate", Case(65536, 32), "cpu_us", BASE, 0.8),
    Goal("scopegate", Case(377, 256), "cpu_us", BASE, 1.0),
    Goal("scopegate", Case(377, 256), "p99_ms", BASE, 2.0),
)


def reached(rounds: Sequence[Round], goals: Iterable[Goal] = GOALS) -> list[Reached]:
    """Each goal whose two rows were measured in at least one round."""
    found = ((goal, ratios(rounds, goal.case.id, goal.row, goal.field, goal.base)) for goal in goals)
    return [Reached(goal, ratio) for goal, ratio in found if ratio is not None]
