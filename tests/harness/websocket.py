"""An upgrade to WebSocket, as far as a gateway sees it: the handshake, then opaque bytes."""

from __future__ import annotations

from tests.harness.upstream import Peer, Seen

ASKS = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"


def echo(peer: Peer, _seen: Seen) -> None:
    """Send back what comes, until the other side ends or says END."""
    data, peer.buffer = peer.buffer, b""
    while True:
        if data:
            peer.send(data)
        if data.endswith(b"\xffEND"):
            raise EOFError
        data = peer.socket.recv(65536)
        if not data:
            raise EOFError
