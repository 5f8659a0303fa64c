"""Listening sockets: bound before anything starts, kept by the supervisor for as long as the gateway runs.

Each worker has a socket of its own, so that the kernel deals connections out. For that all of them need ``SO_REUSEPORT``, and with it alone a
port that another program of the same user holds would be shared with it without an error, half of the traffic each: so the port is first
probed without.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
from typing import Final

from gateway.settings.shape import Address

BACKLOG: Final = 1024
_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h; Python does not name it
_WHY: Final = {
    98: "is in use by another program: stop it, or set another",
    99: "is no address of this machine: set another",
    13: "may not be used by this user: set another",
}


class CannotServe(Exception):
    """The gateway can't start. The text says what is wrong and what to do."""


def listen(address: Address, key: str, *, shared: bool = False) -> socket.socket:
    """A listening socket. CannotServe where the address is taken, not ours, or not allowed; ``key`` names the setting."""
    family = socket.AF_INET6 if ":" in address.host or not address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if not address.host else 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((address.host, address.port))
        sock.listen(BACKLOG)  # a second program that binds with SO_REUSEADDR is refused only by a socket that listens
    except OSError as error:
        sock.close()
        raise CannotServe(f"{address} {_WHY.get(error.errno or 0, f'cannot be listened on ({error.strerror}): set another')} {key}") from None
    sock.setblocking(False)
    return sock


def listen_shared(address: Address, key: str, count: int) -> list[socket.socket]:
    """``count`` listening sockets on one address, one a worker. CannotServe as for one."""
    first = listen(address, key)
    if count == 1:
        return [first]
    port = Address(address.host, first.getsockname()[1])
    first.close()
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(listen(port, key, shared=True)) for _ in range(count)]
        opened.pop_all()
    return sockets


def address_of(sock: socket.socket, address: Address) -> Address:
    """The address with the port that the system chose, where it was to choose."""
    return Address(address.host, sock.getsockname()[1])


def begin_no_more(sock: socket.socket) -> None:
    """Let a listening socket take no further handshake, while those under way still end and can be accepted.

    A connection that completes between the last accept and the close would be reset. So a filter (classic BPF) first drops segments with SYN and
    without ACK: their senders try again, and by then meet a closed port or the next gateway.
    """
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in _NO_SYN)
    code = ctypes.create_string_buffer(program, len(program))
    with contextlib.suppress(OSError):  # not every kernel has it; the window is some microseconds
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(program) // 8, ctypes.addressof(code)))


# struct sock_filter (linux/filter.h): code, jump if true, jump if false, operand. A filter of a TCP socket sees the TCP header first; byte 13 is its flags.
_NO_SYN: Final = (
    (0x30, 0, 0, 13),  # load the flags
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 1, 0, 0x02),  # SYN alone: jump
    (0x06, 0, 0, 0xFFFFFFFF),  # pass
    (0x06, 0, 0, 0),  # drop
)
