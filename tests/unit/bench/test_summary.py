"""The README's five lines: made from the results, and the same as the results say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.figures import Measure
from bench.footprint_report import KINDS
from bench.footprint_report import Sitting as Footprint
from bench.footprint_report import data as footprint_data
from bench.plan import CASES, TITLES, Plan
from bench.report import Sitting, data
from bench.summary import BEGIN, END, README, block, lines, replaced, summary

CPU = {"scopegate": 50.0, "scopegate-ask": 70.0, "nginx-lua": 40.0, "envoy": 100.0, "caddy": 125.0}


def write_results(folder: Path) -> None:
    """A whole sitting whose second round is twice as slow, on all rows but Caddy's."""
    rounds = [
        {
            case.id: {row: Measure(1000, CPU.get(row, 60.0) * (1 if row == "caddy" else factor), 12.0, 20_000.0, 1.5, 3.0 * factor, 0) for row in TITLES}
            for case in CASES
        }
        for factor in (1, 2, 1)
    ]
    plan = Plan(results=folder, starts=3)
    facts = ("2026-11-25", {"processor": "Some CPU"}, {"Python": "CPython 3.11.2, built somehow"})
    (folder / "bench.json").write_text(data(Sitting(plan, *facts, rounds, {})))
    found = [dict.fromkeys(KINDS, value) for value in (1.0, 3.0, 2.0)]
    (folder / "footprint.json").write_text(footprint_data(Footprint(plan, *facts, found, {})))


def test_the_readme_tells_what_the_results_say_and_nothing_where_there_are_none() -> None:
    assert block(README.read_text("utf-8")) == lines()


def test_the_results_are_told_in_five_lines_with_medians_and_ranges(tmp_path: Path) -> None:
    write_results(tmp_path)
    told = lines(tmp_path)
    assert len(told) == 5
    assert "costs 50 (50\u2013100) µs of CPU" in told[0]
    assert "1.25\u00d7 (1.25\u20131.25) nginx + Lua + Redis" in told[0]
    assert "0.50\u00d7 (0.50\u20130.50) Envoy and 0.40\u00d7 (0.40\u20130.80) Caddy" in told[0]
    assert "1.75\u00d7 (1.75\u20131.75) where the store is asked each time" in told[1]
    assert "2.0 MB with 100,000 live tokens at hand" in told[2]
    assert "after 2.00 ms (p99 2.00, longest 2.00)" in told[3]
    assert "3 starts of each program in turn, 2026-11-25: Some CPU, CPython 3.11.2, built somehow." in told[4]


@pytest.mark.parametrize("file", ["bench.json", "footprint.json"])
def test_half_of_the_results_is_told_as_nothing(tmp_path: Path, file: str) -> None:
    write_results(tmp_path)
    (tmp_path / file).unlink()
    assert lines(tmp_path) == []


def test_a_value_that_is_missing_is_not_made_up(tmp_path: Path) -> None:
    write_results(tmp_path)
    bench, footprint = (json.loads((tmp_path / file).read_text()) for file in ("bench.json", "footprint.json"))
    for each in footprint["rounds"]:
        del each["idle_mb"]
    with pytest.raises(KeyError, match="idle_mb"):
        summary(bench, footprint)


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    readme = f"# Title\n\n{BEGIN}\nold\n{END}\n\n## More\n"
    assert replaced(readme, ["- new", "- lines"]) == f"# Title\n\n{BEGIN}\n- new\n- lines\n{END}\n\n## More\n"
    assert block(replaced(readme, [])) == []


@pytest.mark.parametrize("readme", ["# Title\n", f"{BEGIN}\nold\n"])
def test_a_readme_without_its_marks_is_told(readme: str) -> None:
    with pytest.raises(ValueError, match=r"README\.md lacks the line <!-- bench"):
        replaced(readme, [])
