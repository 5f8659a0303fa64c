"""A raw HTTP client for tests: bytes out, answers in, framed strictly by RFC 9112. What is not strict HTTP/1.1 fails the test."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Any, Self

Fields = list[tuple[str, str]]

_STATUS = re.compile(rb"HTTP/1\.1 ([1-9][0-9]{2}) ([\t -~\x80-\xff]*)")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*?)[ \t]*")
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,16})")


class NotHttp(AssertionError):
    """The gateway sent what RFC 9112 does not allow."""


class Closed(Exception):
    """The connection ended where a whole answer was awaited. ``got`` is what came of it; ``reset``: by a reset."""

    def __init__(self, got: bytes, *, reset: bool) -> None:
        super().__init__(f"closed after {got[:200]!r}" + (" by a reset" if reset else ""))
        self.got = got
        self.reset = reset


@dataclass
class Answer:
    """One answer. ``complete`` is False where it was broken off; ``until_close`` where its end was the connection's end."""

    status: int
    reason: str
    fields: Fields
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    interim: list[tuple[int, Fields]] = field(default_factory=list)
    complete: bool = False
    until_close: bool = False
    chunks: list[bytes] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def one(self, name: str) -> str | None:
        """The value of a field that may come once."""
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem document; "" where the body is none."""
        if self.one("content-type") != "application/problem+json":
            return ""
        return str(self.json["code"])


class Wire:
    """One client connection. ``timeout`` (seconds) bounds each wait; ``source`` is the address to come from."""

    def __init__(self, port: int, *, timeout: float = 10.0, source: str | None = None, receive_buffer: int | None = None) -> None:
        self._timeout = timeout
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.socket.bind((source, 0))
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.ended = False
        self.reset = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def break_off(self) -> None:
        """End by a reset, as a client does that is killed with answers unread."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        """Send, though the other side may have closed already: what it answered before is still there to be read."""
        try:
            self.socket.sendall(b"".join(parts))
        except (BrokenPipeError, ConnectionResetError):
            self.reset = True

    def half_close(self) -> None:
        """No more will be sent; answers are still read. The other side may have ended already."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def _fill(self) -> bool:
        if self.ended:
            return False
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            self.reset, data = True, b""
        if not data:
            self.ended = True
        self.buffer += data
        return bool(data)

    def _line(self) -> bytes:
        """Up to CRLF. A lone CR or LF is a fault."""
        while (end := self.buffer.find(b"\r\n")) < 0:
            if not self._fill():
                raise Closed(self.buffer, reset=self.reset)
        line, self.buffer = self.buffer[:end], self.buffer[end + 2 :]
        if b"\r" in line or b"\n" in line or b"\0" in line:
            raise NotHttp(f"a bare line end or NUL in a line: {line[:200]!r}")
        return line

    def _fields(self) -> Fields:
        fields: Fields = []
        while line := self._line():
            match = _FIELD.fullmatch(line)
            if match is None:
                raise NotHttp(f"not a field line: {line[:200]!r}")
            fields.append((match[1].decode(), match[2].decode("latin-1")))
        return fields

    def take(self, count: int) -> bytes:
        """So many bytes, fewer where the connection ends."""
        while len(self.buffer) < count and self._fill():
            pass
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def until(self, mark: bytes) -> bytes:
        """Raw bytes up to and with ``mark``."""
        while mark not in self.buffer:
            if not self._fill():
                raise Closed(self.buffer, reset=self.reset)
        end = self.buffer.index(mark) + len(mark)
        data, self.buffer = self.buffer[:end], self.buffer[end:]
        return data

    def head(self) -> Answer:
        """The next head, interim or final, without its body."""
        line = self._line()
        match = _STATUS.fullmatch(line)
        if match is None:
            raise NotHttp(f"not a status line: {line[:200]!r}")
        answer = Answer(int(match[1]), match[2].decode("latin-1"), self._fields())
        lengths, codings = answer.all("content-length"), answer.all("transfer-encoding")
        if len(lengths) > 1 or (lengths and codings) or any(not re.fullmatch("[0-9]+", length) for length in lengths):
            raise NotHttp(f"two framings or a bad length: {answer.fields}")
        if codings and codings != ["chunked"]:
            raise NotHttp(f"a coding that was not asked for: {codings}")
        if answer.status < 200 and (lengths or codings):
            raise NotHttp("an interim answer with a body")
        return answer

    def answer(self, method: str = "GET") -> Answer:
        """The next final answer, whole or seen to be broken off. Closed where not even its head came."""
        interim: list[tuple[int, Fields]] = []
        while (answer := self.head()).status < 200 and answer.status != 101:
            interim.append((answer.status, answer.fields))
        answer.interim = interim
        if method == "HEAD" or answer.status in {101, 204, 304}:
            if answer.status == 204 and (answer.all("content-length") or answer.all("transfer-encoding")):
                raise NotHttp("a 204 with a length")
            answer.complete = True
            return answer
        if answer.all("transfer-encoding"):
            self._chunked(answer)
        elif (length := answer.one("content-length")) is not None:
            answer.body = self.take(int(length))
            answer.complete = len(answer.body) == int(length)
        else:
            answer.until_close = True
            while self._fill():
                pass
            answer.body, self.buffer = self.buffer, b""
            answer.complete = not self.reset
        return answer

    def _chunked(self, answer: Answer) -> None:
        try:
            while True:
                line = self._line()
                if not _CHUNK.fullmatch(line):
                    raise NotHttp(f"not a chunk size: {line[:60]!r}")
                size = int(line, 16)
                if not size:
                    answer.trailers = self._fields()
                    answer.complete = True
                    return
                data = self.take(size)
                answer.body += data
                answer.chunks.append(data)
                if len(data) < size:
                    return
                if (end := self.take(2)) != b"\r\n":
                    if len(end) == 2:
                        raise NotHttp(f"a chunk ends with {end!r}")
                    return
        except Closed:
            return

    def wait_closed(self) -> bytes:
        """Read until the other side closes; what came meanwhile."""
        end = time.monotonic() + self._timeout
        while self._fill():
            if time.monotonic() > end:
                raise TimeoutError("the gateway goes on sending")
        data, self.buffer = self.buffer, b""
        return data

    def is_quiet(self, seconds: float) -> bool:
        """Nothing comes, and the connection stays, for so long: for what must not happen."""
        self.socket.settimeout(seconds)
        try:
            return not self.buffer and not self._fill() and not self.ended
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(self._timeout)


def request(method: str, target: str, *fields: str, token: str = "", body: bytes | None = None, host: str = "gateway.test", version: str = "1.1") -> bytes:
    """The bytes of a request. ``fields`` are whole lines without their end; a body gets a Content-Length."""
    lines = [f"{method} {target} HTTP/{version}"]
    if host:
        lines.append(f"Host: {host}")
    if token:
        lines.append(f"Authorization: Bearer {token}")
    lines += fields
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "".join(line + "\r\n" for line in lines).encode("latin-1") + b"\r\n" + (body or b"")
