"""The access log: one JSON line a request, written in batches off the request's path. No query, no secret.

Lines wait in a list for at most a fifth of a second. A file or pipe that does not take them costs lines, never a request: what
waits is bounded, and the number of lost lines is told in the next line that goes out.

Several workers write to the same place, and their lines must not mix. A file takes each write whole. A pipe, a socket or a terminal does so up to
PIPE_BUF bytes (POSIX, write): there whole lines go out in pieces that small, and the path of a line that is longer is cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import select
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

FLUSH_S: Final = 0.2
WAITING_LIMIT: Final = 50_000
_CLOSE_S: Final = 1.0
_PIECE: Final = 500  # lines encoded at once: more would hold up the loop
_CUT_PATH: Final = 1024


class AccessLine(msgspec.Struct, omit_defaults=True, gc=False):
    """One request. ``time`` is Unix seconds, durations are milliseconds; what is not known is left out.

    ``path`` is the canonical path, only where the token was proved or the route is public, cut (it ends in "…" then) where the line would be too
    long for a pipe; ``code`` a refusal's reason, or how it ended; ``reported`` the reason for which a request would have been refused that was let through
    because its route only reports.
    """

    time: float
    request_id: str
    client: str
    method: str
    status: int
    duration_ms: float
    path: str = ""
    route: str = ""
    scope: str = ""
    upstream: str = ""
    code: str = ""
    token_id: str = ""
    owner: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    reported: str = ""
    lost_lines: int = 0


class AccessLog:
    """Writes to standard output, to a file, or nowhere. ``where`` is "stdout", "off" or a path; OSError if it can't be opened."""

    def __init__(self, where: str) -> None:
        self.enabled = where != "off"
        self._lines: list[AccessLine] = []
        self._lost = 0
        self._encoder = msgspec.json.Encoder()
        self._own: int | None = None
        self._fd = sys.stdout.fileno() if where == "stdout" else -1
        if self.enabled and where != "stdout":
            self._fd = self._own = os.open(Path(where), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o640)
            os.set_blocking(self._own, True)  # it was for the opening: a named pipe without a reader is refused, not waited for
        self._whole = not self.enabled or stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._writer = _Writer(self._fd)

    def add(self, line: AccessLine) -> None:
        """Note one request."""
        if len(self._lines) < WAITING_LIMIT:
            self._lines.append(line)
        else:
            self._lost += 1

    async def run(self) -> None:
        """Write what waits, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_S)
            await self.flush()

    async def flush(self) -> None:
        """Write what waits now; what comes meanwhile waits for the next time, for each handing over to the thread costs more than many lines."""
        for _ in range(0, len(self._lines), _PIECE):
            piece, self._lines = self._lines[:_PIECE], self._lines[_PIECE:]
            if self._lost:
                piece[0].lost_lines, self._lost = self._lost, 0
            texts = [self._encoder.encode_lines(piece)] if self._whole else list(self._small(piece))
            if not await self._writer.write(texts):
                self._lost += len(piece) + piece[0].lost_lines
                return

    def _small(self, lines: list[AccessLine]) -> Iterator[bytes]:
        """The lines in pieces that go out whole."""
        waiting = b""
        for line in lines:
            text = self._encoder.encode(line) + b"\n"
            if len(text) > select.PIPE_BUF:
                line.path = line.path[:_CUT_PATH] + "…"
                text = self._encoder.encode(line) + b"\n"
            if len(waiting) + len(text) > select.PIPE_BUF:
                yield waiting
                waiting = b""
            waiting += text
        yield waiting

    async def close(self) -> None:
        """Write the rest, within a second, and close the file."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self.flush()
        if self._own is not None and self._writer.idle:
            os.close(self._own)
            self._own = None


class _Writer:
    """Writes in a thread that nobody has to wait for: a pipe that is full and not read must not keep the process from ending."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: queue.SimpleQueue[tuple[list[bytes], asyncio.Future[bool], asyncio.AbstractEventLoop]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._torn = False  # what was written last is the beginning of a line: a disk became full in it
        self.idle = True

    async def write(self, texts: list[bytes]) -> bool:
        """Whether the texts were written, whole."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="access log", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        written: asyncio.Future[bool] = loop.create_future()
        self.idle = False
        self._waiting.put((texts, written, loop))
        return await written

    def _work(self) -> None:
        while True:
            texts, written, loop = self._waiting.get()
            done = self._write(texts)
            self.idle = True
            with contextlib.suppress(RuntimeError):  # the loop has ended without us
                loop.call_soon_threadsafe(_settle, written, done)

    def _write(self, texts: list[bytes]) -> bool:
        try:
            for text in texts:
                view = memoryview(b"\n" + text if self._torn else text)
                while view:
                    written = os.write(self._descriptor, view)
                    self._torn = view[written - 1] != ord("\n")
                    view = view[written:]
        except OSError:
            return False
        return True


def _settle(written: asyncio.Future[bool], done: bool) -> None:
    if not written.done():
        written.set_result(done)
