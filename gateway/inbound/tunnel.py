"""A WebSocket, once the upstream has agreed to it (RFC 6455): bytes both ways, unread, each side at the pace of the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.inbound.connection import ClientConnection
    from gateway.upstream.exchange import UpstreamConnection


class Tunnel:
    """Relays between a client and an upstream connection until one of them ends. ``closed`` is called when the upstream does."""

    __slots__ = ("_client", "_closed", "_connection", "bytes_in", "bytes_out")

    def __init__(self, client: ClientConnection, connection: UpstreamConnection, closed: Callable[[], None]) -> None:
        self._client = client
        self._connection = connection
        self._closed = closed
        self.bytes_in = 0
        self.bytes_out = 0

    # -- from the client

    def client_bytes(self, data: bytes) -> None:
        self.bytes_in += len(data)
        self._connection.write(data)

    def client_full(self) -> None:
        self._connection.pause_reading()

    def client_drained(self) -> None:
        self._connection.resume_reading()

    # -- from the upstream

    def on_tunnel(self, data: bytes) -> None:
        self.bytes_out += len(data)
        self._client.write(data)

    def on_tunnel_full(self) -> None:
        self._client.hold()

    def on_tunnel_drained(self) -> None:
        self._client.release()

    def on_tunnel_closed(self) -> None:
        self._closed()
