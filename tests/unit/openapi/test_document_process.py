"""The process that reads a document: what it gives is what taking apart gives, and whatever happens to it is one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.openapi import document_process
from gateway.openapi.document_process import check_document, read_pieces
from gateway.openapi.pieces import SpecUnusable
from gateway.openapi.take_apart import take_apart
from tests.unit.openapi.documents import answering, described

DOCUMENT = described({"/a": {"get": answering({"$ref": "#/components/schemas/A"}), "post": {}}}, components={"schemas": {"A": {"title": "é"}}})


async def test_the_pieces_come_whole_out_of_the_process(tmp_path: Path) -> None:
    file = tmp_path / "api.json"
    file.write_text(json.dumps(DOCUMENT))
    pieces, expected = await read_pieces(file), take_apart(DOCUMENT)
    assert (pieces.paths, pieces.components, pieces.head) == (expected.paths, expected.components, expected.head)
    assert check_document(file) == 2


async def test_what_is_wrong_is_told_with_the_name_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "api.yaml"
    file.write_text("a: [")
    for ask in (lambda: check_document(file), None):
        with pytest.raises(SpecUnusable) as told:
            ask() if ask else await read_pieces(file)
        assert str(told.value).startswith(f"{file}: line 2, column 1: this is not YAML")


async def test_a_process_that_dies_or_lasts_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_process, "_command", lambda _: [sys.executable, "-c", "import os; os.abort()"])
    with pytest.raises(SpecUnusable, match=r"broke off \(exit code -6\)"):
        await read_pieces(tmp_path)
    monkeypatch.setattr(document_process, "_command", lambda _: [sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(document_process, "MOST_S", 0.2)
    with pytest.raises(SpecUnusable, match="takes over"):
        await read_pieces(tmp_path)
    with pytest.raises(SpecUnusable, match="takes over"):
        check_document(tmp_path)


def test_a_document_that_takes_too_much_memory_costs_only_that_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "api.json"
    file.write_text(json.dumps({"a": [{}] * 2_000_000}))
    script = "import sys; from gateway.openapi import document_process as process; process.MOST_MEMORY = 150 * 2**20; process.main()"
    done = subprocess.run([sys.executable, "-c", script, str(file)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (2, "it takes too much memory")


def test_no_variable_of_the_callers_goes_into_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOPEGATE_ADMIN__KEY", "a-secret")
    monkeypatch.setenv("UPSTREAM_CREDENTIAL", "a-secret")
    assert "a-secret" not in document_process._environment().values()
    assert document_process._environment()["PATH"] == os.environ["PATH"]
