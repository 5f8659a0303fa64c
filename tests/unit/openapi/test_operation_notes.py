from __future__ import annotations

from typing import Any

import pytest

from gateway.openapi.operation_notes import document_notes, operation_notes, told
from gateway.openapi.operations import Specification, specification


def read(operation: dict[str, Any] | None = None, path: str = "/a", verb: str = "get", **more: Any) -> Specification:
    other = {"/other": {"get": {"tags": ["t"], "security": [{"k": []}]}}}
    return specification({"openapi": "3.0.0", "paths": {path: {verb: {"tags": ["t"], **(operation or {})}}, **other}, **more}, "spec")


def notes(found: Specification, *, public: bool = False, view: bool = False) -> list[str]:
    return list(operation_notes(found.operations[0], found, public=public, view=view))


def test_an_operation_is_told_as_a_client_would_ask_for_it() -> None:
    found = read(path="/a\nb", servers=[{"url": "/v1"}])
    assert told(found.operations[0]) == "GET /v1/a b"


@pytest.mark.parametrize(
    ("operation", "begins"),
    [
        ({"security": [{}, {"k": []}]}, "the document asks for a credential or for none (security holds {})"),
        ({}, "the document asks for no credential here, without saying so (no security)"),
        ({"security": [{"k": [], "l": []}]}, "the document asks for k and l together"),
        ({"security": [{"k": []}], "deprecated": True}, "deprecated in the document"),
        ({"security": [{"k": []}], "tags": []}, "has no tag in the document"),
        ({"security": [{"k": []}], "servers": [{"url": "https://b.example"}]}, "is served by b.example"),
        ({"security": []}, "the document asks for no credential here (security: []), and yet it asks for its scope"),
    ],
)
def test_what_a_person_must_decide_is_said(operation: dict[str, Any], begins: str) -> None:
    (note,) = notes(read(operation))
    assert note.startswith(begins)


def test_an_operation_with_nothing_odd_has_no_note() -> None:
    assert notes(read({"security": [{"k": []}, {"k": [], "l": []}]})) == []


def test_a_public_operation_and_a_search_are_always_told() -> None:
    assert notes(read({"security": []}), public=True)[0].startswith("public, because the document asks for no credential here (security: [])")
    search = read({"security": [{"k": []}], "operationId": "searchA"}, verb="post")
    assert notes(search, view=True) == ['only reads, by its id "searchA": remove access: view if it changes anything']
    assert notes(read({"security": [{"k": []}]}, "/a/search", "post")) == ["looks like a search by its path: add access: view if it changes nothing"]


def test_what_concerns_the_whole_document_is_said_once() -> None:
    silent = specification({"openapi": "3.0.0", "paths": {"/a": {"get": {}}}}, "spec")
    assert [note[:44] for note in document_notes(silent)] == ["the document does not say who may call what "]
    assert notes(silent) == []
    found = read(security=[{"k": [], "l": []}], servers=[{"url": "/{x}"}, {"url": "/2"}])
    assert [note.partition(":")[0] for note in document_notes(found)] == [
        "the document asks for k and l together",
        "the document asks for k, l without defining what that is",
        "the document has 2 servers",
        "the path of a server, /{x}, has a variable without a default",
    ]
    assert [note[:51] for note in document_notes(read(security=[{}]))] == ["the document asks for k without defining what that "]
    assert next(document_notes(read(security=[{}, {"k": []}]))).startswith("the document asks for a credential or for none")
