"""The access log's lines: whole, whoever else writes there."""

from __future__ import annotations

import fcntl
import json
import os
import select
from pathlib import Path
from typing import Any

import pytest

from gateway.observe.access_log import AccessLine, AccessLog


def line(number: int, path: str = "") -> AccessLine:
    return AccessLine(1.5, f"id-{number}", "127.0.0.1", "GET", 200, 0.5, path=path)


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was written, by each call of the system."""
    seen: list[bytes] = []
    write = os.write

    def noted(fd: int, data: Any) -> int:
        seen.append(bytes(data))
        return write(fd, data)

    monkeypatch.setattr(os, "write", noted)
    return seen


async def test_a_file_gets_a_batch_by_one_write(tmp_path: Path, writes: list[bytes]) -> None:
    log = AccessLog(str(tmp_path / "access.log"))
    for number in range(300):
        log.add(line(number, "/" + "a" * 5000))
    await log.close()
    assert len(writes) == 1
    lines = [json.loads(text) for text in (tmp_path / "access.log").read_text().splitlines()]
    assert [found["request_id"] for found in lines] == [f"id-{number}" for number in range(300)]
    assert {len(found["path"]) for found in lines} == {5001}


async def test_a_pipe_gets_whole_lines_in_writes_that_do_not_mix(tmp_path: Path, writes: list[bytes]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 1024 * 1024)  # nobody reads, so all must fit
    log = AccessLog(str(pipe))
    for number in range(100):
        log.add(line(number, "/" + "a" * (number * 83 % 4500)))
    await log.close()
    text = b"".join(writes)
    os.close(reader)
    assert max(map(len, writes)) <= select.PIPE_BUF
    assert all(piece.endswith(b"\n") for piece in writes)
    assert len(writes) < 100  # small lines go out together
    found = [json.loads(each) for each in text.splitlines()]
    assert [each["request_id"] for each in found] == [f"id-{number}" for number in range(100)]
    cut = [each for each in found if each.get("path", "").endswith("…")]
    assert cut
    assert all(len(each["path"]) == 1025 for each in cut)
