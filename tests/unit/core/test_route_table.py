from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.route import METHODS, Route
from gateway.core.route_table import RouteTable, WrongMethod, ordered, taken

VECTORS = yaml.safe_load((Path(__file__).parents[2] / "vectors" / "routes.yaml").read_text())


def route(text: str) -> Route:
    """A route from ``METHODS TEMPLATE``, left out with a "-" before it."""
    left_out = text.startswith("- ")
    methods, template = text.removeprefix("- ").split(" ")
    return Route(template=template, methods=tuple(methods.split(",")), scope=None, unmapped=left_out)


def told(found: Route | WrongMethod | None) -> str:
    if found is None:
        return "none"
    if isinstance(found, WrongMethod):
        return f"405 {', '.join(found.allow)}"
    return f"- {found.template}" if found.unmapped else found.template


@pytest.mark.parametrize(
    ("table", "request_", "expected"),
    [pytest.param(table, request, expected, id=f"{table['name']}: {request}") for table in VECTORS for request, expected in table["requests"].items()],
)
def test_request_meets_the_route_that_the_vectors_name(table: dict, request_: str, expected: str) -> None:
    routes = [route(text) for text in table["routes"]]
    method, path = request_.split(" ")
    for order in (routes, routes[::-1]):
        assert told(RouteTable(order, ignore_case=table.get("ignore_case", False)).find(path, method)) == expected


# The slow, obvious reference: of all templates that match and take the method, the one whose segments are the most specific, read from the left.
def kind(part: str) -> int:
    return 2 if part == "**" else 1 if part.startswith("{") else 0


def match(template: list[str], path: list[str]) -> bool:
    if template and template[-1] == "**":
        template, path = template[:-1], path[: len(template) - 1]
    return len(template) == len(path) and all(part == segment or kind(part) == 1 for part, segment in zip(template, path, strict=True))


def split(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def reference(routes: list[Route], path: str, method: str) -> str:
    fit = [candidate for candidate in routes if match(split(candidate.template), split(path))]
    # A template that ends where another has ** is more specific: 3 segments and the end against 3 segments and a rest.
    fit.sort(key=lambda candidate: [*map(kind, split(candidate.template)), -1])

    def best(name: str) -> Route | None:
        return next((candidate for candidate in fit if name in candidate.methods or (name == "HEAD" and "GET" in candidate.methods)), None)

    found = best(method)
    if found:
        return told(found)
    allow = [name for name in METHODS if (takes := best(name)) and not takes.unmapped]
    return f"405 {', '.join(allow)}" if allow else "none"


part = st.sampled_from(["a", "b", "{x}"])
template = st.builds(lambda parts, rest: "/" + "/".join([*parts, *rest]), st.lists(part, max_size=4), st.sampled_from([[], ["**"]]))
entry = st.tuples(template, st.sampled_from(["GET", "POST", "HEAD,PUT", "GET,DELETE", "OPTIONS"]), st.booleans())
paths = st.builds(
    lambda parts, slash: "/" + "/".join(parts) + ("/" if parts and slash else ""), st.lists(st.sampled_from(["a", "b", "c"]), max_size=6), st.booleans()
)


CASES = 10_000
POLICIES = 400


# Each policy is asked many paths, so that ten thousand cases take seconds.
@settings(max_examples=POLICIES, deadline=None)
@given(
    st.lists(entry, max_size=12),
    st.lists(st.tuples(paths, st.sampled_from(METHODS)), min_size=CASES // POLICIES, max_size=CASES // POLICIES + 8, unique=True),
)
def test_table_agrees_with_the_obvious_reference_in_ten_thousand_cases(entries: list[tuple[str, str, bool]], requests: list[tuple[str, str]]) -> None:
    claimed: set[tuple[str, str]] = set()
    routes: list[Route] = []
    for text, methods, left_out in entries:
        candidate = Route(template=text, methods=tuple(methods.split(",")), scope=None, unmapped=left_out)
        claims = {(text, method) for method in taken(candidate.methods)}
        if not claims & claimed:  # the loader refuses such pairs
            claimed |= claims
            routes.append(candidate)
    table = RouteTable(routes)
    for path, method in requests:
        assert told(table.find(path, method)) == reference(routes, path, method)


def test_table_agrees_with_the_reference_on_a_large_policy() -> None:
    dice = random.Random(4)
    routes: dict[str, Route] = {}
    for _ in range(3000):
        parts = [dice.choice(["{x}", *map(str, range(9))]) for _ in range(dice.randint(1, 5))] + dice.choice([[], [], ["**"]])
        text = "/" + "/".join(parts)
        routes.setdefault(text, Route(template=text, methods=dice.choice([("GET",), ("POST", "PUT"), METHODS]), scope=None))
    table, every = RouteTable(routes.values()), list(routes.values())
    for _ in range(150):
        path = "/" + "/".join(str(dice.randint(0, 11)) for _ in range(dice.randint(1, 6)))
        method = dice.choice(METHODS)
        assert told(table.find(path, method)) == reference(every, path, method)


def steps(table: RouteTable, path: str) -> int:
    """How many nodes a full search visits, seen through the look-ups of their literals."""
    count = 0

    class Counting(dict):
        def get(self, *arguments):
            nonlocal count
            count += 1
            return super().get(*arguments)

    todo = [table._root]
    while todo:
        node = todo.pop()
        todo += [*node.literals.values(), *([node.name] if node.name else [])]
        node.literals = Counting(node.literals)
    assert table.find(path, "GET") is None
    return count


def test_a_path_costs_at_most_the_size_of_the_policy() -> None:
    # Every mixture of `a` and {x} over ten segments, all ending in something else than the path: each node is visited once, not each way to it.
    routes = [
        Route(template="/" + "/".join("a" if bits >> index & 1 else "{x}" for index in range(10)) + "/end", methods=("GET",), scope=None)
        for bits in range(1024)
    ]
    nodes = 2**11
    assert steps(RouteTable(routes), "/a" * 10 + "/no") <= 2 * nodes
    chain = [Route(template="/{x}" * depth + "/end", methods=("GET",), scope=None) for depth in range(1, 60)]
    assert steps(RouteTable(chain), "/a" * 4000) <= 2 * 60


def test_many_segments_take_no_longer_than_their_split() -> None:
    table = RouteTable([Route(template="/a/**", methods=("GET",), scope=None), Route(template="/{x}/{y}/b", methods=("POST",), scope=None)])
    begun = time.perf_counter()
    assert told(table.find("/a" * 100_000, "GET")) == "/a/**"
    assert told(table.find("/b" * 100_000, "POST")) == "none"
    assert time.perf_counter() - begun < 5  # quadratic would be minutes


def test_of_two_routes_for_one_place_the_first_counts() -> None:
    first, second = Route(template="/a", methods=("GET",), scope=None), Route(template="/a", methods=("GET", "PUT"), scope=None)
    table = RouteTable([first, second])
    assert table.find("/a", "GET") is first
    assert table.find("/a", "PUT") is second


def test_all_matching_templates_are_told_the_most_specific_first() -> None:
    table = RouteTable([route(text) for text in ("GET /**", "GET /a/{x}", "POST /a/b", "GET /{x}/b", "GET /a/**", "GET /c")])
    assert [next(iter(answers.values())).template for answers in table.matches("/a/b")] == ["/a/b", "/a/{x}", "/a/**", "/{x}/b", "/**"]


def test_methods_are_named_in_one_order() -> None:
    assert ordered({"SEARCH", "DELETE", "ACL", "GET", "HEAD"}) == ("GET", "HEAD", "DELETE", "ACL", "SEARCH")
