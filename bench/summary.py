"""``python -m bench.summary``: puts the results of ``make bench`` into the README, in five lines between two marks. Without results there are none."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bench.figures import Measure, Round, Spread, spread
from bench.footprint_report import KINDS, found
from bench.goals import reached
from bench.ground import ROOT
from bench.plan import BASE, RESULTS
from bench.report import shown

README: Final = ROOT / "README.md"
BEGIN: Final = "<!-- bench: these lines are written by `make bench` -->"
END: Final = "<!-- bench: end -->"


def summary(bench: Mapping[str, Any], footprint: Mapping[str, Any]) -> list[str]:
    """Five Markdown lines from the data of a whole bench and of its footprint. KeyError where they lack something."""
    rounds: list[Round] = [{case: {row: Measure(**each) for row, each in rows.items()} for case, rows in whole.items()} for whole in bench["rounds"]]
    to = {(each.goal.row, each.goal.case.id, each.goal.field, each.goal.base): _times(each.ratio) for each in reached(rounds)}
    lua, envoy, caddy = (to["scopegate", "377x32", "cpu_us", base] for base in (BASE, "envoy", "caddy"))
    asking, large = to["scopegate-ask", "377x32", "cpu_us", BASE], to["scopegate", "65536x32", "cpu_us", BASE]
    crowd, p99 = to["scopegate", "377x256", "cpu_us", BASE], to["scopegate", "377x256", "p99_ms", BASE]
    cpu = spread(each["377x32"]["scopegate"].cpu_us for each in rounds)
    of = {name: KINDS[name].form.format(value.median) for name, value in found(footprint["rounds"]).items()}
    told = (
        (
            f"**A request** whose token is at hand costs {shown(cpu, '{:.0f}')} µs of CPU (377-byte answers, 32 connections, one core, access log and",
            f"metrics on): {lua} nginx + Lua + Redis, which check tokens too; {envoy} Envoy and {caddy} Caddy, which only forward.",
        ),
        (
            f"**To nginx + Lua + Redis**: {asking} where the store is asked each time, {large} with 64 KiB answers, {crowd} with 256 connections,",
            f"p99 then {p99}.",
        ),
        (
            f"**Memory of a worker**: {of['tokens_mb']} MB with 100,000 live tokens at hand; 5,000 idle connections add {of['idle_mb']} MB, 1 GiB up",
            f"{of['up_mb']} MB and down {of['down_mb']} MB. A policy of 10,000 routes costs {of['routes_ratio']}\u00d7 of what one of 10 does.",
        ),
        (
            f"**Revocation**: a change drops a record from a worker's memory within {of['push_p50_ms']} ms (p99 {of['push_p99_ms']}); a revoke is answered,",
            f"and in force, after {of['revoke_p50_ms']} ms (p99 {of['revoke_p99_ms']}, longest {of['revoke_max_ms']}).",
        ),
        (
            f"Medians (and ranges) of {len(rounds)} starts of each program in turn, {bench['day']}: {bench['machine']['processor']},",
            f"{bench['versions']['Python']}.",
            "[All figures](bench/results/bench.md), [memory and revocation](bench/results/footprint.md), [how to read them](docs/bench.md).",
        ),
    )
    return [f"- {' '.join(parts)}" for parts in told]


def _times(ratio: Spread) -> str:
    return f"{ratio.median:.2f}\u00d7" + (f" ({ratio.low:.2f}\u2013{ratio.high:.2f})" if ratio.starts > 1 else "")


def lines(results: Path = RESULTS) -> list[str]:
    """The summary of the results in a folder, [] where there are none that may be shown."""
    files = [results / "bench.json", results / "footprint.json"]
    if not all(file.exists() for file in files):
        return []
    bench, footprint = (json.loads(file.read_text("utf-8")) for file in files)
    return summary(bench, footprint)


def block(readme: str) -> list[str]:
    """The lines between the marks. ValueError where the marks are not there."""
    return _parts(readme)[1].splitlines()


def replaced(readme: str, new: list[str]) -> str:
    """The README with other lines between the marks. ValueError as for ``block``."""
    before, _, after = _parts(readme)
    return f"{before}{BEGIN}\n{''.join(f'{line}{chr(10)}' for line in new)}{END}{after}"


def _parts(readme: str) -> tuple[str, str, str]:
    before, begun, rest = readme.partition(f"{BEGIN}\n")
    inside, ended, after = rest.partition(END)
    if not begun or not ended:
        raise ValueError(f"README.md lacks the line {END if begun else BEGIN}")
    return before, inside, after


def main() -> int:
    new = lines()
    if not new:
        print("bench: no whole results, so the README stays as it is", file=sys.stderr)
        return 0
    README.write_text(replaced(README.read_text("utf-8"), new), "utf-8")
    print("bench: the README tells these results", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
