"""A TCP relay before a server's unix socket, by which a test cuts the cable: bytes pass, or are held back, in each direction of each connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.harness.sockets import end_of
from tests.harness.waiting import eventually


class Flow:
    """One direction of a connection. ``held`` is what is held back; None while all passes."""

    def __init__(self, source: socket.socket, sink: socket.socket, look: Callable[[bytes], None]) -> None:
        self.held: bytearray | None = None
        self._source = source
        self._sink = sink
        self._look = look
        self._lock = threading.Lock()

    def hold(self) -> None:
        """Let nothing more through."""
        with self._lock:
            self.held = bytearray() if self.held is None else self.held

    def release(self, count: int | None = None) -> None:
        """Let the first ``count`` bytes of what is held through, and hold back the rest as before; without it, let all through from now on."""
        with self._lock:
            assert self.held is not None
            data, rest = (self.held, None) if count is None else (self.held[:count], self.held[count:])
            self.held = rest
            with contextlib.suppress(OSError):
                self._sink.sendall(data)

    def pump(self) -> None:
        """Pass on what comes. The end of one side is the other's, unless this direction is held: a cut cable tells nobody."""
        with contextlib.suppress(OSError):
            while data := self._source.recv(65536):
                self._look(data)
                with self._lock:
                    if self.held is None:
                        self._sink.sendall(data)
                    else:
                        self.held += data
        if self.held is None:
            with contextlib.suppress(OSError):
                self._sink.shutdown(socket.SHUT_RDWR)


class Cable:
    """One connection through the relay. ``up`` runs to the server, ``down`` to the client; ``port`` is the client's; ``is_link``: it asked for pushes."""

    def __init__(self, client: socket.socket, server: socket.socket, relay: Relay) -> None:
        self.client, self.server = client, server
        self.port: int = client.getpeername()[1]
        self.is_link = False
        self.up = Flow(client, server, self._asked)
        self.down = Flow(server, client, lambda _: None)
        self._relay = relay
        self._threads = [threading.Thread(target=flow.pump, name="relay", daemon=True) for flow in (self.up, self.down)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Close both sides and leave nothing behind."""
        self.close()
        for thread in self._threads:
            thread.join(5)
        self.client.close()
        self.server.close()

    def hold(self) -> None:
        """A black hole both ways: nobody is told."""
        self.up.hold()
        self.down.hold()

    def close(self) -> None:
        """End both sides."""
        for sock in (self.client, self.server):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _asked(self, data: bytes) -> None:
        self.is_link = self.is_link or b"TRACKING" in data
        self._relay.on_question(self, data)


class Relay:
    """Listens on ``port`` of 127.0.0.1. ``opened`` gets each new connection before a byte has passed; ``on_question`` gets what comes from a client
    before it is passed on."""

    def __init__(self, server: Path) -> None:
        self.opened: Callable[[Cable], None] = lambda _: None
        self.on_question: Callable[[Cable, bytes], None] = lambda *_: None
        self._server = server
        self._cables: list[Cable] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="relay", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()
        for cable in self._cables:
            cable.end()

    def link_of(self, pid: int) -> Cable:
        """The connection by which a process is told of changes, once it has one."""

        def found() -> list[Cable]:
            return [cable for cable in self._cables if cable.is_link and end_of(pid, cable.port, self.port)]

        return eventually(found, "a link through the relay")[0]

    def mend(self) -> None:
        """Let all pass again. What was cut is ended, so that its clients connect anew."""
        self.opened, self.on_question = (lambda _: None), (lambda *_: None)
        for cable in list(self._cables):
            if cable.up.held is not None or cable.down.held is not None:
                cable.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._server))
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            cable = Cable(client, server, self)
            self._cables.append(cable)
            self.opened(cable)
            cable.start()
