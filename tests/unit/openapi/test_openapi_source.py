from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.openapi.source import MAX_BYTES, MAX_DEPTH, MAX_MERGED, Doubled, parse_source, read_source
from gateway.policy_file.document import DocumentFault


def fault(raw: bytes | str) -> str:
    with pytest.raises(DocumentFault) as caught:
        parse_source(raw if isinstance(raw, bytes) else raw.encode(), "spec")
    (only,) = caught.value.faults
    return str(only)


def test_json_and_yaml_say_the_same() -> None:
    data = {"openapi": "3.1.0", "paths": {"/a": {"get": {"tags": ["x"], "security": []}}}}
    assert parse_source(json.dumps(data).encode(), "spec") == data
    assert parse_source(b"openapi: 3.1.0\npaths:\n  /a:\n    get: {tags: [x], security: []}\n", "spec") == data


def test_a_byte_order_mark_blanks_and_yaml_in_braces_are_fine() -> None:
    assert parse_source(b'\xef\xbb\xbf \n{"a": 1}', "spec") == {"a": 1}
    assert parse_source(b"{a: [b], # why\n c: d}", "spec") == {"a": ["b"], "c": "d"}


def test_scalars_of_yaml_stay_text_and_only_what_is_empty_is_none() -> None:
    assert parse_source(b'a: no\nb: 012\nc: ~\nd:\ne: "~"\n404: x\n', "spec") == {"a": "no", "b": "012", "c": None, "d": None, "e": "~", "404": "x"}


def test_an_alias_shares_what_it_names_so_that_a_bomb_of_aliases_stays_small() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 40)]
    data = parse_source("\n".join(lines).encode(), "spec")
    assert isinstance(data, dict)
    assert data["a39"][0] is data["a38"]


def test_merged_keys_give_way_to_those_that_stand_there() -> None:
    data = parse_source(b"x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz: {a: 0, <<: [*x, *y]}\n", "spec")
    assert isinstance(data, dict)
    assert data["z"] == {"a": "0", "b": "2", "c": "4"}


def test_a_bomb_of_merges_is_refused() -> None:
    wide = "a: &a {" + ", ".join(f"k{n}: v" for n in range(2000)) + "}\n"
    assert fault(wide + "b: [" + ", ".join(["{<<: *a}"] * 600) + "]\n").endswith(f"<< brings in more than {MAX_MERGED:,} keys in all: write the values out")


@pytest.mark.parametrize("opening", ["[", "- ", "{a: "])
def test_deep_nesting_is_told_and_never_a_crash(opening: str) -> None:
    before = "" if opening == "- " else "a: "
    assert f"nested more than {MAX_DEPTH} deep" in fault(before + opening * 500)
    assert "nest" in fault(before + opening * 50_000)
    assert "nested too deeply" in fault('{"a": ' * 50_000)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": 1,\n "b": ]', "spec:2:7: this is not JSON: expecting value"),
        ("a: [b\nc: d", "spec:2:2: this is neither JSON nor YAML: while parsing a flow sequence did not find expected ',' or ']'"),
        ("a: 1\n---\nb: 2\n", "spec:2:1: a second document begins here: keep one in a file"),
        ("a: &x [*x]", "spec:1:8: the alias *x names nothing before it, or a thing that holds it: write the value out"),
        ("? [a]\n: b", "spec:1:3: a key must be text"),
        ("x: &x [a]\n*x : b", "spec:2:1: a key must be text"),
        ("a: {<<: [x]}", "spec:1:12: << takes a mapping, or a list of them"),
        ("a: \x07", "spec: this is neither JSON nor YAML: "),
        (b"a: b\nc: \xff", "spec:2:1: byte 0xFF is not UTF-8: save the file as UTF-8"),
        ('{"a": ' + "9" * 5000 + "}", "spec: this is not JSON that can be read: "),
    ],
)
def test_what_is_no_document_is_told_with_its_place(text: str | bytes, told: str) -> None:
    assert fault(text).startswith(told)


def test_keys_that_are_given_twice_are_remembered() -> None:
    for raw in (b'{"a": 1, "b": 2, "a": 3, "a": 4}', b"a: 1\nb: 2\na: 3\na: 4\n"):
        data = parse_source(raw, "spec")
        assert isinstance(data, Doubled)
        assert data.keys_twice == ("a",)


def test_a_document_that_is_too_large_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "big.json"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(DocumentFault, match=r"big\.json: the document is over 64 MiB: leave out parts, or split it by its paths$"):
        read_source(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DocumentFault, match="there is no such file"):
        read_source(tmp_path / "none.json")
