"""Lines wait in memory, go out in batches, whole whoever else writes there, and what a file does not take is counted.

Whole lines of requests are in tests/flow/test_access_log_lines.py."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
from pathlib import Path
from typing import Any

import pytest

from gateway.observe import access_log as module
from gateway.observe.access_log import AccessLine, AccessLog


def line(number: int = 1, **facts: str) -> AccessLine:
    made = AccessLine(1.5, f"r{number}", "192.0.2.1", "GET", 200, 0.25)
    for name, value in facts.items():
        setattr(made, name, value)
    return made


async def test_a_line_is_json_without_what_is_not_known(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "access"))
    log.add(line(path="/4/x", owner='a"b\n\u2028c'))
    await log.close()
    (text, _) = (tmp_path / "access").read_text().split("\n")
    assert json.loads(text) == {
        "time": 1.5,
        "request_id": "r1",
        "client": "192.0.2.1",
        "method": "GET",
        "status": 200,
        "duration_ms": 0.25,
        "path": "/4/x",
        "owner": 'a"b\n\u2028c',
    }


async def test_lines_go_out_in_order_and_are_appended(tmp_path: Path) -> None:
    (tmp_path / "access").write_text("before\n")
    log = AccessLog(str(tmp_path / "access"))
    for number in range(1200):
        log.add(line(number))
    await log.close()
    lines = (tmp_path / "access").read_text().splitlines()
    assert lines[0] == "before"
    assert [json.loads(text)["request_id"] for text in lines[1:]] == [f"r{number}" for number in range(1200)]


async def test_what_waits_is_bounded_and_the_loss_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_LIMIT", 10)
    log = AccessLog(str(tmp_path / "access"))
    for number in range(15):
        log.add(line(number))
    await log.flush()
    log.add(line(99))
    await log.close()
    lines = [json.loads(text) for text in (tmp_path / "access").read_text().splitlines()]
    assert [each["request_id"] for each in lines] == [f"r{number}" for number in range(10)] + ["r99"]
    assert sum(each.get("lost_lines", 0) for each in lines) == 5


async def test_what_comes_while_lines_are_written_waits_for_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under load there is always something more, and each handing over costs. Seen to fail with a flush that goes on while anything waits."""
    log = AccessLog(str(tmp_path / "access"))
    handed_over: list[int] = []
    write = module._Writer.write

    async def written(writer: module._Writer, texts: list[bytes]) -> bool:
        handed_over.append(len(texts))
        if len(handed_over) < 5:
            log.add(line(99))
        return await write(writer, texts)

    monkeypatch.setattr(module._Writer, "write", written)
    log.add(line(1))
    await log.flush()
    assert len(handed_over) == 1
    await log.flush()
    assert len(handed_over) == 2
    await log.close()
    assert len((tmp_path / "access").read_text().splitlines()) == 3


async def test_a_disk_that_becomes_full_in_a_line_spoils_only_that_line_and_the_loss_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen to fail without the line end after a torn line, and with the loss that a lost line was to tell left out."""
    free, write = 100, os.write

    def written(descriptor: int, data: bytes) -> int:
        nonlocal free
        if not free:
            raise OSError(errno.ENOSPC, "full")
        count = write(descriptor, data[:free])
        free -= count
        return count

    monkeypatch.setattr(module.os, "write", written)
    log = AccessLog(str(tmp_path / "access"))
    for number in range(4):
        log.add(line(number))
        await log.flush()
    free = 10_000
    log.add(line(9))
    await log.close()
    first, torn, last = (tmp_path / "access").read_text().splitlines()
    assert json.loads(first)["request_id"] == "r0"
    assert line(1).request_id not in torn
    assert (json.loads(last)["request_id"], json.loads(last)["lost_lines"]) == ("r9", 3)


async def test_a_pipe_that_nobody_reads_any_more_fails_no_request(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    log = AccessLog(str(fifo))
    os.close(reader)
    log.add(line(1))
    await log.flush()
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    log.add(line(2))
    await log.flush()
    told = json.loads(os.read(reader, 4096).splitlines()[0])
    os.close(reader)
    assert (told["request_id"], told["lost_lines"]) == ("r2", 1)
    await log.close()


async def test_a_log_that_is_off_takes_no_lines() -> None:
    log = AccessLog("off")
    assert not log.enabled
    await log.close()


def test_a_file_that_can_not_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="access"):
        AccessLog(str(tmp_path / "nowhere" / "access"))


async def test_the_file_is_readable_by_its_owner_and_group_only(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "access"))
    assert (tmp_path / "access").stat().st_mode & 0o007 == 0
    await log.close()


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
        log.add(line(number, path="/" + "a" * 5000))
    await log.close()
    assert len(writes) == 1
    lines = [json.loads(text) for text in (tmp_path / "access.log").read_text().splitlines()]
    assert [found["request_id"] for found in lines] == [f"r{number}" for number in range(300)]
    assert {len(found["path"]) for found in lines} == {5001}


async def test_a_pipe_gets_whole_lines_in_writes_that_do_not_mix(tmp_path: Path, writes: list[bytes]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 1024 * 1024)  # nobody reads, so all must fit
    log = AccessLog(str(pipe))
    for number in range(100):
        log.add(line(number, path="/" + "a" * (number * 83 % 4500)))
    await log.close()
    text = b"".join(writes)
    os.close(reader)
    assert max(map(len, writes)) <= select.PIPE_BUF
    assert all(piece.endswith(b"\n") for piece in writes)
    assert len(writes) < 100  # small lines go out together
    found = [json.loads(each) for each in text.splitlines()]
    assert [each["request_id"] for each in found] == [f"r{number}" for number in range(100)]
    cut = [each for each in found if each.get("path", "").endswith("…")]
    assert cut
    assert all(len(each["path"]) == 1025 for each in cut)
