"""Which process holds a connection of 127.0.0.1, and how many sockets, as Linux tells it in /proc."""

from __future__ import annotations

import contextlib
from pathlib import Path

_LOOPBACK = "0100007F"


def end_of(pid: int, port: int, peer: int) -> bool:
    """Whether a process holds the end at ``port`` of the connection to ``peer``, both ports of 127.0.0.1. What it has not yet accepted is nobody's."""
    ends = [f"{_LOOPBACK}:{port:04X}", f"{_LOOPBACK}:{peer:04X}"]
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines())
    inode = next((words[9] for words in lines if words[1:3] == ends), "0")
    return inode != "0" and f"socket:[{inode}]" in _files(pid)


def sockets_of(pid: int) -> int:
    """How many a process has open."""
    return sum(file.startswith("socket:") for file in _files(pid))


def _files(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):  # it has ended
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # that file has been closed meanwhile
                found.add(str(entry.readlink()))
    return found
