"""Which file is taken as the policy. That a faulty one changes nothing is in tests/fault/test_drain_and_reload.py, on a running gateway."""

from __future__ import annotations

import contextlib
import os
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.flow.reload import digest_of, load_fitting_policy
from gateway.policy_file.document import MAX_BYTES, DocumentFault
from gateway.policy_file.load import load_policy
from gateway.settings.load import load_settings


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("pipe", "this is a pipe: name a file"),
        ("nothing", "there is no such file"),
        # Asked what it is, the system answers with an error, as where a folder may not be entered. Seen to fail with that error let through.
        ("x" * 300, "this file can't be read: File name too long"),
    ],
)
def test_what_can_be_no_policy_is_told_in_a_line(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "gateway.yaml").write_text('policy: policy.yaml\nupstreams: {api: {url: "http://127.0.0.1:9"}}\n')
    os.mkfifo(tmp_path / "pipe")
    settings = replace(load_settings(tmp_path / "gateway.yaml", {}), policy=tmp_path / name)
    with pytest.raises(DocumentFault) as caught:
        load_fitting_policy(settings)
    (fault,) = caught.value.faults
    assert told in str(fault)


@pytest.mark.parametrize("size", [0, 1, MAX_BYTES])
def test_digest_of_a_file_that_may_be_a_policy_is_that_of_its_bytes(tmp_path: Path, size: int) -> None:
    file = tmp_path / "policy.yaml"
    file.write_bytes(b"x" * size)
    assert digest_of(file) == sha256(file.read_bytes()).hexdigest()


def test_digest_of_a_file_that_is_too_large_is_no_other_files(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_bytes(b"x" * MAX_BYTES)
    fits = digest_of(file)
    file.write_bytes(b"x" * (MAX_BYTES + 1))
    assert digest_of(file) not in {fits, ""}


@pytest.mark.parametrize("read", [digest_of, load_policy])
def test_a_file_of_any_size_is_read_no_further_than_the_limit(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """Seen to fail with the whole file read: the supervisor of a large one had no memory left for its work."""
    file = tmp_path / "policy.yaml"
    with file.open("wb") as made:
        made.truncate(128 * MAX_BYTES)
    tracemalloc.start()
    try:
        with contextlib.suppress(DocumentFault):
            read(file)
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_BYTES
    finally:
        tracemalloc.stop()


def test_what_cannot_be_read_has_no_digest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert [digest_of(tmp_path / name) for name in ("pipe", "nothing", ".", "x" * 300)] == [""] * 4
