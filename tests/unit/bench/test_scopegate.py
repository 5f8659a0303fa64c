"""Scopegate's own rows: all its processes are found, and what a row is called by is what it does."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.ground import Ground, Running
from bench.load import _check_lookups
from bench.plan import Case
from bench.processes import CannotMeasure, Program, arguments, command, free_port
from bench.rows import start_row

CORE = min(os.sched_getaffinity(0))
ASKED = 20


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    """One core for all: speed is not looked at here."""
    port = free_port()
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[3])}
    with Program([sys.executable, "-m", "bench.upstream", str(port)], [CORE], tmp_path / "upstream.out", environ) as upstream:
        upstream.await_answer(port)
        yield Ground(CORE, CORE, tmp_path, port, upstream, Path(sys.executable))


def ask(row: Running) -> None:
    """Some requests with the row's token, each on a connection of its own: so of several workers each gets some."""
    token = row.token_file.read_text().strip()
    for _ in range(ASKED):
        with socket.create_connection(("127.0.0.1", row.port), 10) as client:
            client.sendall(f"GET /4/worklogs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n".encode())
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(("name", "workers", "cached"), [("scopegate", 1, True), ("scopegate-ask", 1, False), ("scopegate-2", 2, True)])
def test_a_row_has_its_processes_and_asks_the_store_as_often_as_its_name_says(ground: Ground, name: str, workers: int, cached: bool) -> None:
    with ExitStack() as stack:
        row = start_row(name, stack, ground, ground.folder / name)
        modules = sorted(next((each for each in arguments(pid) if each.startswith("gateway.processes.")), "supervisor") for pid in row.gateway)
        assert modules == ["gateway.processes.management", *["gateway.processes.worker"] * workers, "supervisor"]
        assert [command(pid) for pid in row.store] == ["valkey-server"]
        assert row.cached is cached
        ask(row)
        before = row.lookups()
        ask(row)
        asked = row.lookups() - before
        # On a busy machine a lease may run out; and who had to wait for a connection to the upstream is decided again.
        assert asked < ASKED / 2 if cached else ASKED <= asked <= 2 * ASKED
        pids = [*row.gateway, *row.store]
    assert [pid for pid in pids if command(pid)] == []


def row_of(*, cached: bool | None) -> Running:
    return Running(0, Path(), [], [], cached=cached)


@pytest.mark.parametrize(("cached", "asked"), [(True, 0), (True, 190), (False, 10_000), (False, 10_190), (None, 5_000)])
def test_a_row_that_does_what_it_is_called_by_is_measured(cached: bool | None, asked: int) -> None:
    _check_lookups(row_of(cached=cached), Case(377, 32), asked, 10_000.0)


@pytest.mark.parametrize(("cached", "asked"), [(True, 10_000), (True, 300), (False, 0), (False, 9_700)])
def test_a_row_that_does_something_else_is_left_out(cached: bool, asked: int) -> None:
    with pytest.raises(CannotMeasure, match=rf"the store was asked for the tokens of {asked:,} of 10,000 requests"):
        _check_lookups(row_of(cached=cached), Case(377, 32), asked, 10_000.0)
