"""Documents of every version taken apart: references, what is left out, what can't be used."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.openapi import take_apart as module
from gateway.openapi.pieces import SpecUnusable
from gateway.openapi.take_apart import take_apart
from tests.unit.openapi.documents import answering, cut_down, described, only

REF = "#/components/schemas/"


def schema_of(told: Any, path: str = "/a") -> Any:
    return told["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]


@pytest.mark.parametrize("ref", ["My%20Pet", "My Pet", "My%20Pet/properties/name"])
def test_a_reference_with_percent_codes_or_into_a_component_reaches_it(ref: str) -> None:
    document = described({"/a": {"get": answering({"$ref": REF + ref})}}, components={"schemas": {"My Pet": {"properties": {"name": {}}}, "Other": {}}})
    told = cut_down(document)
    assert list(told["components"]["schemas"]) == ["My Pet"]
    assert schema_of(told) == {"$ref": REF + ref}


def test_a_reference_with_slashes_and_tildes_in_its_name_reaches_its_component() -> None:
    document = described({"/a": {"get": answering({"$ref": REF + "a~1b~0c"})}}, components={"schemas": {"a/b~c": {"type": "string"}, "a": {}}})
    assert list(cut_down(document)["components"]["schemas"]) == ["a/b~c"]


def test_a_reference_into_an_operation_that_may_not_be_called_is_written_out() -> None:
    target = "#/paths/~1hidden/get/responses/200/content/application~1json/schema"
    document = described({"/a": {"get": answering({"$ref": target})}, "/hidden": {"get": answering({"type": "object", "title": "Shape"})}})
    told = cut_down(document, only("GET /a"))
    assert schema_of(told) == {"type": "object", "title": "Shape"}
    assert "hidden" not in json.dumps(told)


def test_a_reference_into_an_operation_that_comes_back_to_itself_ends() -> None:
    target = "#/paths/~1a/get/responses/200/content/application~1json/schema"
    assert schema_of(cut_down(described({"/a": {"get": answering({"items": {"$ref": target}})}}))) == {"items": {"items": {}}}


def test_a_reference_that_leads_nowhere_becomes_empty_and_a_remote_one_stays() -> None:
    document = described({"/a": {"get": answering({"items": {"$ref": REF + "None"}})}, "/b": {"get": answering({"$ref": "other.yaml#/X"})}})
    told = cut_down(document)
    assert schema_of(told) == {"items": {}}
    assert schema_of(told, "/b") == {"$ref": "other.yaml#/X"}


def test_a_path_item_that_is_a_reference_is_judged_by_what_it_stands_for() -> None:
    document = described(
        {"/a": {"$ref": "#/components/pathItems/A"}, "/b": {"$ref": "#/paths/~1a", "delete": {}}, "/c": {"$ref": "paths.yaml#/c"}},
        "3.1.0",
        components={"pathItems": {"A": {"get": answering(), "post": answering()}}},
    )
    told = cut_down(document, only("GET /a", "DELETE /b", "GET /c"))
    assert {path: list(item) for path, item in told["paths"].items()} == {"/a": ["get"], "/b": ["delete"]}
    assert "pathItems" not in told["components"]


def test_what_names_other_operations_or_backends_is_left_out() -> None:
    response = {"description": "d", "links": {"Next": {"operationId": "hidden"}}}
    document = described(
        {
            "/a": {
                "x-all": ["hidden"],
                "get": {
                    "x-integration": {"uri": "hidden"},
                    "responses": {"200": response, "201": {"$ref": "#/components/responses/R"}},
                    "callbacks": {
                        "done": {"{$request.body#/url}": {"servers": [{"url": "http://hidden"}], "post": {"security": [{"hidden": []}], "responses": {}}}}
                    },
                },
            }
        },
        "3.1.0",
        webhooks={"hidden": {"post": {}}},
        components={"responses": {"R": response}, "links": {"L": {"operationId": "hidden"}}},
        **{"x-groups": [{"tags": ["hidden"]}]},
    )
    told = cut_down(document)
    assert "hidden" not in json.dumps(told)
    assert told["paths"]["/a"]["get"]["callbacks"] == {"done": {"{$request.body#/url}": {"post": {"responses": {}}}}}
    assert told["components"]["responses"] == {"R": {"description": "d"}}


def test_a_property_that_is_called_like_something_left_out_stays() -> None:
    names = {"links": {"type": "array"}, "security": {"type": "string"}, "servers": {}, "x-y": {}, "$ref": {"type": "string"}, "description": {}}
    document = described({"/a": {"get": answering({"properties": names})}})
    assert schema_of(cut_down(document)) == {"properties": names}


@pytest.mark.parametrize("target", [REF + "Dog", "Dog"])
def test_what_only_a_discriminator_names_is_reached(target: str) -> None:
    pet = {"discriminator": {"propertyName": "kind", "mapping": {"dog": target}}}
    document = described({"/a": {"get": answering({"$ref": REF + "Pet"})}}, components={"schemas": {"Pet": pet, "Dog": {}, "Cat": {}}})
    assert list(cut_down(document)["components"]["schemas"]) == ["Pet", "Dog"]


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("/é/{ü}", "/%C3%A9/{%C3%BC}"),
        ("/a b", "/a%20b"),
        ("/%7Eme", "/~me"),
        ("/compare/{base}...{head}", "/compare/{base}...{head}"),
        ("/{id}:cancel", "/{id}:cancel"),
        ("/a?kind=x", "/a"),
        ("/a//b", ""),
        ("/a/../b", ""),
        ("/a#x", "/a%23x"),
        ("/a;v=1", ""),
        ("/100%", ""),
    ],
)
def test_a_path_is_judged_in_its_canonical_form_and_one_that_no_request_can_have_is_left_out(template: str, path: str) -> None:
    pieces = take_apart(described({template: {"get": {}}, "/sound": {"get": {}}}))
    assert pieces.paths[0].operations[0].path == path
    assert (template in cut_down(described({template: {"get": {}}, "/sound": {"get": {}}}))["paths"]) == bool(path)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ([], "must be a mapping"),
        ({}, "its version is ''"),
        ({"openapi": "4.0.0"}, "its version is '4.0.0'"),
        ({"swagger": "1.2"}, "its version is '1.2'"),
        (described({}), "no operation"),
        (described({"/a": {"get": 1, "x-b": {}}}), "no operation"),
        ({"openapi": "3.0.0", "paths": []}, "no operation"),
        (described({"/a": {"get": {"responses": {"200": object()}}}}), "no word"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(document: object, why: str) -> None:
    with pytest.raises(SpecUnusable, match=why) as told:
        take_apart(document)
    assert "\n" not in str(told.value)


def test_a_document_that_is_nested_too_deep_or_in_itself_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["items"] = endless
    with pytest.raises(SpecUnusable, match="nested"):
        take_apart(described({"/a": {"get": answering(endless)}}))


def test_what_aliases_and_references_multiply_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_VALUES", 10_000)
    shared: object = {}
    for _ in range(20):
        shared = {"a": shared, "b": shared}
    with pytest.raises(SpecUnusable, match="10,000 values"):
        take_apart(described({"/a": {"get": answering(shared)}}))
    written = {f"d{number}": {"a": {"$ref": f"#/x/d{number + 1}"}, "b": {"$ref": f"#/x/d{number + 1}"}} for number in range(20)}
    with pytest.raises(SpecUnusable, match="10,000 values"):
        take_apart(described({"/a": {"get": answering({"$ref": "#/x/d0"})}}, x=written))


def test_odd_parts_that_are_none_of_ours_do_no_harm() -> None:
    document = described(
        {"/a": {"get": {"tags": 3, "servers": {}, "responses": [], "callbacks": 1}, "parameters": None}, "b": {"get": {}}}, tags=7, components=[], servers=3
    )
    assert list(cut_down(document)["paths"]) == ["/a"]
