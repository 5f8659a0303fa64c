"""What a worker's memory grows by: with tokens that it has at hand, with large bodies, with idle connections. In bytes, as the kernel counts them."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench.ground import Running
from bench.load import idle_connections
from bench.plan import Case
from bench.population import use
from bench.processes import CannotMeasure
from bench.scopegate import Scopegate
from gateway.core.token_text import TokenText

_QUIET_S: Final = 2.5  # then what was noted of requests is written: usage goes out every second
_PIECE: Final = 1024 * 1024
_PAUSES: Final = 8
_PAUSE_S: Final = 0.2
_WARM: Final = 377  # bytes: a plain answer, so that what large bodies need for the first time counts


class Memory(NamedTuple):
    """``rss``: all that a process has in memory; ``pss``: what it shares with others counted in part."""

    rss: int
    pss: int


def memory(pid: int) -> Memory:
    """A process's memory now, from /proc (proc(5), smaps_rollup). CannotMeasure."""
    text = _read(pid, "smaps_rollup")
    return Memory(_field(text, "Rss"), _field(text, "Pss"))


def peak(pid: int) -> int:
    """The most that it had in memory since ``forget_peak``."""
    return _field(_read(pid, "status"), "VmHWM")


def forget_peak(pid: int) -> None:
    """Begin a new peak from what it has in memory now."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:
        raise CannotMeasure("the kernel does not let the bench begin a new peak of memory: run it as the gateway's user") from None


def _read(pid: int, file: str) -> str:
    try:
        return Path(f"/proc/{pid}/{file}").read_text("ascii")
    except OSError:
        raise CannotMeasure(f"process {pid} has ended, or its memory may not be looked at") from None


def _field(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s*(\d+) kB$", text, re.MULTILINE)
    if found is None:
        raise CannotMeasure(f"the kernel tells no {name}")
    return int(found[1]) * 1024


def of_tokens(gateway: Scopegate, tokens: Sequence[TokenText]) -> tuple[Memory, Memory]:
    """The only worker's memory before and with all these tokens at hand. CannotMeasure where they are not: each is used twice, and the second time none
    may be asked for."""
    (worker,) = gateway.workers
    use(gateway.port, tokens[:1])
    time.sleep(_QUIET_S)
    before, asked = memory(worker), gateway.lookups()
    use(gateway.port, tokens)
    first = gateway.lookups()
    use(gateway.port, tokens)
    if first - asked < len(tokens) - 1 or gateway.lookups() != first:
        raise CannotMeasure(f"of {len(tokens):,} tokens {gateway.lookups() - first:,} were asked for a second time")
    time.sleep(_QUIET_S)
    return before, memory(worker)


def of_idle(gateway: Scopegate, row: Running, count: int) -> tuple[Memory, Memory]:
    """The only worker's memory before and with idle connections open, each of which has had one answer."""
    (worker,) = gateway.workers
    with idle_connections(row, Case(0, 0, 1)):
        time.sleep(_QUIET_S)
        before = memory(worker)
    with idle_connections(row, Case(0, 0, count)):
        time.sleep(_QUIET_S)
        return before, memory(worker)


def of_bodies(gateway: Scopegate, token: str, size: int) -> tuple[int, int]:
    """By how much a body of ``size`` bytes raises the only worker's peak: going up, then coming down. A reader that stops now and then is at its end."""
    (worker,) = gateway.workers
    download(gateway.port, token, _WARM)
    before, added = memory(worker).rss, []
    for pass_through in (upload, download):
        forget_peak(worker)
        try:
            pass_through(gateway.port, token, size)
        except OSError as error:
            raise CannotMeasure(f"a large body does not pass: {os.strerror(error.errno) if error.errno else 'it stands still'}") from None
        added.append(max(0, peak(worker) - before))
    return added[0], added[1]


def upload(port: int, token: str, size: int) -> None:
    """Send a body; the service tells how long it was. CannotMeasure."""
    piece = memoryview(bytes(_PIECE))
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(_head("POST", "/4/worklogs", token, f"Content-Length: {size}\r\n"))
        for at in range(0, size, _PIECE):
            client.sendall(piece[: min(_PIECE, size - at)])
        answer = b""
        told = str(size).encode("ascii")
        while not answer.endswith(b"\r\n\r\n" + told):
            part = client.recv(65536)
            if not part:
                raise CannotMeasure("a large body did not arrive whole")
            answer += part


def download(port: int, token: str, size: int) -> None:
    """Read an answer's body to its end, not always at once. CannotMeasure."""
    room = bytearray(_PIECE)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(_head("GET", f"/4/worklogs/{size}", token, ""))
        answer = b""
        while b"\r\n\r\n" not in answer:
            part = client.recv(65536)
            if not part:
                break
            answer += part
        if not answer.startswith(b"HTTP/1.1 200 OK\r\n"):
            raise CannotMeasure("a large answer does not come")
        got, pause_at = len(answer.partition(b"\r\n\r\n")[2]), size // _PAUSES
        while got < size:
            part_size = client.recv_into(room)
            if not part_size:
                raise CannotMeasure("a large answer did not come whole")
            got += part_size
            if size > 8 * _PIECE and got >= pause_at:
                pause_at += size // _PAUSES
                time.sleep(_PAUSE_S)


def _head(method: str, target: str, token: str, fields: str) -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n{fields}\r\n".encode("ascii")
