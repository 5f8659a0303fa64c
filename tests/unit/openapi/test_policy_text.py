from __future__ import annotations

from typing import Any

import pytest

from gateway.core.scope import parse_grants
from gateway.openapi.first_policy import first_policy
from gateway.openapi.operations import specification
from gateway.openapi.policy_text import decisions, policy_text, title_of
from gateway.openapi.source import read_source
from gateway.policy_file.document import DocumentFault
from gateway.policy_file.load import parse_policy, parse_untested
from tests.shape.tree import ROOT

CUTS = sorted((ROOT / "tests" / "vectors" / "openapi").iterdir())


def text(data: object, name: str = "folder/spec.json") -> str:
    return policy_text(first_policy(specification(data, name)))


def document(paths: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "openapi": "3.0.0",
        "info": {"title": "T", "version": "1"},
        "security": [{"k": []}],
        "components": {"securitySchemes": {"k": {}}},
        "paths": paths,
        **more,
    }


def test_a_small_policy_reads_as_a_person_would_write_it() -> None:
    paths = {"/a/{x}": {"get": {"tags": ["Blue Things"]}}, "/b": {"post": {"tags": ["b"], "operationId": "searchB"}}}
    assert text(document(paths, tags=[{"name": "Blue Things", "description": "What is\nblue."}])) == (
        "# A first policy for T 1, made from spec.json (OpenAPI 3.0): 2 operations.\n"
        "# One scope for each tag, or for the first word of the path where there are none. GET, HEAD and OPTIONS ask for view, all else for manage.\n"
        '# What is not mapped is refused. 1 line says "decide": look at each, then remove it.\n'
        "version: 1\n"
        "\n"
        "scopes:\n"
        "  b: {title: b}\n"
        "  # What is blue.\n"
        '  blue-things: {title: "Blue Things"}\n'
        "\n"
        "routes:\n"
        "  # b\n"
        '  # decide: only reads, by its id "searchB": remove access: view if it changes anything\n'
        "  - {path: /b, methods: [POST], scope: b, access: view}\n"
        "\n"
        "  # Blue Things\n"
        '  - {path: "/a/{x}", methods: [GET], scope: blue-things}\n'
        "\n"
        "tests:\n"
        '  - {request: "POST /b", grants: ["b:view"], expect: allow}\n'
        '  - {request: "POST /b", grants: ["blue-things"], expect: scope_missing}\n'
        '  - {request: "GET /a/1", grants: ["blue-things:view"], expect: allow}\n'
        '  - {request: "GET /a/1", grants: ["b"], expect: scope_missing}\n'
    )


@pytest.mark.parametrize("path", CUTS, ids=lambda path: path.name)
def test_every_cut_makes_a_policy_that_loads_with_its_tests(path: Any) -> None:
    made = first_policy(specification(read_source(path), path.name))
    compiled = parse_untested(policy_text(made), "policy")
    assert list(compiled.policy.scopes) == list(made.areas)
    assert {test.expect for test in compiled.expectations} == {"allow", "scope_missing"}
    assert len(compiled.expectations) >= 2 * len(made.areas)
    assert policy_text(made).count("# decide: ") == decisions(made)


HOSTILE = [
    "a\n  - {path: /**, public: true}",
    "a\u2028  - {path: /**, public: true}",
    "a\x85version: 2",
    'a"}, x: {title: "b',
    "null",
    "true",
    "012",
    "#",
    "{}",
    "- x",
    "a: b",
    "\ufeff\x00\x1b[31m",
    "*x",
    "&x",
    "注文",
    "\ud800",
    " ",
    "x" * 5000,
]


@pytest.mark.parametrize("evil", HOSTILE)
def test_whatever_a_document_says_stays_text(evil: str) -> None:
    """Seen to fail with a comment that keeps U+2028, which ends a line of YAML."""
    operation = {
        "tags": [evil],
        "operationId": f"search{evil}",
        "summary": evil,
        "security": [{evil: []}, {}],
        "deprecated": True,
        "servers": [{"url": f"https://h/{evil}"}],
    }
    paths = {"/a": {"post": operation}, f"/{evil}": {"post": operation}, f"/x-{{{evil}}}": {"get": operation}, f"/{{{evil}}}": {"get": operation}}
    data = document(paths, tags=[{"name": evil, "description": evil}], info={"title": evil, "version": evil})
    policy = parse_policy(text(data, f"{evil[:20]}.json"), "policy")
    assert not any(route.public for route in policy.routes)
    assert len(policy.scopes) <= 2


def test_words_that_yaml_readers_change_are_quoted() -> None:
    made = text(document({"/null": {"get": {}}, "/yes": {"get": {}}, "/1st": {"get": {}}}))
    assert '"null": {title: "null"}' in made
    assert '"yes": {title: "yes"}' in made
    assert list(parse_policy(made, "policy").scopes) == ["1st", "null", "yes"]


def test_the_requests_of_the_tests_meet_no_literal_of_the_policy() -> None:
    policy = parse_untested(text(document({"/a/{x}": {"get": {"tags": ["a"]}}, "/a/1": {"get": {"tags": ["b"]}}, "/a/11": {"get": {"tags": ["b"]}}})), "policy")
    assert [test.target for test in policy.expectations if test.grants.text == parse_grants(["a:view"]).text] == ["/a/111"]


def test_a_document_without_a_rule_to_map_makes_a_policy_all_the_same() -> None:
    for paths in ({"/r-{x}": {"get": {}}}, {"/a//b": {"get": {}}}):
        assert parse_policy(text(document(paths)), "policy").scopes == {}


def test_an_encoded_slash_is_taken_where_the_document_writes_it() -> None:
    (route,) = parse_policy(text(document({"/a%2Fb": {"get": {}}})), "policy").routes
    assert (route.template, route.encoded_slash) == ("/a%2Fb", True)


def test_a_document_whose_policy_would_be_too_large_is_told_with_its_size() -> None:
    paths = {f"/{'x' * 200}/{number}": {"get": {"tags": ["t"]}} for number in range(5000)}
    with pytest.raises(DocumentFault, match=r"its policy would have 5,000 rules and 1\.\d MiB, and a policy has at most 1: split the document by its paths"):
        text(document(paths))


def test_a_title_is_one_line_of_at_most_200_characters() -> None:
    assert len(title_of("x" * 5000)) == 200
