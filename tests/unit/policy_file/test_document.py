from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.policy_file.document import KEY, MAX_BYTES, DocumentFault, read_bytes, shown, survey
from tests.harness.documents import read_document


def faults(text: str | bytes) -> list[str]:
    with pytest.raises(DocumentFault) as caught:
        read_document(text, "f")
    return str(caught.value).splitlines()


def test_every_scalar_stays_text() -> None:
    text = "a: no\nb: on\nc: 012\nd: 1:30\ne: 0x10\nf: 1_000\ng: 2026-03-01\nh: 1.0\ni: yes\nj: '~'\nk: \"null\"\nl: Null\nm: =\n<<: x\n"
    data = read_document(text, "f").data
    expected = {
        "a": "no",
        "b": "on",
        "c": "012",
        "d": "1:30",
        "e": "0x10",
        "f": "1_000",
        "g": "2026-03-01",
        "h": "1.0",
        "i": "yes",
        "j": "~",
        "k": "null",
        "l": "Null",
    }
    assert data == {**expected, "m": "=", "<<": "x"}


def test_names_keep_their_spelling_as_keys() -> None:
    assert read_document("no: a\n012: b\n1:30: c\nnull: d\n~: e\n", "f").data == {"no": "a", "012": "b", "1:30": "c", "null": "d", "~": "e"}


def test_what_is_not_written_is_none() -> None:
    assert read_document("a:\nb: ~\nc: null\nd: ''\ne: [~, x]\n", "f").data == {"a": None, "b": None, "c": None, "d": "", "e": [None, "x"]}


def test_places_count_from_one_and_name_keys_and_values() -> None:
    document = read_document("a: x\nb:\n  - 1\n  - {c: [2, 3]}\n", "f")
    assert document.data == {"a": "x", "b": ["1", {"c": ["2", "3"]}]}
    assert document.places == {
        (): (1, 1),
        ("a", KEY): (1, 1),
        ("a",): (1, 4),
        ("b", KEY): (2, 1),
        ("b",): (3, 3),
        ("b", 0): (3, 5),
        ("b", 1): (4, 5),
        ("b", 1, "c", KEY): (4, 6),
        ("b", 1, "c"): (4, 9),
        ("b", 1, "c", 0): (4, 10),
        ("b", 1, "c", 1): (4, 13),
    }


def test_byte_order_mark_and_carriage_returns_are_fine() -> None:
    assert read_document("\ufeffa: b\r\nc: d\r\n".encode(), "f") == read_document("a: b\nc: d\n", "f")


def test_all_faults_are_told_at_once_in_order() -> None:
    text = "a: &x 1\nb: *x\na: {c: 1, c: 2}\nd: !!int 3\n? [k, {e: 4}]\n: {f: 5}\n&y g: 6\nh: *nowhere\n*x : 7\n'': 8\n"
    assert faults(text) == [
        "f:1:4: an anchor (&x): remove it",
        "f:2:4: an alias (*x): write the value out",
        "f:3:1: the key 'a' is given twice, first in line 1: keep one",
        "f:4:4: a tag (tag:yaml.org,2002:int): remove it",
        "f:5:3: a key must be text",
        "f:7:1: an anchor (&y): remove it",
        "f:8:4: an alias (*nowhere): write the value out",
        "f:9:1: an alias (*x): write the value out",
        "f:10:1: a key is missing before this colon",
    ]


def test_walk_goes_on_rightly_after_a_fault() -> None:
    document, found = survey("a: 1\na: {b: [2, {c: 3}]}\n? {d: 4}\n: [5]\n? [x]\n: y\ne: {f: 6}\n", "f")
    assert document is not None
    assert document.data == {"a": "1", "e": {"f": "6"}}
    assert len(found) == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "f: the file is empty"),
        ("# only a comment\n", "f: the file is empty"),
        ("- a\n", "f:1:1: the file must be a mapping: KEY: VALUE"),
        ("just text\n", "f:1:1: the file must be a mapping: KEY: VALUE"),
        ("a: b\n---\nc: d\n", "f:2:1: a second document begins here: keep one in a file"),
        (
            "a: [1\n",
            "f:2:1: this is not YAML: while parsing a flow sequence did not find expected ',' or ']': put quotes around a text that holds braces, as in \"/items/{id}\"",
        ),
        ("a: b: c\n", "f:1:5: this is not YAML: mapping values are not allowed in this context"),
        ("\ta: b\n", "f:1:1: this is not YAML: while scanning for the next token found character that cannot start any token"),
        ("a: 'b\n", "f:2:1: this is not YAML: while scanning a quoted scalar found unexpected end of stream"),
        ("ok: 1\na\x00b: c\n", "f:2:2: a control character, U+0000: remove it"),
        ("a: \x1b[31m\n", "f:1:4: a control character, U+001B: remove it"),
        ('a: "\\e[31m"\n', "f:1:4: an escape for a control character, U+001B: remove it"),
        ("a: b\n\ufeffc: d\n", "f:2:1: a control character, U+FEFF: remove it"),
        (b"a: 1\nb: \xc3\xa9\xff\n", "f:2:5: byte 0xFF is not UTF-8: save the file as UTF-8"),
        (b"\xff\xfea\x00", "f:1:1: byte 0xFF is not UTF-8: save the file as UTF-8"),
    ],
)
def test_text_that_is_no_document_is_told_in_one_line_with_its_place(text: str | bytes, told: str) -> None:
    assert faults(text) == [told]


def test_file_over_one_mebibyte_is_refused_before_it_is_parsed() -> None:
    assert faults("a: " + "[" * MAX_BYTES) == ["f: the file is over 1 MiB: make it smaller"]
    assert faults(("a: " + "é" * (MAX_BYTES // 2)).encode()) == ["f: the file is over 1 MiB: make it smaller"]
    text = "a: " + "x" * (MAX_BYTES - 3)
    assert read_document(text, "f").data == {"a": "x" * (MAX_BYTES - 3)}


@pytest.mark.parametrize(
    "text", ["a: " + "[" * 500_000, "a: " + "{b: " * 200_000, "? " * 300_000, "- " * 300_000, "".join(" " * depth + "a:\n" for depth in range(900))]
)
def test_deep_nesting_is_a_fault_and_no_crash(text: str) -> None:
    assert any("nest" in line for line in faults(text))


def test_aliases_that_would_grow_without_end_stay_small() -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{chr(98 + step)}: &{chr(98 + step)} [*{chr(97 + step)}, *{chr(97 + step)}]\n" for step in range(20))
    assert len(faults(bomb)) == 21 + 40


def test_file_is_read_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("a: é\n", encoding="utf-8")
    assert read_document(read_bytes(file), str(file)).data == {"a": "é"}


def test_file_that_can_not_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "none", "there is no such file"), (tmp_path, "this is a folder, not a file"), (tmp_path / "a\0b", "this file can't be read")):
        with pytest.raises(DocumentFault) as caught:
            read_document(read_bytes(path), str(path))
        assert len(caught.value.faults) == 1
        assert str(caught.value).startswith(f"{path}: {why}")


def test_device_that_never_ends_is_too_large() -> None:
    with pytest.raises(DocumentFault, match="over 1 MiB"):
        read_document(read_bytes(Path("/dev/zero")), "zero")


def test_file_without_permission_is_told(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("a: b")
    file.chmod(0)
    if os.access(file, os.R_OK):  # root may read everything: there the sentence has nothing to say
        assert read_document(read_bytes(file), str(file)).data == {"a": "b"}
        return
    with pytest.raises(DocumentFault, match="may not be read"):
        read_document(read_bytes(file), str(file))


def test_quoted_value_is_one_short_line() -> None:
    assert shown("a\nb") == "'a\\nb'"
    assert len(shown("x" * 1000)) == 61
