"""From single measurements to medians, ranges and ratios."""

from __future__ import annotations

import pytest

from bench.figures import Measure, Spread, lines, ratios, spread


def measure(cpu_us: float, p99_ms: float = 3.0, failed: int = 0) -> Measure:
    return Measure(requests=1000, cpu_us=cpu_us, store_us=0.0, rate=1000.0, p50_ms=1.0, p99_ms=p99_ms, failed=failed)


def test_a_spread_is_median_range_and_number_of_starts() -> None:
    assert spread([50.0, 90.0, 60.0]) == Spread(60.0, 50.0, 90.0, 3)


def test_no_values_make_no_spread() -> None:
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_a_ratio_is_taken_within_a_round_not_between_medians() -> None:
    rounds = [
        {"377x32": {"scopegate": measure(50.0), "nginx-lua": measure(50.0)}},
        {"377x32": {"scopegate": measure(90.0), "nginx-lua": measure(60.0)}},
        {"377x32": {"scopegate": measure(60.0), "nginx-lua": measure(30.0)}},
    ]
    assert ratios(rounds, "377x32", "scopegate", "cpu_us") == Spread(1.5, 1.0, 2.0, 3)  # the medians alone would give 1.2


def test_a_round_that_lacks_one_of_a_pair_gives_no_ratio() -> None:
    rounds = [{"377x32": {"scopegate": measure(50.0)}}, {"377x32": {"scopegate": measure(90.0), "nginx-lua": measure(60.0)}}]
    assert ratios(rounds, "377x32", "scopegate", "cpu_us") == Spread(1.5, 1.5, 1.5, 1)
    assert ratios(rounds[:1], "377x32", "scopegate", "cpu_us") is None


def test_a_table_has_a_line_for_each_row_that_was_measured_and_adds_up_what_failed() -> None:
    rounds = [{"377x32": {"caddy": measure(100.0, failed=2)}}, {"377x32": {"caddy": measure(110.0, failed=1)}}, {}]
    (line,) = lines(rounds, "377x32", ["nginx", "caddy"])
    assert (line.row, line.cpu_us, line.failed, line.cpu_ratio) == ("caddy", Spread(105.0, 100.0, 110.0, 2), 3, None)
