from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.scope import SCOPE_ID
from gateway.openapi.areas import Areas, first_literal, scope_id
from gateway.openapi.operations import specification


def areas(*operations: tuple[str, list[str]]) -> tuple[dict[str, str], list[str]]:
    """The ids of the areas, and the area of each operation."""
    paths: dict[str, Any] = {path: {"get": {"tags": tags}} for path, tags in operations}
    found = specification({"openapi": "3.0.0", "paths": paths}, "spec")
    made = Areas(found)
    return made.ids, [made.of(operation) for operation in found.operations]


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("User Groups", "user-groups"),
        ("userGroups", "user-groups"),
        ("APIs", "apis"),
        ("OAuth 2", "oauth-2"),
        ("HTTPServer", "http-server"),
        ("core_v1", "core_v1"),
        ("a.b", "a.b"),
        ("Café & Bar!", "cafe-bar"),
        ("--x--", "x"),
        ("注文", "area"),
        ("", "area"),
    ],
)
def test_a_scope_id_reads_like_its_tag(text: str, made: str) -> None:
    assert scope_id(text) == made


@given(st.text(max_size=100))
def test_every_text_makes_a_legal_scope_id(text: str) -> None:
    assert SCOPE_ID.match(scope_id(text))


@pytest.mark.parametrize(
    ("path", "segment"),
    [
        ("/v1/accounts/{account}", "accounts"),
        ("/api/v2/users", "users"),
        ("/2010-04-01/Calls", "Calls"),
        ("/v1beta1/things", "things"),
        ("/1.0/things", "things"),
        ("/orders", "orders"),
        ("/{tenant}/orders/v2", "orders"),
        ("/v1/{id}", ""),
        ("/", ""),
        ("/#Action=Run", ""),
    ],
)
def test_the_area_of_a_path_is_its_first_literal_after_the_version(path: str, segment: str) -> None:
    assert first_literal(path) == segment


def test_tags_that_read_alike_have_ids_that_are_told_apart() -> None:
    ids, _ = areas(("/a", ["Orders"]), ("/b", ["orders"]), ("/c", ["ORDERS!"]), ("/d", ["orders-2"]))
    assert ids["orders"] == "orders"
    assert ids["orders-2"] == "orders-2"
    assert len(set(ids.values())) == 4


def test_long_tags_that_differ_only_at_the_end_have_legal_ids_that_are_told_apart() -> None:
    ids, _ = areas(("/a", ["x" * 80 + "a"]), ("/b", ["x" * 80 + "b"]))
    assert len(set(ids.values())) == 2
    assert all(SCOPE_ID.match(made) for made in ids.values())


def test_the_first_tag_counts_and_an_operation_without_one_joins_the_tag_that_reads_like_its_path() -> None:
    ids, of = areas(("/a", ["Pet Shop", "Other"]), ("/v1/pet-shop", []), ("/v1/else", []), ("/{x}", []))
    assert of == ["Pet Shop", "Pet Shop", "else", "other"] or of == ["Pet Shop", "Pet Shop", "else", "Other"]
    assert ids["Pet Shop"] == "pet-shop"
