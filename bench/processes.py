"""Programs under measurement: started on given cores, watched in /proc, ended by their process id."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

TICK_US: Final = 1e6 / os.sysconf("SC_CLK_TCK")
START_S: Final = 20.0
STOP_S: Final = 15.0
_STORES: Final = ("valkey-server", "redis-server")


class CannotMeasure(Exception):
    """A program is missing, does not start, or ends too soon. The text is one plain line."""


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Program:
    """One program with all processes that it starts. ``output`` is where it writes what it has to say."""

    def __init__(self, argv: Sequence[str | Path], cores: Sequence[int], output: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = Path(argv[0]).name if argv[1:2] != ["-m"] else "scopegate" if argv[2] == "gateway" else str(argv[2])
        self._output = output
        # Each is in a session of its own, so that Ctrl-C reaches only us, who end them in order; should we be killed, the kernel tells them.
        pinned = ["taskset", "-c", ",".join(map(str, cores)), "setpriv", "--pdeathsig", "TERM", *map(str, argv)]
        with output.open("wb") as out:
            self._process = subprocess.Popen(pinned, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, start_new_session=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.stop()

    def await_port(self, port: int) -> None:
        """Return once it takes connections on a port of the loopback; CannotMeasure with its last words if it does not."""
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise CannotMeasure(f"{self.name} does not start: {self.last_words()}")
            time.sleep(0.02)

    def await_answer(self, port: int) -> None:
        """Return once it answers a request by HTTP, whatever it says: then the processes that serve are there; CannotMeasure as ``await_port``."""
        self.await_port(port)
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=START_S) as asking:
            asking.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            if asking.recv(1):
                return
        raise CannotMeasure(f"{self.name} does not answer: {self.last_words()}")

    def last_words(self) -> str:
        """The last line that it wrote."""
        lines = self._output.read_text("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")

    def pids(self) -> list[int]:
        """Its processes: the one that was started and all that descend from it."""
        if self._process.poll() is not None:
            raise CannotMeasure(f"{self.name} has ended: {self.last_words()}")
        return descendants(self._process.pid)

    def split(self) -> tuple[list[int], list[int]]:
        """Its own processes, and those of a store that it has started."""
        every = {pid: command(pid) for pid in self.pids()}
        return [pid for pid, name in every.items() if name not in _STORES], [pid for pid, name in every.items() if name in _STORES]

    def stop(self) -> None:
        """Ask it to end, and wait; then end whatever is left of what it has started."""
        root = self._process.pid
        tree = {*descendants(root), *session(root)}
        begun = {pid: started(pid) for pid in tree}
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        for pid in tree:
            if started(pid) and started(pid) == begun[pid]:  # the number may be another's by now
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._process.wait()


def pin(pid: int, core: int) -> None:
    """Move a process with all its threads to one core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), {core})


def _stat(pid: int) -> tuple[str, list[str]] | None:
    """The command's name, and the fields of /proc/PID/stat from the state on (proc(5)); None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    head, _, rest = text.rpartition(")")
    return head.partition("(")[2], rest.split()


def command(pid: int) -> str:
    """What a process is called, "" if it has ended."""
    found = _stat(pid)
    return found[0] if found else ""


def arguments(pid: int) -> list[str]:
    """With what a process was started, [] if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace").split("\0")
    except OSError:
        return []


def started(pid: int) -> int:
    """When a process began, in ticks since the machine did; 0 if it has ended."""
    found = _stat(pid)
    return int(found[1][19]) if found and found[1][0] != "Z" else 0


def session(leader: int) -> list[int]:
    """The processes of a session, orphans too."""
    every = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in every if (found := _stat(pid)) and int(found[1][3]) == leader]


def descendants(root: int) -> list[int]:
    """A process and all below it, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (found := _stat(int(entry.name))):
            children.setdefault(int(found[1][1]), []).append(int(entry.name))
    tree = [root]
    for pid in tree:  # grows while it is walked
        tree += children.get(pid, [])
    return tree


def cpu_us(pids: Sequence[int]) -> float:
    """Processor time of these processes since their start, user and system, all threads, in microseconds (to a tick, mostly 10 ms)."""
    total = 0
    for pid in pids:
        found = _stat(pid)
        if found is None:
            raise CannotMeasure(f"process {pid} has ended while it was measured")
        total += int(found[1][11]) + int(found[1][12])
    return total * TICK_US
