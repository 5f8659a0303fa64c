"""A place for a process, as the supervisor sees it: who sits in it now, what it says, what those before it have counted."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import sysconfig
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import gateway
from gateway.observe.metrics import Counters
from gateway.processes.child import OURS
from gateway.processes.control import REPORTS, Incoming, Order, Report, packed

_READ: Final = 1024 * 1024
_OFTEN: Final = 5  # deaths
_OFTEN_S: Final = 10.0
PAUSE_S: Final = 1.0


class Slot:
    """The place of one worker or of the management process. ``listener`` stays open here, so that what waits in its queue outlives a process."""

    def __init__(self, name: str, module: str, listener: socket.socket) -> None:
        self.name = name
        self.module = module
        self.listener = listener
        self.control: socket.socket | None = None
        self.pid = 0  # 0: nobody
        self.ready = False
        self.draining = False
        self.refused = ""
        self.policy = ""
        self.heard_s = 0.0
        self.last = Counters()
        self.past = Counters()
        self.start_at: float | None = None  # when the next process is due
        self._unsent = bytearray()
        self._incoming = Incoming()
        self._deaths: deque[float] = deque(maxlen=_OFTEN + 1)

    def launch(self, environ: Mapping[str, str], now: float) -> None:
        """Start a process. OSError if that can't be done."""
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", "-m", self.module, str(theirs.fileno()), str(self.listener.fileno())]
            # Blocked, so that none ends the process before it has said what they mean to it; it unblocks them itself.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, OURS)
            try:
                process = subprocess.Popen(  # noqa: S603 - our own module
                    command, stdin=subprocess.DEVNULL, env=dict(environ), pass_fds=(theirs.fileno(), self.listener.fileno())
                )
            except OSError:
                ours.close()
                raise
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        process.returncode = 0  # whoever ends is reaped by the supervisor, so that as process 1 it reaps all; Popen has done its part
        ours.setblocking(False)
        self.control, self.pid = ours, process.pid
        self.ready = self.draining = False
        self.refused = self.policy = ""
        self.heard_s = now
        self.start_at = None
        self._unsent.clear()
        self._incoming = Incoming()

    def fileno(self) -> int:
        """The control socket's, for select."""
        return self.control.fileno() if self.control is not None else -1

    def send(self, order: Order) -> None:
        """Say something, or as much of it as the socket takes: ``flush`` says the rest."""
        self._unsent += packed(order)
        self.flush()

    def flush(self) -> None:
        """Send on."""
        if self.control is not None:
            with contextlib.suppress(BlockingIOError, ConnectionError):  # who is gone is noticed by its end
                while self._unsent:
                    del self._unsent[: self.control.send(self._unsent)]

    @property
    def unsent(self) -> bool:
        return bool(self._unsent)

    def receive(self) -> list[Report]:
        """What it has said; at the end of its side ``control`` is None. ValueError where it is no message."""
        data = bytearray()
        with contextlib.suppress(BlockingIOError):
            while self.control is not None:
                try:
                    piece = self.control.recv(_READ)
                except ConnectionError:
                    piece = b""
                data += piece
                if not piece:
                    self.control.close()
                    self.control = None
        return self._incoming.feed(bytes(data), REPORTS)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if somebody is there: only the supervisor reaps, so the number can't be another's."""
        if self.pid:
            os.kill(self.pid, number)

    def died(self, now: float) -> bool:
        """Nobody sits here any more; whether this has happened too often of late, so that the next should wait a little."""
        if self.control is not None:
            self.control.close()
        self.control, self.pid = None, 0
        self.ready = False
        self.past.keep(self.last)
        self.last = Counters()
        self._unsent.clear()
        self._deaths.append(now)
        return len(self._deaths) > _OFTEN and now - self._deaths[0] < _OFTEN_S


def environment(environ: Mapping[str, str], secrets: list[str]) -> dict[str, str]:
    """What processes inherit: all but our settings and what is a secret of theirs, which come over the control socket; and where this package is."""
    kept = {name: value for name, value in environ.items() if not name.startswith("SCOPEGATE_") and value not in secrets}
    root = str(Path(gateway.__file__).parent.parent)
    if root not in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH"))))
    return kept
