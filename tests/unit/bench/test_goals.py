"""What is to be reached: by which ratio, and when it holds."""

from __future__ import annotations

from bench.figures import Measure, Round, Spread
from bench.goals import GOALS, Goal, Reached, reached
from bench.plan import CASES, TITLES, Case


def measure(cpu_us: float, p99_ms: float = 3.0) -> Measure:
    return Measure(requests=1000, cpu_us=cpu_us, store_us=0.0, rate=1000.0, p50_ms=1.0, p99_ms=p99_ms, failed=0)


def test_every_goal_is_of_rows_and_a_case_that_are_measured() -> None:
    assert all({goal.row, goal.base} <= set(TITLES) and goal.case in CASES and goal.field in Measure._fields for goal in GOALS)
    assert len({goal.title for goal in GOALS}) == len(GOALS)


def test_a_goal_is_judged_by_the_median_of_ratios_within_rounds() -> None:
    rounds: list[Round] = [
        {"377x32": {"scopegate": measure(mine), "envoy": measure(theirs)}} for mine, theirs in ((70.0, 100.0), (80.0, 100.0), (150.0, 200.0))
    ]
    goal = Goal("scopegate", Case(377, 32), "cpu_us", "envoy", 0.75)
    (found,) = reached(rounds, [goal])
    assert found.ratio == Spread(0.75, 0.7, 0.8, 3)
    assert found.holds
    assert not Reached(goal, Spread(0.76, 0.7, 0.8, 3)).holds


def test_what_was_not_measured_is_not_judged() -> None:
    assert reached([{"377x32": {"scopegate": measure(50.0)}}]) == []
