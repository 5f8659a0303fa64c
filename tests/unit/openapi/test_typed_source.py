"""JSON and YAML as typed data."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.openapi import typed_source
from gateway.openapi.pieces import SpecUnusable
from gateway.openapi.typed_source import parse_document, read_document

WORDS = """\
openapi: 3.1.0
yes: no
on: [true, false, null, ~, ]
date: 2026-11-29
octal: 012
time: 1:30
hex: 0x1F
whole: -7
part: 1.5e3
200: {shared: &here {a: 1}, again: *here}
merged: {<<: *here, b: 2}
"""


def test_yaml_is_read_by_the_types_of_json_alone() -> None:
    assert parse_document(WORDS.encode()) == {
        "openapi": "3.1.0",
        "yes": "no",
        "on": [True, False, None, None],
        "date": "2026-11-29",
        "octal": "012",
        "time": "1:30",
        "hex": "0x1F",
        "whole": -7,
        "part": 1500.0,
        200: {"shared": {"a": 1}, "again": {"a": 1}},
        "merged": {"a": 1, "b": 2},
    }


@pytest.mark.parametrize(
    "text",
    [b'{"a": [1, 2.5, "x", null, true]}', b'\xef\xbb\xbf  {"a": [1, 2.5, "x", null, true]}', b"{a: [1, 2.5, x, null, true]\n}", b"a: [1, 2.5, x, null, true]"],
)
def test_json_and_yaml_say_the_same(text: bytes) -> None:
    assert parse_document(text) == {"a": [1, 2.5, "x", None, True]}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"a": ', "this is not JSON: Input data was truncated"),
        (b'{"a": 1,\n "b"', "this is not JSON"),
        (b"a: [", "line 2, column 1: this is not YAML"),
        (b"a: *none", "this is not YAML"),
        (b"a: !!python/object:os.system x", "this is not YAML"),
        (b"a: 1\n---\nb: 2", "this is not YAML"),
        (b"a: \x00", "this is not YAML"),
        (b"a: \xff\x81", "this is not YAML"),
        (b"{" + b'"a":{' * 5000, "nested too deep"),
        (b"? [a]\n: 1", "this is not YAML"),
    ],
)
def test_what_is_neither_is_told_in_one_line(text: bytes, why: str) -> None:
    with pytest.raises(SpecUnusable, match=why) as told:
        parse_document(text)
    assert "\n" not in str(told.value)


def test_a_document_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typed_source, "MAX_BYTES", 10)
    with pytest.raises(SpecUnusable, match="the document is over"):
        parse_document(b'{"a": "long"}')


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpecUnusable, match="no such file"):
        read_document(tmp_path / "none")
    with pytest.raises(SpecUnusable, match="no file"):
        read_document(tmp_path)
