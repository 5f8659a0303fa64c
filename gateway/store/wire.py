"""One command to a server on a unix socket, without an event loop: for starting, probing and ending the embedded one."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path


def ask(path: Path, *command: str, timeout_s: float) -> bytes | None:
    """The first line of the reply (RESP), without its line end; None where nobody answers in ``timeout_s`` seconds."""
    parts = [part.encode() for part in command]
    packed = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
    reply = b""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        connection.connect(str(path))
        connection.sendall(packed)
        while b"\r\n" not in reply and (piece := connection.recv(4096)):
            reply += piece
    return reply.partition(b"\r\n")[0] if b"\r\n" in reply else None
