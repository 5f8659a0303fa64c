"""Lines wait in memory, go out in batches, and what a file does not take is counted. Whole lines are in tests/flow/test_access_log_lines.py."""

from __future__ import annotations

import json
import os
from pathlib import Path

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
