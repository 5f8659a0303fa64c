"""The socket between the supervisor and each of its processes, and what is said on it.

One AF_UNIX stream socket pair a process; the process inherits its end as an open descriptor. A message is four bytes of length (big-endian) and so
many bytes of MessagePack. The supervisor's first message is Start; settings and policy come only here, never by argument, environment or file,
so that no secret shows in /proc and a process that is started again gets the policy in force whatever the file holds by then. Both come
pickled: they hold types that MessagePack has no word for, and both sides are the same program. The file itself is read by the supervisor alone,
so that no worker pays for its reader in memory.

    supervisor -> process                                   process -> supervisor
    Start      settings, policy in force, who it is         Ready      it serves, by the policy with this hash
                                                            Refused    it can't start, and why: it ends
    Prepare    keep a policy at hand                        Prepared   with the faults that keep it from using it, none if it can
    Swap       use what was prepared                        Swapped    it is in use
    Count      tell your counts now                         Counts     in answer, and unasked every second and at the end
    Told       the overview that was asked for              Ask        (management) tell me of all processes
                                                            Changed    (management) the policy file may hold something else
    Drain      finish what is in flight and end

A reload takes two steps: all prepare; once all have said that they can, all swap. If one can't, or does not answer, nobody swaps.
Where the other side's end of file comes instead of a message, it is gone: a process whose supervisor is gone ends within a second.
"""

from __future__ import annotations

import socket
from typing import Final, TypeVar

import msgspec

from gateway.observe.metrics import Counters, Overview

COUNTS_EVERY_S: Final = 1.0
_LENGTH: Final = 4
_MOST: Final = 64 * 1024 * 1024


class Start(msgspec.Struct, tag=True, frozen=True):
    """Order: begin. ``parts`` is a pickled StartParts, ``policy`` a pickled Policy."""

    parts: bytes
    policy: bytes
    worker: str  # NODE/NUMBER
    log_level: int

    def __repr__(self) -> str:
        return f"Start({self.worker!r})"


class Prepare(msgspec.Struct, tag=True, frozen=True):
    """Order: keep this policy (pickled) ready, but go on with the one before."""

    serial: int
    policy: bytes


class Swap(msgspec.Struct, tag=True, frozen=True):
    """Order: decide by the prepared policy from now on."""

    serial: int


class Count(msgspec.Struct, tag=True, frozen=True):
    """Order: tell the counts now."""

    serial: int


class Told(msgspec.Struct, tag=True, frozen=True):
    """Order: here is what is known of the node's other processes."""

    overview: Overview


class Drain(msgspec.Struct, tag=True, frozen=True):
    """Order: finish what is in flight, and end."""


class Ready(msgspec.Struct, tag=True, frozen=True):
    """Report: requests are taken. ``policy`` is the hash of the one in force."""

    policy: str


class Refused(msgspec.Struct, tag=True, frozen=True):
    """Report: this process can't start, and why."""

    why: str


class Prepared(msgspec.Struct, tag=True, frozen=True):
    """Report: the policy is ready, or can't be used here for these faults."""

    serial: int
    faults: list[str]


class Swapped(msgspec.Struct, tag=True, frozen=True):
    """Report: decides by the policy of this hash from now on."""

    serial: int
    policy: str


class Counts(msgspec.Struct, tag=True, frozen=True):
    """Report: the counts. ``serial`` is that of the Count that is answered, 0 where none is."""

    serial: int
    counters: Counters


class Ask(msgspec.Struct, tag=True, frozen=True):
    """Report: tell what is known of the others."""


class Changed(msgspec.Struct, tag=True, frozen=True):
    """Report: the policy file may hold something else than what was read last."""


Order = Start | Prepare | Swap | Count | Told | Drain
Report = Ready | Refused | Prepared | Swapped | Counts | Ask | Changed

_M = TypeVar("_M")
_ENCODE: Final = msgspec.msgpack.Encoder().encode
ORDERS: Final[msgspec.msgpack.Decoder[Order]] = msgspec.msgpack.Decoder(Order)
REPORTS: Final[msgspec.msgpack.Decoder[Report]] = msgspec.msgpack.Decoder(Report)


def packed(message: Order | Report) -> bytes:
    """A message as it goes over the socket."""
    body = _ENCODE(message)
    return len(body).to_bytes(_LENGTH, "big") + body


class Incoming:
    """Puts messages together from the pieces in which they come. What is not a message is a ValueError (msgspec's are)."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes, decoder: msgspec.msgpack.Decoder[_M]) -> list[_M]:
        """The messages that are complete now."""
        self._bytes += data
        messages = []
        while len(self._bytes) >= _LENGTH:
            end = _LENGTH + int.from_bytes(self._bytes[:_LENGTH], "big")
            if end > _MOST:
                raise ValueError("a message is too long")
            if len(self._bytes) < end:
                break
            messages.append(decoder.decode(self._bytes[_LENGTH:end]))
            del self._bytes[:end]
        return messages


def receive_order(control: socket.socket) -> Order | None:
    """The next order on a blocking socket, and not a byte more; None where the supervisor is gone."""
    head = _exactly(control, _LENGTH)
    body = _exactly(control, int.from_bytes(head, "big")) if head else b""
    return ORDERS.decode(body) if body else None


def _exactly(control: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = control.recv(count - len(data))
        if not piece:
            return b""
        data += piece
    return bytes(data)
