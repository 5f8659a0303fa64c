"""Debian's redis-server: it speaks TLS, which the shipped Valkey does not, and has no WAITAOF."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

from tests.harness.certificates import Pair
from tests.harness.gateway import free_port

_START_S = 20.0


class RedisServer:
    """A server of one test on 127.0.0.1. With ``tls`` it takes TLS alone, on ``port``, and asks clients for a certificate of ``ca`` where ``ca`` is given."""

    def __init__(self, folder: Path, *, tls: Pair | None = None, ca: Path | None = None, **settings: Any) -> None:
        self.folder = folder
        self.port = free_port()
        self.settings = {
            "dir": folder,
            "save": "",
            "bind": "127.0.0.1",
            "port": self.port,
            **{name.replace("_", "-"): value for name, value in settings.items()},
        }
        if tls is not None:
            self.settings |= {"port": 0, "tls-port": self.port, "tls-cert-file": tls.certificate, "tls-key-file": tls.key}
            self.settings |= {"tls-ca-cert-file": ca or tls.certificate, "tls-auth-clients": "yes" if ca else "no"}
        self.process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def program() -> str:
        found = shutil.which("redis-server")
        assert found, "redis-server is missing: apt-get install redis-server"
        return found

    def start(self) -> Self:
        """Start it and wait until it listens."""
        self.folder.mkdir(exist_ok=True)
        command = [self.program()]
        for name, value in self.settings.items():
            command += [f"--{name}", *(map(str, value) if isinstance(value, list) else [str(value)])]
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + _START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                alive = self.process.poll() is None and time.monotonic() < end
                assert alive, (self.folder / "redis.log").read_text()[-1000:]
                time.sleep(0.02)
            else:
                return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        """End it."""
        if self.process is not None:
            self.process.send_signal(by)
            self.process.wait(10)
            self.process = None
