"""What ``python -m bench.footprint`` has found, as a table for people (Markdown) and as data (JSON)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from bench.figures import Spread, spread
from bench.plan import ENOUGH_STARTS, FIGURES, Plan
from bench.report import shown


class Kind(NamedTuple):
    """A measured value: of which figure it is one, what it is, in which unit and with how many digits, and the most that it may be, where that is laid
    down. ``under``: it must stay below."""

    figure: str
    title: str
    unit: str
    form: str
    most: float | None = None
    under: bool = True


MB: Final = 1_000_000
KINDS: Final = {
    "worker_mb": Kind("tokens", "a worker, RSS", "MB", "{:.1f}"),
    "tokens_mb": Kind("tokens", "the same with 100,000 live tokens at hand, RSS", "MB", "{:.1f}", 80),
    "tokens_pss_mb": Kind("tokens", "the same, PSS: what it shares with other processes counted in part", "MB", "{:.1f}"),
    "token_bytes": Kind("tokens", "a token", "bytes", "{:.0f}"),
    "up_mb": Kind("bodies", "1 GiB up adds at most", "MB", "{:.1f}", 5),
    "down_mb": Kind("bodies", "1 GiB down adds at most", "MB", "{:.1f}", 5),
    "idle_mb": Kind("idle", "5,000 idle connections add", "MB", "{:.1f}", 25),
    "push_p50_ms": Kind("push", "from a change to its drop, p50", "ms", "{:.2f}"),
    "push_p99_ms": Kind("push", "p99", "ms", "{:.2f}", 1),
    "push_max_ms": Kind("push", "the longest of 2,000", "ms", "{:.2f}"),
    "revoke_p50_ms": Kind("revoke", "a revoke until it is answered, p50", "ms", "{:.2f}"),
    "revoke_p99_ms": Kind("revoke", "p99", "ms", "{:.2f}"),
    "revoke_max_ms": Kind("revoke", "the longest of 500", "ms", "{:.2f}"),
    "busy_p50_ms": Kind("revoke", "beside a load that keeps the worker busy, p50", "ms", "{:.2f}"),
    "busy_p99_ms": Kind("revoke", "p99", "ms", "{:.2f}"),
    "busy_max_ms": Kind("revoke", "the longest of up to 200", "ms", "{:.2f}"),
    "few_us": Kind("routes", "CPU a request with a policy of 10 routes", "µs", "{:.1f}"),
    "many_us": Kind("routes", "with one of 10,000", "µs", "{:.1f}"),
    "routes_ratio": Kind("routes", "the second to the first", "\u00d7", "{:.2f}", 1.05, under=False),
}


class Sitting(NamedTuple):
    """A sitting so far: ``rounds`` holds what each start found, by the names of KINDS; ``left_out`` says why a figure is missing or lacks some."""

    plan: Plan
    day: str
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    rounds: Sequence[Mapping[str, float]]
    left_out: Mapping[str, str]

    @property
    def whole(self) -> bool:
        """Whether its results may be shown."""
        return len(self.rounds) == self.plan.starts >= ENOUGH_STARTS and set(self.plan.figures) == set(FIGURES) and not self.left_out


def found(rounds: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """Median and range of each value that was measured at all."""
    values = {name: [each[name] for each in rounds if name in each] for name in KINDS}
    return {name: spread(each) for name, each in values.items() if each}


def holds(kind: Kind, value: Spread) -> bool | None:
    """Whether the median is what was to be reached; None where nothing is laid down."""
    if kind.most is None:
        return None
    return value.median < kind.most if kind.under else value.median <= kind.most


def write(sitting: Sitting) -> list[str]:
    """Write both and return their paths. They are called ``footprint`` when all is measured, else ``trial.footprint``, which is not for showing."""
    name = "footprint" if sitting.whole else "trial.footprint"
    sitting.plan.results.mkdir(parents=True, exist_ok=True)
    paths = [sitting.plan.results / f"{name}.md", sitting.plan.results / f"{name}.json"]
    for path, text in zip(paths, (markdown(sitting), data(sitting)), strict=True):
        path.write_text(text, "utf-8")
    return list(map(str, paths))


def data(sitting: Sitting) -> str:
    """Every single value, so that other questions can be asked of it."""
    plan = {"starts": sitting.plan.starts, "seconds": sitting.plan.seconds, "figures": sitting.plan.figures}
    whole = {"day": sitting.day, "machine": sitting.machine, "versions": sitting.versions, "plan": plan, "left_out": sitting.left_out}
    return json.dumps({**whole, "rounds": sitting.rounds}, indent=1) + "\n"


def markdown(sitting: Sitting) -> str:
    """The table, with what it was measured on. How to read it is told in docs/bench.md."""
    starts = f"{len(sitting.rounds)} start{'s' if len(sitting.rounds) != 1 else ''} of each"
    out = [f"# Memory, revocation and policies, {sitting.day}", "", f"{starts}. Figures are medians with their range; how to read them: docs/bench.md.", ""]
    out += [f"- {name}: {value}" for name, value in {**sitting.machine, **sitting.versions}.items()]
    values = found(sitting.rounds)
    for figure, title in FIGURES.items():
        rows = {name: values[name] for name, kind in KINDS.items() if kind.figure == figure and name in values}
        if rows:
            out += ["", f"## {title[0].upper()}{title[1:]}", "", "| | starts | | at most | |", "|---|---:|---:|---:|---|"]
            out += [_line(KINDS[name], value) for name, value in rows.items()]
    if sitting.left_out:
        out += ["", "## Left out", "", *(f"- {FIGURES[figure]}: {why}" for figure, why in sitting.left_out.items())]
    return "\n".join(out) + "\n"


def _line(kind: Kind, value: Spread) -> str:
    verdict = {None: "", True: "holds", False: "**missed**"}[holds(kind, value)]
    most = "" if kind.most is None else f"{kind.most:g} {kind.unit}"
    return f"| {kind.title} | {value.starts} | {shown(value, kind.form)} {kind.unit} | {most} | {verdict} |"
