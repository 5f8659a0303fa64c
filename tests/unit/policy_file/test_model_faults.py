from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.policy_file.fields import Whole
from gateway.policy_file.model_faults import known_keys, model_faults, place
from tests.harness.documents import read_document


class Item(BaseModel):
    model_config = ConfigDict(extra="forbid")
    path: str
    access: Literal["view", "manage"] = "view"
    count: Annotated[Whole, Field(ge=1, le=9)] = 1


class Top(BaseModel):
    model_config = ConfigDict(extra="forbid")
    named: dict[str, Item] = {}
    items: Annotated[list[Item] | None, Field(max_length=3)] = None
    texts: list[Annotated[str, Field(min_length=1)]] = []


def told(text: str) -> list[str]:
    document = read_document(text, "f")
    with pytest.raises(ValidationError) as caught:
        Top.model_validate(document.data)
    return [str(fault) for fault in sorted(model_faults(caught.value, document, "f", Top))]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("item: []", "f:1:1: unknown key 'item': did you mean 'items'?"),
        ("zzz: []", "f:1:1: unknown key 'zzz': known here are named, items, texts"),
        ("named:\n  a: {path: x, acess: view}", "f:2:16: unknown key 'acess' in named.a: did you mean 'access'?"),
        ("items:\n  - {path: x, pth: y}", "f:2:15: unknown key 'pth' in items: did you mean 'path'?"),
        ("items:\n  - access: view", "f:2:5: 'path' is missing in items"),
        ("items: [{path: x, access: none}]", "f:1:27: access: 'none' is not one of 'view' or 'manage'"),
        ("items: [{path: x, count: 0}]", "f:1:26: count: '0' is out of range: at least 1"),
        ("items: [{path: x, count: 10}]", "f:1:26: count: '10' is out of range: at most 9"),
        ("items: [{path: x, count: many}]", "f:1:26: count: 'many' is no whole number"),
        ("items: [{path: [x]}]", "f:1:16: path: text is needed here, not a list"),
        ("items: [{path: }]", "f:1:16: path: text is needed here, not nothing"),
        ("items: {a: b}", "f:1:8: items: a list is needed here, not a mapping"),
        ("items: [x]", "f:1:9: items: a mapping is needed here, not text"),
        ("named: [x]", "f:1:8: named: a mapping is needed here, not a list"),
        ("named: text", "f:1:8: named: a mapping is needed here, not text"),
        ("texts: ['']", "f:1:9: texts: this may not be empty"),
        ("items: [{path: a}, {path: b}, {path: c}, {path: d}]", "f:1:8: items: at most 3 are allowed"),
    ],
)
def test_fault_is_told_in_the_words_of_the_file(text: str, fault: str) -> None:
    assert told(text) == [fault]


def test_every_fault_of_a_model_is_told() -> None:
    assert len(told("named: {a: {}, b: {path: x, x: y}}\nitems: [z]\ntexts: [[]]\nfoo: bar")) == 5


def test_fault_without_a_place_of_its_own_stands_at_the_nearest_thing_around_it() -> None:
    document = read_document("a:\n  b: [x]\n", "f")
    assert str(place(document, "f", ("a", "b", 3, "c"), "m")) == "f:2:6: m"
    assert str(place(document, "f", ("z",), "m")) == "f:1:1: m"


def test_long_value_is_cut() -> None:
    assert len(told(f"items: [{{path: x, access: {'n' * 5000}}}]")[0]) < 150


def test_known_keys_are_found_through_lists_mappings_and_optional_fields() -> None:
    assert known_keys(Top, ()) == ["named", "items", "texts"]
    assert known_keys(Top, ("named", "x")) == ["path", "access", "count"]
    assert known_keys(Top, ("items", 3)) == ["path", "access", "count"]
    assert known_keys(Top, ("texts", 0)) == []
    assert known_keys(Top, ("nothing", "at", "all")) == []
