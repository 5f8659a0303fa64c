"""Asks whatever listens at an address of this machine, which may be another program: within one limit of time, and of bytes."""

from __future__ import annotations

import socket
import time
from typing import Final

import msgspec

from gateway.observe.metrics import RefusedPolicy, WorkerFacts
from gateway.settings import Address

_LIMIT_S: Final = 2.0  # for all of it
_LONGEST: Final = 1 << 20  # bytes of an answer


class LoadedPolicy(msgspec.Struct, frozen=True):
    """The policy that the management process runs, by the SHA-256 of its file."""

    hash: str


class Readiness(msgspec.Struct, frozen=True):
    """What of a gateway's ``/readyz`` tells of policies."""

    policy: LoadedPolicy
    policy_refused: RefusedPolicy | None
    workers: list[WorkerFacts]

    @property
    def running(self) -> set[str]:
        """The hashes of the policies that its processes run."""
        return {self.policy.hash, *(worker.policy for worker in self.workers if worker.up)}


def readiness_at(admin: Address) -> Readiness | None:
    """What the gateway says that runs there; None where none runs, or another program has the port."""
    try:
        return msgspec.json.decode(body_at(admin, "/readyz"), type=Readiness)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def body_at(address: Address, path: str) -> bytes:
    """The body of the answer at ``path``; b"" where nothing answers in HTTP, or not in time, or at too great a length."""
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104 - read, not bound
    asked = f"GET {path} HTTP/1.1\r\nHost: {Address(host, address.port)}\r\nConnection: close\r\n\r\n"
    until = time.monotonic() + _LIMIT_S
    answer = bytearray()
    try:
        with socket.create_connection((host, address.port), timeout=_LIMIT_S) as connection:
            connection.sendall(asked.encode())
            while (left := until - time.monotonic()) > 0 and len(answer) <= _LONGEST:
                connection.settimeout(left)
                part = connection.recv(1 << 16)
                if not part:
                    return bytes(answer.partition(b"\r\n\r\n")[2]) if answer.startswith(b"HTTP/1.") else b""
                answer += part
    except OSError:
        pass
    return b""
