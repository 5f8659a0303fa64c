"""What BENCH_* variables make of a sitting."""

from __future__ import annotations

import pytest

from bench.plan import CASES, TITLES, Case, PlanFault, read_plan


def test_without_variables_it_is_the_whole_bench() -> None:
    plan = read_plan({})
    assert plan.whole
    assert (plan.rows, plan.cases, plan.starts) == (tuple(TITLES), CASES, 5)


def test_fewer_starts_rows_or_cases_are_a_trial() -> None:
    for variables in ({"BENCH_STARTS": "4"}, {"BENCH_ROWS": "nginx"}, {"BENCH_CASES": "377x32"}):
        assert not read_plan(variables).whole


def test_rows_and_cases_come_in_the_order_of_all_however_they_are_named() -> None:
    plan = read_plan({"BENCH_ROWS": "scopegate, nginx", "BENCH_CASES": "65536x1,377x32+5000", "BENCH_STARTS": "1", "BENCH_SECONDS": "1"})
    assert plan.rows == ("nginx", "scopegate")
    assert plan.cases == (Case(377, 32, 5000), Case(65536, 1))
    assert (plan.starts, plan.seconds) == (1, 1)


def test_figures_of_the_footprint_and_the_gateways_python_are_chosen() -> None:
    plan = read_plan({"BENCH_FIGURES": "push,tokens", "BENCH_PYTHON": "/usr/bin/python3"})
    assert (plan.figures, plan.python) == (("tokens", "push"), "/usr/bin/python3")
    assert plan.whole  # of the rows and cases nothing was left out


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("BENCH_ROWS", "nginx,apache", "there is no apache; name some of direct, nginx"),
        ("BENCH_CASES", "377x33", "there is no 377x33; name some of 377x32"),
        ("BENCH_FIGURES", "disk", "there is no disk; name some of tokens, bodies"),
        ("BENCH_STARTS", "0", "write a whole number from 1 to 100"),
        ("BENCH_SECONDS", "half", "write a whole number from 1 to 60"),
    ],
)
def test_a_wrong_variable_is_told_by_name_with_what_is_right(name: str, value: str, told: str) -> None:
    with pytest.raises(PlanFault) as fault:
        read_plan({name: value})
    assert str(fault.value).startswith(f"{name}: {told}")
