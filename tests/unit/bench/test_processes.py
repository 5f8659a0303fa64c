"""Programs under measurement: started, followed in /proc, ended with all that they started."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from bench.processes import CannotMeasure, Program, cpu_us, descendants, free_port, started

CORES = sorted(os.sched_getaffinity(0))[:1]
# A parent that burns a little processor time, and a child that does so too.
FAMILY = """
import os, sys, time
child = os.fork()
end = time.process_time() + 0.2
while time.process_time() < end: pass
print("done", os.getpid(), flush=True)
time.sleep(60)
"""


def wait_for(path: Path, lines: int) -> None:
    deadline = time.monotonic() + 20
    while path.read_text().count("done") < lines:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for_the_end(pids: list[int]) -> None:
    deadline = time.monotonic() + 10
    while any(started(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_processor_time_is_that_of_the_whole_tree_and_all_of_it_ends(tmp_path: Path) -> None:
    with Program([sys.executable, "-c", FAMILY], CORES, tmp_path / "out") as family:
        wait_for(tmp_path / "out", 2)
        pids = family.pids()
        assert len(pids) == 2
        assert cpu_us(pids) - cpu_us(pids[:1]) > 150_000
        assert cpu_us(pids) > 300_000
        assert os.sched_getaffinity(pids[1]) == set(CORES)
    wait_for_the_end(pids)


def test_a_program_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    with (
        Program([sys.executable, "-c", "print('no such option')"], CORES, tmp_path / "out") as program,
        pytest.raises(CannotMeasure, match=r"python.* does not start: no such option"),
    ):
        program.await_port(free_port())


def test_a_program_that_does_not_end_when_asked_is_ended_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.processes.STOP_S", 0.2)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FAMILY
    with Program([sys.executable, "-c", deaf], CORES, tmp_path / "out") as family:
        wait_for(tmp_path / "out", 2)
        pids = family.pids()
    wait_for_the_end(pids)


def test_children_of_a_program_that_has_died_are_ended_too(tmp_path: Path) -> None:
    with Program([sys.executable, "-c", FAMILY], CORES, tmp_path / "out") as family:
        wait_for(tmp_path / "out", 2)
        pids = family.pids()
        os.kill(pids[0], 9)
    wait_for_the_end(pids)


def test_a_process_that_ended_while_it_was_measured_gives_no_figure(tmp_path: Path) -> None:
    with Program([sys.executable, "-c", FAMILY], CORES, tmp_path / "out") as family:
        wait_for(tmp_path / "out", 2)
        pids = family.pids()
        os.kill(pids[1], 9)
    with pytest.raises(CannotMeasure, match="has ended while it was measured"):
        cpu_us(pids)


def test_this_process_is_among_its_own_descendants() -> None:
    assert descendants(os.getpid())[0] == os.getpid()
