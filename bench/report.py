"""The results as a table for people (Markdown), as data (JSON) and as a chart (SVG)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from bench.chart import draw
from bench.figures import Line, Round, Spread, lines
from bench.goals import Reached, reached
from bench.plan import CPU_ONLY, TITLES, Case, Plan

_NOTHING: Final = "\u2013"


class Sitting(NamedTuple):
    """A sitting so far. ``left_out`` says why a row has no figures, or lacks some."""

    plan: Plan
    day: str
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    rounds: Sequence[Round]
    left_out: Mapping[str, str]


def write(sitting: Sitting, *, finished: bool) -> list[str]:
    """Write all three and return their paths. They are called ``bench`` when the whole bench has finished, else ``trial``, which is not for showing."""
    name = "bench" if finished and sitting.plan.whole and not sitting.left_out else "trial"
    tables = {case: table for case in sitting.plan.cases if (table := lines(sitting.rounds, case.id, sitting.plan.rows))}
    folder = sitting.plan.results
    folder.mkdir(parents=True, exist_ok=True)
    written = {f"{name}.md": markdown(sitting, tables), f"{name}.json": data(sitting), f"{name}.svg": draw(tables)}
    for file, text in written.items():
        (folder / file).write_text(text, "utf-8")
    return [str(folder / file) for file in written]


def data(sitting: Sitting) -> str:
    """Every single measurement, so that other questions can be asked of it."""
    rounds = [{case: {row: measure._asdict() for row, measure in rows.items()} for case, rows in each.items()} for each in sitting.rounds]
    plan = {"starts": sitting.plan.starts, "seconds": sitting.plan.seconds, "rows": sitting.plan.rows, "cases": [case.id for case in sitting.plan.cases]}
    whole = {"day": sitting.day, "machine": sitting.machine, "versions": sitting.versions, "plan": plan, "left_out": sitting.left_out, "rounds": rounds}
    return json.dumps(whole, indent=1) + "\n"


def markdown(sitting: Sitting, tables: Mapping[Case, list[Line]]) -> str:
    """The tables, with what they were measured on. How to read them is told in docs/bench.md."""
    facts = [f"- {name}: {value}" for name, value in {**sitting.machine, **sitting.versions}.items()]
    starts = f"{len(sitting.rounds)} start{'s' if len(sitting.rounds) != 1 else ''} of each program in turn, {sitting.plan.seconds} s a figure"
    out = [f"# The bench of {sitting.day}", "", f"{starts}. Figures are medians with their range; how to read them: docs/bench.md.", "", *facts]
    for case, table in tables.items():
        out += ["", f"## {case.title}", "", *table_lines(table)]
    out += goal_lines(reached(sitting.rounds))
    if sitting.left_out:
        out += ["", "## Left out", "", *(f"- {TITLES[row]}: {why}" for row, why in sitting.left_out.items())]
    return "\n".join(out) + "\n"


def table_lines(table: list[Line]) -> list[str]:
    """One case as a Markdown table, the least processor time first."""
    out = [
        "| | starts | µs CPU a request | to nginx + Lua + Redis | µs CPU of the store | requests/s | p50 ms | p99 ms | p99 to nginx + Lua + Redis |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for line in sorted(table, key=lambda each: each.cpu_us.median):
        timed = [_NOTHING] * 4
        if line.row not in CPU_ONLY:
            timed = [shown(line.rate, "{:,.0f}"), shown(line.p50_ms, "{:.2f}"), shown(line.p99_ms, "{:.2f}"), shown(line.p99_ratio, "{:.2f}")]
        store = shown(line.store_us, "{:.1f}") if line.store_us.high else _NOTHING
        name = TITLES[line.row] + (f" ({line.failed} answers failed)" if line.failed else "")
        cells = [name, str(line.cpu_us.starts), shown(line.cpu_us, "{:.1f}"), shown(line.cpu_ratio, "{:.2f}"), store, *timed]
        out.append(f"| {' | '.join(cells)} |")
    return out


def goal_lines(found: list[Reached]) -> list[str]:
    """What was to be reached, as a Markdown table."""
    if not found:
        return []
    out = ["", "## To reach", "", "| | starts | ratio | at most | |", "|---|---:|---:|---:|---|"]
    for each in found:
        verdict = "holds" if each.holds else "**missed**"
        out.append(f"| {each.goal.title} | {each.ratio.starts} | {shown(each.ratio, '{:.2f}')} | {each.goal.most:g} | {verdict} |")
    return out


def shown(figure: Spread | None, form: str) -> str:
    """Median and range of a figure; of a single start just that."""
    if figure is None:
        return _NOTHING
    middle = form.format(figure.median)
    return middle if figure.starts == 1 else f"{middle} ({form.format(figure.low)}\u2013{form.format(figure.high)})"
