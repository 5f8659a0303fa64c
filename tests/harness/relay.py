"""A TCP relay before a server, by which a test cuts the cable: bytes pass, or are held back, in each direction of each connection. It also counts
connections, is as slow as a test likes, and may not be there at all."""

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

    def __init__(self, source: socket.socket, sink: socket.socket, look: Callable[[bytes], bytes], ended: Callable[[], None]) -> None:
        self.held: bytearray | None = None
        self._source = source
        self._sink = sink
        self._look = look
        self._ended = ended
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
                data = self._look(data)
                with self._lock:
                    if self.held is None:
                        self._sink.sendall(data)
                    else:
                        self.held += data
        if self.held is None:
            with contextlib.suppress(OSError):
                self._sink.shutdown(socket.SHUT_RDWR)
        self._ended()


class Cable:
    """One connection through the relay. ``up`` runs to the server, ``down`` to the client; ``port`` is the client's; ``is_link``: it asked for pushes."""

    def __init__(self, client: socket.socket, server: socket.socket, relay: Relay) -> None:
        self.client, self.server = client, server
        self.port: int = client.getpeername()[1]
        self.is_link = False
        self.up = Flow(client, server, self._asked, self._flow_ended)
        self.down = Flow(server, client, self._answered, self._flow_ended)
        self._relay = relay
        self._flowing = threading.Semaphore(1)  # the second one to end takes it in vain
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

    def _asked(self, data: bytes) -> bytes:
        self.is_link = self.is_link or b"TRACKING" in data
        self._relay.on_question(self, data)
        return data

    def _answered(self, data: bytes) -> bytes:
        return self._relay.on_answer(data)

    def _flow_ended(self) -> None:
        if not self._flowing.acquire(blocking=False):
            self.client.close()
            self.server.close()


class Relay:
    """Listens on ``port`` of 127.0.0.1 before a server on a unix socket or a port. ``opened`` gets each new connection before a byte has passed;
    ``on_question`` gets what comes from a client before it is passed on; ``on_answer`` gives what is passed on of what the server says.
    ``connections`` counts those that were made, whether or not the server took them."""

    def __init__(self, server: Path | int) -> None:
        self.opened: Callable[[Cable], None] = lambda _: None
        self.on_question: Callable[[Cable, bytes], None] = lambda *_: None
        self.on_answer: Callable[[bytes], bytes] = lambda data: data
        self.connections = 0
        self._server = server
        self._cables: list[Cable] = []
        self.port = 0
        self.admit()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()

    def admit(self) -> None:
        """Listen."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="relay", daemon=True)
        self._thread.start()

    def refuse(self) -> None:
        """Listen no more, and end all connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()
        for cable in self._cables:
            cable.end()
        self._cables.clear()

    def link_of(self, pid: int) -> Cable:
        """The connection by which a process is told of changes, once it has one."""

        def found() -> list[Cable]:
            return [cable for cable in self._cables if cable.is_link and end_of(pid, cable.port, self.port)]

        return eventually(found, "a link through the relay")[0]

    def mend(self) -> None:
        """Let all pass again. What was cut is ended, so that its clients connect anew."""
        self.opened, self.on_question, self.on_answer = (lambda _: None), (lambda *_: None), (lambda data: data)
        for cable in list(self._cables):
            if cable.up.held is not None or cable.down.held is not None:
                cable.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                server = self._connected()
            except OSError:
                client.close()
                continue
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            cable = Cable(client, server, self)
            self._cables.append(cable)
            self.opened(cable)
            cable.start()

    def _connected(self) -> socket.socket:
        if isinstance(self._server, int):
            return socket.create_connection(("127.0.0.1", self._server))
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(str(self._server))
        except OSError:
            server.close()
            raise
        return server
