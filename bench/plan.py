"""What a sitting measures: rows, cases, starts, seconds; the whole bench unless BENCH_* variables say less."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

SMALL: Final = 377
LARGE: Final = 64 * 1024
IDLE: Final = 5_000
RESULTS: Final = Path(__file__).parent / "results"
ENOUGH_STARTS: Final = 5  # fewer show little: the same program started twice differs by up to a half
BASE: Final = "nginx-lua"

TITLES: Final = {
    "direct": "direct, no gateway",
    "nginx": "nginx plain",
    "haproxy": "HAProxy plain",
    "nginx-lua": "nginx + Lua + Redis",
    "envoy": "Envoy plain",
    "caddy": "Caddy plain",
    "traefik": "Traefik plain",
    "scopegate": "Scopegate, cached",
    "scopegate-ask": "Scopegate, store asked each time",
    "scopegate-2": "Scopegate, 2 workers",
}
FIGURES: Final = {
    "tokens": "live tokens in a worker's memory",
    "bodies": "large bodies through a worker",
    "idle": "idle connections of a worker",
    "push": "from a change in the store to its drop in a worker",
    "revoke": "a revoke by the management API",
    "routes": "a policy of many routes",
}
CPU_ONLY: Final = frozenset({"scopegate-2"})  # it shares both cores with load and upstream: its rates and times say nothing


class Case(NamedTuple):
    """Answers of ``size`` bytes on ``connections`` busy connections, with ``idle`` others that are just open."""

    size: int
    connections: int
    idle: int = 0

    @property
    def id(self) -> str:
        return f"{self.size}x{self.connections}" + (f"+{self.idle}" if self.idle else "")

    @property
    def title(self) -> str:
        size = "64 KiB" if self.size == LARGE else f"{self.size} bytes"
        plural = "" if self.connections == 1 else "s"
        return f"{size}, {self.connections} connection{plural}" + (f" beside {self.idle:,} idle ones" if self.idle else "")


CASES: Final = tuple(Case(size, *rest) for size in (SMALL, LARGE) for rest in ((32,), (256,), (1,), (32, IDLE)))


class PlanFault(Exception):
    """A BENCH_* variable is wrong. The text says which, and what is right."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One sitting. ``seconds`` is how long each figure is measured; ``python`` runs Scopegate, "" for our own."""

    rows: tuple[str, ...] = tuple(TITLES)
    cases: tuple[Case, ...] = CASES
    starts: int = ENOUGH_STARTS
    seconds: int = 4
    results: Path = RESULTS
    python: str = ""
    figures: tuple[str, ...] = tuple(FIGURES)

    @property
    def whole(self) -> bool:
        """Whether this is the whole bench, whose results may be shown."""
        return self.starts >= ENOUGH_STARTS and set(self.rows) == set(TITLES) and set(self.cases) == set(CASES)


def read_plan(environ: Mapping[str, str] = os.environ) -> Plan:
    """The plan that the BENCH_* variables ask for; PlanFault."""
    by_id = {case.id: case for case in CASES}
    return Plan(
        rows=_chosen(environ, "BENCH_ROWS", tuple(TITLES)),
        cases=tuple(by_id[chosen] for chosen in _chosen(environ, "BENCH_CASES", tuple(by_id))),
        starts=_number(environ, "BENCH_STARTS", ENOUGH_STARTS, 100),
        seconds=_number(environ, "BENCH_SECONDS", 4, 60),
        results=Path(environ.get("BENCH_RESULTS") or RESULTS),
        python=environ.get("BENCH_PYTHON", ""),
        figures=_chosen(environ, "BENCH_FIGURES", tuple(FIGURES)),
    )


def _chosen(environ: Mapping[str, str], name: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """The named ones, in the order of all."""
    named = [part.strip() for part in environ.get(name, "").split(",") if part.strip()]
    wrong = [part for part in named if part not in known]
    if wrong:
        raise PlanFault(f"{name}: there is no {wrong[0]}; name some of {', '.join(known)}")
    return tuple(each for each in known if not named or each in named)


def _number(environ: Mapping[str, str], name: str, default: int, most: int) -> int:
    written = environ.get(name) or str(default)
    if not (written.isascii() and written.isdigit() and 1 <= int(written) <= most):
        raise PlanFault(f"{name}: write a whole number from 1 to {most}")
    return int(written)
