"""From single measurements to figures. A *start* of a program is the unit: ratios are taken within one round, medians over rounds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from bench.plan import BASE


class Measure(NamedTuple):
    """One row, one case, one start. ``cpu_us`` and ``store_us`` are microseconds of processor time a request, of the gateway's processes and of
    its store's; ``rate`` requests a second; ``failed`` answers that were not 2xx or 3xx, and broken connections."""

    requests: int
    cpu_us: float
    store_us: float
    rate: float
    p50_ms: float
    p99_ms: float
    failed: int


class Spread(NamedTuple):
    """A figure over several starts."""

    median: float
    low: float
    high: float
    starts: int


class Line(NamedTuple):
    """One row of a table. The ratios are to nginx + Lua + Redis in the same round; None where that was not measured."""

    row: str
    cpu_us: Spread
    store_us: Spread
    rate: Spread
    p50_ms: Spread
    p99_ms: Spread
    cpu_ratio: Spread | None
    p99_ratio: Spread | None
    failed: int


Round = Mapping[str, Mapping[str, Measure]]
"""Case id -> row -> measurement, of one round."""


def spread(values: Iterable[float]) -> Spread:
    """Median and range. ValueError if there are none."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    return Spread(statistics.median(ordered), ordered[0], ordered[-1], len(ordered))


def ratios(rounds: Iterable[Round], case: str, row: str, field: str, base: str = BASE) -> Spread | None:
    """A field of one row divided by the base's, pair by pair within each round that has both."""
    pairs = [(each[case][row], each[case][base]) for each in rounds if row in each.get(case, {}) and base in each[case]]
    found = [getattr(mine, field) / getattr(theirs, field) for mine, theirs in pairs if getattr(theirs, field)]
    return spread(found) if found else None


def lines(rounds: Sequence[Round], case: str, rows: Iterable[str]) -> list[Line]:
    """The table of one case: one line for each row that was measured at all."""
    table = []
    for row in rows:
        found = [each[case][row] for each in rounds if row in each.get(case, {})]
        if found:
            table.append(
                Line(
                    row,
                    spread(each.cpu_us for each in found),
                    spread(each.store_us for each in found),
                    spread(each.rate for each in found),
                    spread(each.p50_ms for each in found),
                    spread(each.p99_ms for each in found),
                    ratios(rounds, case, row, "cpu_us"),
                    ratios(rounds, case, row, "p99_ms"),
                    sum(each.failed for each in found),
                )
            )
    return table
