"""What all programs under measurement stand on: cores, folders, configurations with @PLACES@ filled in, the upstream."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from bench.plan import LARGE, SMALL
from bench.processes import CannotMeasure, Program, free_port

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent
PEERS: Final = ROOT / ".venv/peers"
_SYSTEM: Final = "/usr/sbin"  # of servers; not on everybody's PATH
_WORKLOG: Final = (
    '{"tempoWorklogId":126,"issue":{"id":10023},"timeSpentSeconds":3600,"startDate":"2026-11-01","description":"%s","author":{"accountId":"5b10a2"}}'
)


class Ground(NamedTuple):
    """``gateway_core`` is the gateway's, ``other_core`` that of load, upstream and stores; ``upstream`` is a port of the loopback; ``python`` runs
    Scopegate."""

    gateway_core: int
    other_core: int
    folder: Path
    upstream: int
    upstream_program: Program
    python: Path


class Running(NamedTuple):
    """A program that takes requests. ``gateway`` and ``store`` are process ids; ``log`` is emptied after each measurement.

    ``lookups`` tells how often it has asked its store for a token, and ``cached`` whether it may do without: None where nobody counts.
    """

    port: int
    token_file: Path
    gateway: list[int]
    store: list[int]
    log: Path | None = None
    lookups: Callable[[], int] = lambda: 0
    cached: bool | None = None


def program(name: str) -> Path:
    """A program's file; CannotMeasure if it is not installed. The wheels' own programs, not their starters in Python, which would cost as well."""
    inside = [*PEERS.glob(f"lib/python3*/site-packages/{name}/_bin/{name}"), PEERS / "bin" / name]
    found = next((path for path in inside if path.is_file()), None) or shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SYSTEM}")
    if not found:
        raise CannotMeasure(f"{name} is not installed: make bench installs it")
    return Path(found)


def two_cores() -> tuple[int, int]:
    """The gateway's core, and the one for everything else, to which this process moves. CannotMeasure where there is only one."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise CannotMeasure("the bench needs two cores: one for the gateway, one for load and upstream")
    os.sched_setaffinity(0, {cores[1]})
    return cores[0], cores[1]


def configured(name: str, folder: Path, **places: object) -> Path:
    """A file of bench/peers with its places filled in, written to ``folder``."""
    text = (HERE / "peers" / name).read_text("utf-8")
    for place, value in {"FOLDER": folder, **places}.items():
        text = text.replace(f"@{place}@", str(value))
    left = re.search(r"@[A-Z]+@", text)
    if left:
        raise CannotMeasure(f"bench/peers/{name}: nothing is known of {left[0]}")
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def token_file(folder: Path, text: str) -> Path:
    """A file that holds a token, for the load to read: so it stands in no list of processes."""
    path = folder / "token"
    path.touch(0o600)
    path.write_text(text + "\n", "ascii")
    return path


def start_upstream(stack: ExitStack, folder: Path, core: int) -> tuple[int, Program]:
    """nginx with the two answers."""
    answers = folder / "answers"
    answers.mkdir()
    for name, size in (("small.json", SMALL), ("large.json", LARGE)):
        (answers / name).write_text(worklogs(size), "ascii")
    port = free_port()
    upstream = stack.enter_context(Program([program("nginx"), "-c", configured("upstream.conf", folder, PORT=port)], [core], folder / "upstream.out"))
    upstream.await_answer(port)
    return port, upstream


def worklogs(size: int) -> str:
    """A list of worklogs, JSON of exactly ``size`` bytes."""
    head, tail = '{"metadata":{"offset":0,"limit":50},"results":[', "]}"
    one = len(_WORKLOG % "")
    count = max(1, (size - len(head) - len(tail)) // (one + 100))
    spare = size - len(head) - len(tail) - count * one - (count - 1)
    each, rest = divmod(spare, count)
    return head + ",".join(_WORKLOG % ("x" * (each + (number < rest))) for number in range(count)) + tail
