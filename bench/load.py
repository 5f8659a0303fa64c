"""Load on one row: wrk on busy connections, our own idle ones beside them, and what it cost."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from bench.figures import Measure
from bench.ground import HERE, Running, program
from bench.plan import LARGE, Case
from bench.processes import CannotMeasure, cpu_us

ASTRAY: Final = 0.01  # of the requests: some renew what they know, after a pause of the machine
PATHS: Final = {False: "/4/worklogs?from=2026-11-01", True: "/4/worklogs/126"}


def measure(row: Running, case: Case, seconds: int, core: int) -> Measure:
    """One figure of one row; CannotMeasure."""
    with idle_connections(row, case):
        asked = row.lookups()
        before, store_before = cpu_us(row.gateway), cpu_us(row.store)
        told = drive(row, case, seconds, core)
        spent, store_spent = cpu_us(row.gateway) - before, cpu_us(row.store) - store_before
        _check_lookups(row, case, row.lookups() - asked, told["requests"])
    if row.log is not None and row.log.exists():
        os.truncate(row.log, 0)  # the disk is not what is measured
    return Measure(
        requests=round(told["requests"]),
        cpu_us=spent / told["requests"],
        store_us=store_spent / told["requests"],
        rate=told["requests"] / told["seconds"],
        p50_ms=told["p50_ms"],
        p99_ms=told["p99_ms"],
        failed=round(told["refused"] + told["broken"]),
    )


def _check_lookups(row: Running, case: Case, asked: int, requests: float) -> None:
    """CannotMeasure where a row did not do what it is called by: have the tokens at hand, or ask the store for them."""
    expected = 0 if row.cached else requests
    if row.cached is not None and abs(asked - expected) > ASTRAY * requests + 3 * case.connections:  # those under way, and those decided twice
        raise CannotMeasure(f"the store was asked for the tokens of {asked:,} of {requests:,.0f} requests")


def drive(row: Running, case: Case, seconds: int, core: int) -> dict[str, int | float]:
    """Run wrk; what bench/peers/load.lua tells at its end. CannotMeasure."""
    url = f"http://127.0.0.1:{row.port}{PATHS[case.size == LARGE]}"
    asked = ["taskset", "-c", str(core), str(program("wrk")), "-t1", f"-c{case.connections}", f"-d{seconds}s", "-s", str(HERE / "peers/load.lua"), url]
    env = {**os.environ, "BENCH_TOKEN_FILE": str(row.token_file)}
    # In our process group: Ctrl-C ends it too.
    done = subprocess.run(asked, env=env, capture_output=True, text=True, check=False, timeout=seconds + 30)
    last = done.stdout.strip().rpartition("\n")[2]
    if done.returncode or not last.startswith("{"):
        raise CannotMeasure(f"wrk did not finish: {(done.stderr or done.stdout).strip().rpartition(chr(10))[2]}")
    told: dict[str, int | float] = json.loads(last)
    if not told["requests"]:
        raise CannotMeasure("not one request was answered")
    return told


@contextmanager
def idle_connections(row: Running, case: Case) -> Iterator[None]:
    """Open connections that have each had one answer, and now wait. CannotMeasure where the row does not take them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < case.idle + 200:
        if hard != resource.RLIM_INFINITY and hard < case.idle + 200:
            raise CannotMeasure(f"{case.idle} connections need as many open files: raise the limit (ulimit -n)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (case.idle + 200, hard))
    token = row.token_file.read_text("ascii").strip()
    request = f"GET {PATHS[False]} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode("ascii")
    with ExitStack() as stack:
        waiting = [_opened(stack, row.port, request) for _ in range(case.idle)]
        yield
        closed = sum(_is_closed(each) for each in waiting)
        if closed:
            raise CannotMeasure(f"{closed} of {case.idle} idle connections were closed while the others were measured")


def _opened(stack: ExitStack, port: int, request: bytes) -> socket.socket:
    try:
        opened = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        opened.sendall(request)
        answer = opened.recv(65536)
    except OSError as error:
        raise CannotMeasure(f"an idle connection is not taken: {os.strerror(error.errno or 0)}") from None
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise CannotMeasure("the first request of an idle connection is refused")
    opened.setblocking(False)
    return opened


def _is_closed(opened: socket.socket) -> bool:
    """Whether the other side has closed. What is left of its answer is read first."""
    try:
        while opened.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
