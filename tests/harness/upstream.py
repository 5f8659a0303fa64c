"""An upstream on raw sockets: as strict about requests as RFC 9112 allows, and as ill-behaved in its answers as a test scripts it.

Which script answers is told by the request's last path segment. A script is a list of steps: bytes are sent, ``READ`` reads the request's
body (done first unless the script says where), ``CLOSE`` and ``RESET`` end the connection, a callable gets the connection and the request.
"""

from __future__ import annotations

import re
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

READ: Final = "read the body"
CLOSE: Final = "close"
RESET: Final = "reset"
HALF_CLOSE: Final = "half close"
PLAIN: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n"

_LINE = re.compile(rb"([A-Z][A-Z-]*) (/[!-~]*) HTTP/1\.1")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)")
_HEAD_LIMIT = 128 * 1024
_HOP = frozenset({"keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "trailer", "http2-settings"})


@dataclass
class Seen:
    """A request as it arrived. ``raw`` is all of it, byte for byte; ``connection`` numbers the connections from 1."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    connection: int
    raw: bytes
    body: bytes = b""
    complete: bool = False
    chunks: list[int] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def one(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) < 2, f"{name} went up {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def names(self) -> list[str]:
        return [name.lower() for name, _ in self.fields]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


class Unstrict(Exception):
    """The gateway sent what a strict server refuses."""


class Peer:
    """The upstream's side of one connection."""

    def __init__(self, connection: socket.socket, number: int, upstream: ScriptedUpstream) -> None:
        self.socket = connection
        self.number = number
        self.upstream = upstream
        self.buffer = b""
        self.raw = b""
        self.serving = False  # a request has begun to come

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def fill(self) -> bool:
        data = self.socket.recv(65536)
        self.serving = True
        self.buffer += data
        self.upstream.note(data)
        return bool(data)

    def take(self, count: int) -> bytes:
        while len(self.buffer) < count:
            if not self.fill():
                raise EOFError
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        self.raw += data
        return data

    def line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            if len(self.buffer) > _HEAD_LIMIT:
                raise Unstrict("a line without end")
            if not self.fill():
                if self.buffer:
                    raise EOFError
                raise ConnectionResetError
        line = self.take(self.buffer.index(b"\r\n") + 2)[:-2]
        if re.search(rb"[\r\n\0]", line):
            raise Unstrict(f"a control in a line: {line[:200]!r}")
        return line

    def read_head(self) -> Seen:
        """The next request's head; ConnectionResetError where the gateway closed instead."""
        self.raw = b""
        line = self.line()
        match = _LINE.fullmatch(line)
        if match is None:
            raise Unstrict(f"not a request line: {line[:200]!r}")
        fields: list[tuple[str, str]] = []
        while text := self.line():
            found = _FIELD.fullmatch(text)
            if found is None:
                raise Unstrict(f"not a field line: {text[:200]!r}")
            fields.append((found[1].decode(), found[2].decode("latin-1")))
        seen = Seen(match[1].decode(), match[2].decode(), fields, self.number, self.raw)
        self._check(seen)
        return seen

    def _check(self, seen: Seen) -> None:
        if len(seen.all("host")) != 1:
            raise Unstrict(f"Host came {len(seen.all('host'))} times")
        lengths, codings = seen.all("content-length"), seen.all("transfer-encoding")
        if len(lengths) + len(codings) > 1 or any(not re.fullmatch("0|[1-9][0-9]*", length) for length in lengths) or codings not in ([], ["chunked"]):
            raise Unstrict(f"framing: {lengths} {codings}")
        if seen.method in {"CONNECT", "TRACE"}:
            raise Unstrict(f"{seen.method} went up")
        hop = _HOP & set(seen.names)
        if hop:
            raise Unstrict(f"hop-by-hop fields went up: {hop}")
        if seen.all("connection") not in ([], ["Upgrade"], ["TE"]) or seen.all("upgrade") not in ([], ["websocket"]):
            raise Unstrict(f"Connection: {seen.all('connection')}, Upgrade: {seen.all('upgrade')}")
        folded = [re.sub("[^0-9a-z]", "-", name) for name in seen.names]
        for ours in ("x-scopegate-subject", "x-scopegate-token-id", "x-scopegate-grants", "x-forwarded-for", "x-request-id", "via", "authorization"):
            if folded.count(ours) > 1 and ours != "via":
                raise Unstrict(f"{ours} went up {folded.count(ours)} times")

    def read_body(self, seen: Seen) -> None:
        """The rest of the request, framed strictly: no chunk extensions, no trailers."""
        if seen.complete:
            return
        length = seen.one("content-length")
        if length is not None:
            seen.body = self.take(int(length))
        elif seen.one("transfer-encoding"):
            while True:
                size = self.line()
                if not re.fullmatch(rb"0|[1-9a-fA-F][0-9a-fA-F]{0,15}", size):
                    raise Unstrict(f"not a chunk size: {size[:60]!r}")
                if size == b"0":
                    if self.line() != b"":
                        raise Unstrict("a trailer went up")
                    break
                data = self.take(int(size, 16))
                seen.chunks.append(len(data))
                seen.body += data
                if self.take(2) != b"\r\n":
                    raise Unstrict("a chunk without its end")
        seen.raw = self.raw
        seen.complete = True

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


Step = bytes | str | Callable[[Peer, Seen], object]


class ScriptedUpstream:
    """Listens on a free port of 127.0.0.1 until ``stop``. ``faults`` names what a strict server would have refused.

    ``received``: the bytes that came, of all connections, for searches after secrets; none are kept while ``keep_bytes`` is False.
    """

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(512)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.seen: list[Seen] = []
        self.faults: list[str] = []
        self.received = bytearray()
        self.keep_bytes = True
        self.scripts: dict[str, Sequence[Step]] = {}
        self.connections = 0
        self.credential: str | None = None  # the Authorization that may come; None: none at all
        self._peers: set[Peer] = set()
        self._lock = threading.Lock()
        self._stopped = False
        self._thread = threading.Thread(target=self._accept, name="upstream", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def settle(self) -> None:
        """Wait, a second at most, until all that was sent has been read and served, also what came for a client that is gone."""
        quiet, until = 0, time.monotonic() + 1
        while quiet < 2 and time.monotonic() < until:
            peers, unread = list(self._peers), select.poll()
            for descriptor in (self._listener.fileno(), *(peer.socket.fileno() for peer in peers)):
                if descriptor >= 0:  # it has just been closed
                    unread.register(descriptor, select.POLLIN)
            quiet = 0 if unread.poll(0) or any(peer.serving for peer in peers) else quiet + 1
            time.sleep(0.002)

    def clear(self) -> None:
        """Forget what was seen and scripted."""
        with self._lock:
            self.seen = []
            self.faults = []
            self.received.clear()
            self.scripts = {}

    def script(self, name: str, *steps: Step) -> None:
        """Answer requests whose last path segment is ``name`` so."""
        self.scripts[name] = steps

    def note(self, data: bytes) -> None:
        if self.keep_bytes:
            with self._lock:
                self.received += data

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._peers)

    def is_open(self, number: int) -> bool:
        """Whether a connection, by its number, is still open."""
        return any(peer.number == number for peer in list(self._peers))

    def drop_idle(self) -> None:
        """Close every connection, as a server does that is started again."""
        for peer in list(self._peers):
            with _quiet():
                peer.socket.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        self._stopped = True
        with _quiet():
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in list(self._peers):
            with _quiet():
                peer.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)

    def _accept(self) -> None:
        while not self._stopped:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(60)
            peer = Peer(connection, self.connections, self)
            self._peers.add(peer)
            threading.Thread(target=self._serve, args=(peer,), name=f"upstream-{peer.number}", daemon=True).start()

    def _serve(self, peer: Peer) -> None:
        try:
            while self._exchange(peer):
                pass
        except Unstrict as fault:
            self.faults.append(f"{fault} (after {peer.raw[:300]!r})")
            with _quiet():
                peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        except (OSError, EOFError, ValueError):
            pass
        finally:
            self._peers.discard(peer)
            peer.socket.close()

    def _exchange(self, peer: Peer) -> bool:
        peer.serving = bool(peer.buffer)
        try:
            seen = peer.read_head()
        except ConnectionResetError:
            return False
        for value in seen.all("authorization"):
            if value != self.credential:
                self.faults.append("an Authorization went up")
        with self._lock:
            self.seen.append(seen)
        script = self.scripts.get(seen.path.rpartition("/")[2], (PLAIN,))
        if READ not in script:
            peer.read_body(seen)
            if peer.buffer and not seen.one("upgrade"):
                self.faults.append(f"bytes beyond the request: {peer.buffer[:100]!r}")
        for step in script:
            if step == READ:
                peer.read_body(seen)
            elif step == CLOSE:
                return False
            elif step == RESET:
                peer.reset()
                return False
            elif step == HALF_CLOSE:
                peer.socket.shutdown(socket.SHUT_WR)
            elif isinstance(step, bytes):
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\n" if seen.method == "HEAD" and step is PLAIN else step)
            elif callable(step):
                step(peer, seen)
        return True


class _quiet:  # noqa: N801
    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: object, trace: object) -> bool:
        return isinstance(error, OSError)


def answer(body: bytes = b"", *fields: str, status: str = "200 OK", length: bool = True) -> bytes:
    """The bytes of an answer. ``fields`` are whole lines without their end."""
    lines = [f"HTTP/1.1 {status}", *fields]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "".join(line + "\r\n" for line in lines).encode("latin-1") + b"\r\n" + body


def chunked(*pieces: bytes, fields: Sequence[str] = (), trailers: Sequence[str] = (), status: str = "200 OK") -> bytes:
    """The bytes of a chunked answer."""
    head = "".join(line + "\r\n" for line in [f"HTTP/1.1 {status}", *fields, "Transfer-Encoding: chunked"]).encode("latin-1")
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return head + b"\r\n" + body + b"0\r\n" + "".join(line + "\r\n" for line in trailers).encode("latin-1") + b"\r\n"
