"""The embedded server's start, and signals that come in it."""

from __future__ import annotations

import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from gateway.store.embedded import EmbeddedStore


def test_a_signal_that_comes_while_the_server_starts_leaves_none_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen to fail with the signals let in there: the server ran, and nobody had noted it."""

    class Told(Exception):
        pass

    def stop(*_: object) -> None:
        raise Told

    popen, started = subprocess.Popen, []

    def popen_and_signal(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = popen(*arguments, **options)
        started.append(process)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)  # a gateway that starts has one thread; this process may have more
        return process

    monkeypatch.setattr(subprocess, "Popen", popen_and_signal)
    before = signal.signal(signal.SIGTERM, stop)
    try:
        server = EmbeddedStore(tmp_path, tied=True)
        with pytest.raises(Told):
            server.start()
        assert server.pid is None
        assert started[0].poll() is not None
    finally:
        signal.signal(signal.SIGTERM, before)
        for process in started:
            process.kill()
            process.wait()


def test_the_server_takes_the_signals_that_were_held_back_while_it_started(tmp_path: Path) -> None:
    """Seen to fail without the unblocking in the new process: it had to be killed."""
    server = EmbeddedStore(tmp_path, tied=True)
    server.start()
    pid = server.pid
    assert pid is not None
    try:
        blocked = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigBlk:"))
        assert not int(blocked.split()[1], 16) & (1 << (signal.SIGTERM - 1) | 1 << (signal.SIGINT - 1))
    finally:
        server.stop()
