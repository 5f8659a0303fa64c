"""The table, the data and the chart of a sitting."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from bench.figures import Measure, Round
from bench.plan import CASES, TITLES, Case, Plan
from bench.report import Sitting, write


def measure(cpu_us: float) -> Measure:
    return Measure(requests=1000, cpu_us=cpu_us, store_us=12.0, rate=20_000.0, p50_ms=1.5, p99_ms=3.0, failed=0)


def sitting(plan: Plan, rounds: Sequence[Round], left_out: dict[str, str] | None = None) -> Sitting:
    return Sitting(plan, "2026-11-25", {"processor": "Some CPU"}, {"nginx": "1.22.1"}, rounds, left_out or {})


def whole(folder: Path) -> Sitting:
    plan = Plan(results=folder)
    return sitting(plan, [{case.id: {row: measure(50.0 + 10 * number) for row in TITLES} for case in CASES} for number in range(5)])


def test_the_whole_bench_is_called_bench_and_everything_less_a_trial(tmp_path: Path) -> None:
    full = whole(tmp_path)
    assert [Path(path).name for path in write(full, finished=True)] == ["bench.md", "bench.json", "bench.svg"]
    for less, finished in (
        (full, False),
        (full._replace(left_out={"caddy": "caddy does not start"}), True),
        (full._replace(plan=Plan(starts=4, results=tmp_path)), True),
    ):
        assert [Path(path).name for path in write(less, finished=finished)] == ["trial.md", "trial.json", "trial.svg"]


def test_the_table_has_median_range_ratio_starts_machine_and_versions(tmp_path: Path) -> None:
    plan = Plan(rows=("nginx-lua", "scopegate"), cases=(Case(377, 32),), starts=2, results=tmp_path)
    rounds = [{"377x32": {"nginx-lua": measure(50.0), "scopegate": measure(60.0)}}, {"377x32": {"nginx-lua": measure(50.0), "scopegate": measure(80.0)}}]
    table = Path(write(sitting(plan, rounds), finished=True)[0]).read_text("utf-8")
    assert "- processor: Some CPU\n- nginx: 1.22.1" in table
    assert "## 377 bytes, 32 connections" in table
    assert "| Scopegate, cached | 2 | 70.0 (60.0\u201380.0) | 1.40 (1.20\u20131.60) | 12.0 (12.0\u201312.0) | 20,000 (20,000\u201320,000) |" in table


def test_what_was_to_be_reached_is_told_with_whether_it_was(tmp_path: Path) -> None:
    plan = Plan(rows=("nginx-lua", "scopegate", "scopegate-ask"), cases=(Case(377, 32),), starts=1, results=tmp_path)
    rounds = [{"377x32": {"nginx-lua": measure(50.0), "scopegate": measure(60.0), "scopegate-ask": measure(75.0)}}]
    table = Path(write(sitting(plan, rounds), finished=True)[0]).read_text("utf-8")
    assert "## To reach" in table
    assert "| CPU of Scopegate, cached, to nginx + Lua + Redis: 377 bytes, 32 connections | 1 | 1.20 | 1 | **missed** |" in table
    assert "| CPU of Scopegate, store asked each time, to nginx + Lua + Redis: 377 bytes, 32 connections | 1 | 1.50 | 1.5 | holds |" in table


def test_two_workers_on_the_cores_of_the_load_show_no_rate_and_no_times(tmp_path: Path) -> None:
    plan = Plan(rows=("scopegate-2",), cases=(Case(377, 32),), starts=1, results=tmp_path)
    table = Path(write(sitting(plan, [{"377x32": {"scopegate-2": measure(60.0)}}]), finished=True)[0]).read_text("utf-8")
    assert "| Scopegate, 2 workers | 1 | 60.0 | \u2013 | 12.0 | \u2013 | \u2013 | \u2013 | \u2013 |" in table


def test_a_row_that_was_left_out_is_told_with_its_reason(tmp_path: Path) -> None:
    plan = Plan(rows=("caddy",), cases=(Case(377, 32),), starts=1, results=tmp_path)
    table = Path(write(sitting(plan, [{"377x32": {}}], {"caddy": "caddy does not start: no"}), finished=True)[0]).read_text("utf-8")
    assert "- Caddy plain: caddy does not start: no" in table


def test_the_data_hold_every_single_measurement(tmp_path: Path) -> None:
    data = json.loads(Path(write(whole(tmp_path), finished=True)[1]).read_text("utf-8"))
    assert [each["377x256"]["envoy"]["cpu_us"] for each in data["rounds"]] == [50.0, 60.0, 70.0, 80.0, 90.0]


def test_the_chart_is_svg_with_a_bar_for_each_row_of_each_case_inside_its_width(tmp_path: Path) -> None:
    root = ElementTree.fromstring(Path(write(whole(tmp_path), finished=True)[2]).read_text("utf-8"))
    bars = root.findall("{http://www.w3.org/2000/svg}rect")
    assert len(bars) == len(CASES) * len(TITLES)
    assert all(0 < float(bar.attrib["x"]) + float(bar.attrib["width"]) < float(root.attrib["width"]) for bar in bars)
    assert "prefers-color-scheme: dark" in ElementTree.tostring(root, "unicode")
