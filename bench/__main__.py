"""``python -m bench``: every gateway in turn, one core each, and the tables in bench/results. See docs/bench.md."""

from __future__ import annotations

import datetime
import random
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.command import run, say
from bench.figures import Measure, Round
from bench.ground import Ground, Running, program, start_upstream, two_cores
from bench.interpreter import interpreter
from bench.load import drive, measure
from bench.machine import machine, versions
from bench.plan import TITLES, Case, Plan
from bench.processes import CannotMeasure
from bench.report import Sitting, write
from bench.rows import start_row

WARM: Case = Case(377, 32)


def run_round(number: int, plan: Plan, ground: Ground, left_out: dict[str, str]) -> Round:
    """Every row started once, and measured case by case in turn, so that what is compared was measured in the same minute."""
    folder = Path(tempfile.mkdtemp(prefix=f"round{number}-", dir=ground.folder))
    found: dict[str, dict[str, Measure]] = {case.id: {} for case in plan.cases}
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        running: dict[str, Running] = {}
        for row in plan.rows:
            try:
                running[row] = start_row(row, stack, ground, folder / row)
                drive(running[row], WARM, 1, ground.other_core)
            except CannotMeasure as why:
                running.pop(row, None)
                left_out[row] = str(why)
                say(f"bench: {TITLES[row]} is left out: {why}")
        for case in plan.cases:
            order = list(running)
            random.shuffle(order)  # who comes first or after whom must not be the same in every round
            for row in order:
                try:
                    figure = found[case.id][row] = measure(running[row], case, plan.seconds, ground.other_core)
                except CannotMeasure as why:
                    left_out[row] = f"{case.title}: {why}"
                    say(f"bench: {TITLES[row]}, {case.title}: {why}")
                    continue
                if figure.failed:
                    left_out[row] = f"{case.title}: {figure.failed} of {figure.requests} answers failed"
                say(f"start {number} of {plan.starts} · {case.title} · {TITLES[row]}: {figure.cpu_us:.1f} µs")
    return found


def sit(plan: Plan) -> int:
    """The whole sitting; 0, or 1 where a row has no figures or failed answers."""
    program("wrk")
    python = interpreter(plan.python)
    cores = two_cores()
    left_out: dict[str, str] = {}
    rounds: list[Round] = []
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    sitting = Sitting(plan, day, machine(), versions(plan.rows, python), rounds, left_out)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scopegate-bench-", ignore_cleanup_errors=True)))
        port, upstream = start_upstream(stack, folder, cores[1])
        ground = Ground(*cores, folder, port, upstream, python)
        for number in range(1, plan.starts + 1):
            rounds.append(run_round(number, plan, ground, left_out))
            written = write(sitting, finished=number == plan.starts)  # what was measured survives an interruption
    print(Path(written[0]).read_text("utf-8"))
    say(f"bench: written: {', '.join(written)}")
    return 1 if left_out else 0


if __name__ == "__main__":
    sys.exit(run(sit))
