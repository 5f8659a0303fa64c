"""A relay between the gateway and its store: it counts connections, is slow, loses requests or replies, or is not there at all."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Self


class Relay:
    """Listens on a free port of 127.0.0.1 and passes bytes on to ``target``. What is set counts from the next bytes on, also on open connections.

    ``delay_s``: each piece from the server comes so much later. ``lose_reply_to``: once a client has said this, nothing more from the server
    reaches it on this connection. ``lose_request``: from these bytes on, nothing of the client reaches the server. ``rewrite``: what the server says
    of itself, and what is heard instead, of the same length. ``connections`` counts those that were made to the relay, whether or not the server
    took them.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.connections = 0
        self.delay_s = 0.0
        self.lose_reply_to: bytes | None = None
        self.lose_request: bytes | None = None
        self.rewrite: tuple[bytes, bytes] = (b"", b"")
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()

    def refuse(self) -> None:
        """Nobody listens here any more, and what was open is closed."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def admit(self) -> None:
        """Listen again."""
        self._listener = self._listen(self.port)

    def cut(self) -> None:
        """Close every connection."""
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=512)
        threading.Thread(target=self._accept, args=(listener,), name="relay", daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                server = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                client.close()
                continue
            _Passage(self, client, server)

    def enter(self, *sockets: socket.socket) -> None:
        with self._lock:
            self._open.update(sockets)

    def leave(self, *sockets: socket.socket) -> None:
        with self._lock:
            self._open.difference_update(sockets)
        for each in sockets:
            each.close()


class _Passage:
    """One connection and the one behind it."""

    def __init__(self, relay: Relay, client: socket.socket, server: socket.socket) -> None:
        self._relay = relay
        self._client = client
        self._server = server
        self._deaf = self._mute = False
        self._ended = 0
        for each in (client, server):
            each.settimeout(None)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        relay.enter(client, server)
        for work in (self._up, self._down):
            threading.Thread(target=self._pass, args=(work,), daemon=True).start()

    def _pass(self, work: object) -> None:
        with contextlib.suppress(OSError):
            work()  # type: ignore[operator]
        for each in (self._client, self._server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._ended += 1
        if self._ended == 2:
            self._relay.leave(self._client, self._server)

    def _up(self) -> None:
        while data := self._client.recv(65536):
            lost, unanswered = self._relay.lose_request, self._relay.lose_reply_to
            self._mute = self._mute or (lost is not None and lost in data)
            self._deaf = self._deaf or (unanswered is not None and unanswered in data)
            if not self._mute:
                self._server.sendall(data)

    def _down(self) -> None:
        while data := self._server.recv(65536):
            if self._relay.delay_s:
                time.sleep(self._relay.delay_s)
            said, heard = self._relay.rewrite
            if not self._deaf:
                self._client.sendall(data.replace(said, heard) if said else data)
