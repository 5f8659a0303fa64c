from __future__ import annotations

import pytest

from gateway.openapi.reference import References, pointer

ROOT = {
    "a/b": {"c~d": [{"x": 1}, {"$ref": "#/plain"}]},
    "plain": {"y": 2},
    "one": {"$ref": "#/two"},
    "two": {"$ref": "#/three"},
    "three": {"$ref": "#/two"},
    "self": {"$ref": "#/self"},
    **{f"n{number}": {"$ref": f"#/n{number + 1}"} for number in range(100)},
}


@pytest.mark.parametrize(
    ("target", "found"),
    [("#/a~1b/c~0d/0", {"x": 1}), ("#/a%7E1b/c~0d/0", {"x": 1}), ("#/a~1b/c~0d/1", {"y": 2}), ("#/plain", {"y": 2})],
)
def test_a_pointer_leads_to_its_place_with_its_escapes(target: str, found: object) -> None:
    references = References(ROOT)
    assert references.follow({"$ref": target}, "#/here")[0] == found
    assert references.faults == []


def test_what_is_no_reference_stands_for_itself() -> None:
    assert References(ROOT).follow({"x": 1}, "#/here") == ({"x": 1}, "#/here")


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("other.yaml#/a", "#/here/$ref: other.yaml#/a is in another file or on another host, and is not fetched: bundle the document into one file first"),
        ("https://x.example/a.json", "#/here/$ref: https://x.example/a.json is in another file or on another host, and is not fetched: bundle the document"),
        ("#/two", "#/three/$ref: the references go round in a circle (#/two -> #/three -> #/two): write one of them out"),
        ("#/self", "#/self/$ref: the references go round in a circle (#/self -> #/self): write one of them out"),
        ("#/none", "#/here/$ref: #/none leads nowhere: there is no such place in the document"),
        ("#/a~1b/c~0d/9", "#/here/$ref: #/a~1b/c~0d/9 leads nowhere"),
        ("#/plain/y/z", "#/here/$ref: #/plain/y/z leads nowhere"),
        (7, "#/here/$ref: a reference must be text"),
        ("#/n0", "#/n49/$ref: more than 50 references in a row: write the value out"),
    ],
)
def test_a_reference_that_leads_nowhere_is_told_with_its_place(target: object, told: str) -> None:
    references = References(ROOT)
    assert references.follow({"$ref": target}, "#/here") == (None, "")
    (fault,) = references.faults
    assert fault.startswith(told)


def test_of_very_many_faults_the_first_and_their_number_are_told() -> None:
    references = References(ROOT)
    for number in range(250):
        references.follow({"$ref": "far.json"}, f"#/at/{number}")
    assert len(references.faults) == 101
    assert references.faults[-1] == "and 150 more of the kind"


def test_a_pointer_is_written_with_its_escapes() -> None:
    assert pointer("paths", "/a~b", "get") == "#/paths/~1a~0b/get"
