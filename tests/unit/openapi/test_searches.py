from __future__ import annotations

import pytest

from gateway.openapi.operations import Operation, Security
from gateway.openapi.searches import may_read, reads


def post(operation_id: str = "", summary: str = "", path: str = "/x", method: str = "POST") -> Operation:
    return Operation(method, path, "", "#", (), operation_id, summary, Security("unstated"), False, frozenset())


@pytest.mark.parametrize(
    "operation_id",
    [
        "searchOrders",
        "search_orders",
        "orders.search",
        "orders/list-attestations-bulk",
        "ordersSearch",
        "findByStatus",
        "queryUsage",
        "usage_query",
        "lookup",
        "PostOrdersSearch",
    ],
)
def test_an_id_that_says_that_it_searches_is_a_search(operation_id: str) -> None:
    assert reads(post(operation_id)) == f'its id "{operation_id}"'


@pytest.mark.parametrize(
    "summary", ["Search orders", "Searches for orders by name", "Find pets", "List the holders", "Look up an address", "Query the index", "Filter orders"]
)
def test_a_summary_that_begins_with_it_is_a_search(summary: str) -> None:
    assert reads(post(summary=summary)) == f'its summary "{summary}"'


@pytest.mark.parametrize(
    ("operation_id", "summary"),
    [
        ("researchOrder", "Research an order"),
        ("createSearchIndex", ""),
        ("search", "Create search index"),
        ("credentials/revoke", "Revoke a list of credentials"),
        ("createUsersWithListInput", "Creates list of users with given input array"),
        ("findOrCreate", ""),
        ("findAndDelete", ""),
        ("find", "Find and order a book"),
        ("saveSearch", ""),
        ("runQuery", ""),
        ("shareList", ""),
        ("share_search", "Share a search"),
        ("postList", ""),
        ("addToList", "Add to the list"),
        ("listing", "Listing"),
        ("finder", ""),
        ("getOrders", "Get all orders"),
        ("filters", ""),
        ("", ""),
    ],
)
def test_words_that_only_look_like_it_are_none(operation_id: str, summary: str) -> None:
    assert reads(post(operation_id, summary)) == ""


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_only_post_is_judged(method: str) -> None:
    assert reads(post("searchOrders", method=method)) == ""


def test_a_path_alone_makes_no_search_but_a_question() -> None:
    assert may_read(post("worklogsByBody", "Get worklogs", "/worklogs/search"))
    assert not may_read(post("searchWorklogs", "", "/worklogs/search"))
    assert not may_read(post("getResearch", "", "/research"))
    assert not may_read(post("x", "", "/worklogs/search", "GET"))
