from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway.core.plan_calls import RecordedCall
from gateway.observe.access_log import AccessLine
from gateway.observe.recorded_calls import LONGEST, recorded_calls


def read(tmp_path: Path, text: bytes) -> list[tuple[int, RecordedCall | str]]:
    log = tmp_path / "access.log"
    log.write_bytes(text)
    return list(recorded_calls(log))


def test_a_line_that_the_gateway_wrote_is_read_back(tmp_path: Path) -> None:
    line = AccessLine(1.5, "r1", "192.0.2.1", "GET", 403, 0.2, "/w", "/w", "w", "u", "scope_missing", "t1", "ann", 1, 2)
    assert read(tmp_path, msgspec.json.encode(line) + b"\n") == [(1, RecordedCall("GET", 403, "r1", "/w", "scope_missing", "t1"))]


@pytest.mark.parametrize(
    "broken",
    [b"{", b"null", b"[]", b'{"method": "GET"}', b'{"method": 1, "status": 200}', b'{"method": "\xff", "status": 1}', b"[" * 200_000, b"\0\0", b"text"],
)
def test_a_broken_line_is_told_by_its_number_and_the_next_is_read(tmp_path: Path, broken: bytes) -> None:
    good = b'{"method": "GET", "status": 200}'
    (first, why), (second, call) = read(tmp_path, broken + b"\n\n" + good)
    assert (first, why, second, call) == (1, "not a line of the gateway's access log", 3, RecordedCall("GET", 200))


def test_a_line_without_end_is_not_held_and_the_next_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, b"x" * (2 * LONGEST + 5) + b'\n{"method": "GET", "status": 200}\n')
    assert found == [(1, "longer than 1 MiB"), (2, RecordedCall("GET", 200))]


def test_a_file_that_is_not_there_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(recorded_calls(tmp_path / "none"))
