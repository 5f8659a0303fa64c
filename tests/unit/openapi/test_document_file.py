"""The document's file while the gateway runs: read when it is asked for, and again when it has changed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from gateway.openapi import document_file
from gateway.openapi.document_file import DocumentFile
from gateway.openapi.pieces import Pieces, SpecUnusable
from gateway.openapi.take_apart import take_apart
from tests.unit.openapi.documents import described


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """How often the file was read, by a reader that needs no process."""
    seen: list[Path] = []

    async def read(path: Path) -> Pieces:
        seen.append(path)
        await asyncio.sleep(0)
        try:
            return take_apart(json.loads(path.read_text()))
        except (OSError, ValueError):
            raise SpecUnusable(f"{path}: broken") from None

    monkeypatch.setattr(document_file, "read_pieces", read)
    return seen


async def test_it_is_read_once_for_all_who_ask_and_anew_when_it_changes(tmp_path: Path, reads: list[Path]) -> None:
    file = tmp_path / "api.json"
    file.write_text(json.dumps(described({"/a": {"get": {}}})))
    document = DocumentFile(file)
    found = await asyncio.gather(*(document.pieces() for _ in range(5)))
    assert found[0] is not None
    assert len({id(pieces) for pieces in found}) == len(reads) == 1
    file.write_text(json.dumps(described({"/longer": {"get": {}}})))
    changed = await document.pieces()
    assert changed is not None
    assert changed.paths[0].name == "/longer"
    assert await document.pieces() is changed
    assert len(reads) == 2


async def test_one_that_breaks_leaves_the_one_before_and_is_told_once(tmp_path: Path, reads: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "api.json"
    document = DocumentFile(file)
    assert await document.pieces() is None
    file.write_text(json.dumps(described({"/a": {"get": {}}})))
    good = await document.pieces()
    file.write_text("{")
    for _ in range(3):
        assert await document.pieces() is good
    assert [record.getMessage() for record in caplog.records] == [f"openapi: {file}: broken", f"openapi: {file}: broken; the one before stays"]
    assert len(reads) == 3
