"""``python -m bench.footprint``: memory, revocation, and what a large policy costs; a table and data in bench/results. See docs/bench.md."""

from __future__ import annotations

import datetime
import json
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import fmean
from typing import Final, NamedTuple

from bench import memory
from bench.command import run, say
from bench.footprint_report import KINDS, MB, Sitting, write
from bench.ground import ROOT, Ground, Running, program, token_file, two_cores
from bench.interpreter import interpreter
from bench.load import drive, measure
from bench.machine import machine, versions
from bench.plan import FIGURES, Case, Plan
from bench.population import populate, use
from bench.processes import CannotMeasure, Program, free_port
from bench.revocation import revokes, revokes_beside_load
from bench.scopegate import Scopegate, start_row, start_scopegate
from gateway.core.token_text import TokenText
from gateway.ports import StoreUnavailable
from gateway.store.connection import StoreOptions
from gateway.store.embedded import EmbeddedStore

PLAIN: Final = Case(377, 32)
_LOADED: Final = frozenset({"revoke", "routes"})  # what needs wrk


class Sizes(NamedTuple):
    """How much of everything; what is laid down, unless a test asks for less."""

    tokens: int = 100_000
    body: int = 1 << 30
    idle: int = 5_000
    changes: int = 2_000
    revokes: int = 500
    beside: int = 200  # revokes beside a load
    few: int = 10  # routes
    many: int = 10_000


class Stand(NamedTuple):
    """What all figures stand on. ``options``: a store of the bench's own, ``tokens`` are in it."""

    ground: Ground
    options: StoreOptions
    tokens: Sequence[TokenText]
    sizes: Sizes
    seconds: int

    def start(self, stack: ExitStack, folder: Path, **variables: str) -> Scopegate:
        """A gateway with one worker on this store."""
        return start_scopegate(stack, self.ground, folder, [self.ground.gateway_core], {"SCOPEGATE_STORE__URL": self.options.url, **variables})

    def row(self, gateway: Scopegate, folder: Path) -> Running:
        """The gateway as the load sees it."""
        return Running(gateway.port, token_file(folder, gateway.token()), gateway.own, gateway.store)


def tokens(stand: Stand, stack: ExitStack, folder: Path) -> dict[str, float]:
    """A worker with all tokens at hand."""
    before, after = memory.of_tokens(stand.start(stack, folder, SCOPEGATE_CACHE__RECORDS=str(max(1, len(stand.tokens)))), stand.tokens)
    each = (after.rss - before.rss) / len(stand.tokens)
    return {"worker_mb": before.rss / MB, "tokens_mb": after.rss / MB, "tokens_pss_mb": after.pss / MB, "token_bytes": each}


def bodies(stand: Stand, stack: ExitStack, folder: Path) -> dict[str, float]:
    """A large body through a worker, up and down."""
    gateway = stand.start(stack, folder, SCOPEGATE_LIMITS__BODY="2GiB")
    up, down = memory.of_bodies(gateway, gateway.token(), stand.sizes.body)
    return {"up_mb": up / MB, "down_mb": down / MB}


def idle(stand: Stand, stack: ExitStack, folder: Path) -> dict[str, float]:
    """Connections that wait."""
    gateway = stand.start(stack, folder)
    before, after = memory.of_idle(gateway, stand.row(gateway, folder), stand.sizes.idle)
    return {"idle_mb": (after.rss - before.rss) / MB}


def push(stand: Stand, _: ExitStack, folder: Path) -> dict[str, float]:
    """From a change to its drop, in a process of its own by the gateway's interpreter."""
    ground, options = stand.ground, stand.options
    command: list[str | Path] = [ground.python, "-m", "bench.push", options.url, folder / "node", str(stand.sizes.changes)]
    done = subprocess.run(["taskset", "-c", str(ground.gateway_core), *command], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotMeasure(done.stderr.strip().rpartition("\n")[2] or "bench.push does not say why it ended")
    return _times("push", [each / 1000 for each in json.loads(done.stdout)])


def revoke(stand: Stand, stack: ExitStack, folder: Path) -> dict[str, float]:
    """Revokes by the API, alone and beside a load."""
    gateway = stand.start(stack, folder)
    made = populate(stand.options, stand.sizes.revokes + stand.sizes.beside)
    use(gateway.port, made)
    alone = revokes(gateway, made[: stand.sizes.revokes])
    busy = revokes_beside_load(gateway, stand.row(gateway, folder), made[stand.sizes.revokes :], stand.seconds, stand.ground.other_core)
    return _times("revoke", alone) | _times("busy", busy)


def routes(stand: Stand, stack: ExitStack, folder: Path) -> dict[str, float]:
    """Two gateways whose policies differ in size, loaded in turn: the first again as the last, so that a drift of the machine hits both."""
    few, many = (_row_of(stand, stack, folder / str(count), count) for count in (stand.sizes.few, stand.sizes.many))
    for row in (few, many):
        drive(row, PLAIN, 1, stand.ground.other_core)
    measured = [measure(row, PLAIN, stand.seconds, stand.ground.other_core).cpu_us for row in (few, many, many, few)]
    of_few, of_many = fmean((measured[0], measured[3])), fmean(measured[1:3])
    return {"few_us": of_few, "many_us": of_many, "routes_ratio": of_many / of_few}


def _row_of(stand: Stand, stack: ExitStack, folder: Path, count: int) -> Running:
    folder.mkdir()
    policy = folder / "policy.yaml"
    policy.write_text(policy_of(count), "ascii")
    return start_row(stack, stand.ground, folder, variables={"SCOPEGATE_STORE__URL": stand.options.url}, policy=policy)


def policy_of(count: int) -> str:
    """A policy of so many routes, the one that is asked for in their midst."""
    lines = [f'  - {{path: "/4/area{number:05}/{{id}}", scope: areas}}\n' for number in range(count - 1)]
    lines.insert(len(lines) // 2, '  - {path: "/4/worklogs/**", scope: worklogs}\n')
    return f"version: 1\nscopes:\n  worklogs: {{title: Worklogs}}\n  areas: {{title: Areas}}\nroutes:\n{''.join(lines)}"


def _times(name: str, values: Sequence[float]) -> dict[str, float]:
    return {f"{name}_p50_ms": percentile(values, 50), f"{name}_p99_ms": percentile(values, 99), f"{name}_max_ms": max(values)}


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent do not exceed (nearest rank). ValueError if there are none."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


_DONE_BY: Final[dict[str, Callable[[Stand, ExitStack, Path], dict[str, float]]]] = {
    "tokens": tokens,
    "bodies": bodies,
    "idle": idle,
    "push": push,
    "revoke": revoke,
    "routes": routes,
}


@contextmanager
def standing(folder: Path, cores: tuple[int, int], python: Path, seconds: int, sizes: Sizes, count: int) -> Iterator[Stand]:
    """The upstream, and a store with ``count`` tokens in it. CannotMeasure."""
    with ExitStack() as stack:
        port = free_port()
        upstream = stack.enter_context(Program([python, "-m", "bench.upstream", str(port)], [cores[1]], folder / "upstream.out", _environ()))
        upstream.await_answer(port)
        try:
            store = stack.enter_context(EmbeddedStore(folder / "store", tied=True))
        except StoreUnavailable as why:
            raise CannotMeasure(str(why)) from None
        options = StoreOptions(store.url, folder / "node", timeout_s=10.0)
        made = populate(options, count)
        yield Stand(Ground(*cores, folder, port, upstream, python), options, made, sizes, seconds)


def _environ() -> dict[str, str]:
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(ROOT)}


def sit(plan: Plan, sizes: Sizes = Sizes()) -> int:  # noqa: B008 - it is immutable
    """The whole sitting; 0, or 1 where a figure is missing."""
    if _LOADED & set(plan.figures):
        program("wrk")
    python = interpreter(plan.python)
    cores = two_cores()
    left_out: dict[str, str] = {}
    rounds: list[dict[str, float]] = []
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    sitting = Sitting(plan, day, machine(), versions((), python), rounds, left_out)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scopegate-bench-", ignore_cleanup_errors=True)))
        stand = stack.enter_context(standing(folder, cores, python, plan.seconds, sizes, sizes.tokens if "tokens" in plan.figures else 1))
        for number in range(1, plan.starts + 1):
            values: dict[str, float] = {}
            for figure in plan.figures:
                try:
                    values |= one_start(figure, stand)
                except CannotMeasure as why:
                    left_out[figure] = str(why)
                    say(f"bench: {FIGURES[figure]}: {why}")
                    continue
                told = ", ".join(f"{KINDS[name].form.format(value)} {KINDS[name].unit}" for name, value in values.items() if KINDS[name].figure == figure)
                say(f"start {number} of {plan.starts} · {FIGURES[figure]}: {told}")
            rounds.append(values)
            written = write(sitting)  # what was measured survives an interruption
    print(Path(written[0]).read_text("utf-8"))
    say(f"bench: written: {', '.join(written)}")
    return 1 if left_out else 0


def one_start(figure: str, stand: Stand) -> dict[str, float]:
    """One start of what a figure needs, and what it found. CannotMeasure."""
    folder = Path(tempfile.mkdtemp(prefix=f"{figure}-", dir=stand.ground.folder))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        return _DONE_BY[figure](stand, stack, folder)


if __name__ == "__main__":
    sys.exit(run(sit))
