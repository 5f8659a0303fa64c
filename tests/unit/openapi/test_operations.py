from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.openapi.operations import Security, Specification, specification
from gateway.openapi.source import Doubled, read_source
from gateway.policy_file.document import DocumentFault
from tests.shape.tree import ROOT

CUTS = ROOT / "tests" / "vectors" / "openapi"


def document(paths: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"openapi": "3.0.0", "info": {"title": "T", "version": "1"}, "paths": paths, **more}


def read(paths: dict[str, Any], **more: Any) -> Specification:
    return specification(document(paths, **more), "spec")


def faults(data: object) -> list[str]:
    with pytest.raises(DocumentFault) as caught:
        specification(data, "spec")
    return [fault.message for fault in caught.value.faults]


def paths(found: Specification) -> list[str]:
    return [f"{operation.method} {operation.prefix}{operation.path}" for operation in found.operations]


@pytest.mark.parametrize(
    ("name", "version", "count", "first"),
    [
        ("forge-3.0.json", "3.0", 8, "GET /repos/{owner}/{repo}"),
        ("payments-3.0.yml", "3.0", 6, "GET /v1/accounts/{account}"),
        ("cluster-2.0.json", "2.0", 8, "GET /api/v1/namespaces/{namespace}/pods/{name}/proxy/{path}"),
        ("shop-3.1.yml", "3.1", 15, "GET /v2/orders"),
    ],
)
def test_one_reader_takes_every_version_in_json_and_yaml(name: str, version: str, count: int, first: str) -> None:
    found = specification(read_source(CUTS / name), name)
    assert (found.version, len(found.operations), paths(found)[0]) == (version, count, first)


def test_what_an_operation_says_of_itself_is_read() -> None:
    found = specification(read_source(CUTS / "shop-3.1.yml"), "shop")
    search = next(operation for operation in found.operations if operation.id == "searchOrders")
    assert (search.method, search.path, search.tags, search.summary, search.deprecated) == ("POST", "/orders/search", ("Orders",), "Search orders", False)
    assert search.pointer == "#/paths/~1orders~1search/post"
    assert found.tags == {"Orders": "What people ordered.", "orders": "The old ones.", "Stock Items": ""}
    assert found.schemes == {"bearer": "http bearer", "signature": "apiKey in header X-Signature", "key": "apiKey in header X-Signature"}


def test_a_path_item_that_is_a_reference_counts_with_what_stands_beside_it() -> None:
    found = read({"/a": {"$ref": "#/paths/~1b", "get": {}}, "/b": {"post": {}}})
    assert sorted(paths(found)) == ["GET /a", "POST /a", "POST /b"]
    assert faults(document({"/a": {"$ref": "#/paths/~1b", "post": {}}, "/b": {"post": {}}})) == [
        "#/paths/~1a: post stands here and in what $ref names: keep one"
    ]


@pytest.mark.parametrize(
    ("above", "own", "kind", "ways"),
    [
        ([{"a": []}], None, "needed", (("a",),)),
        ([{"a": []}], [], "none", ()),
        ([{"a": []}], [{}], "none", ()),
        ([{"a": []}], [{}, {"b": []}], "optional", (("b",),)),
        (None, [{"a": []}, {"b": [], "c": []}], "needed", (("a",), ("b", "c"))),
        (None, None, "unstated", ()),
        ([], None, "unstated", ()),  # what generators write says nothing of one operation
        ([{}, {"a": []}], None, "optional", (("a",),)),
    ],
)
def test_security_of_the_operation_comes_before_that_of_the_document(above: object, own: object, kind: str, ways: object) -> None:
    operation = {} if own is None else {"security": own}
    more = {} if above is None else {"security": above}
    (found,) = read({"/a": {"get": operation}}, **more).operations
    assert (found.security.kind, found.security.ways, found.security.own) == (kind, ways, own is not None)


def test_schemes_count_as_asked_for_together_only_where_no_alternative_asks_for_less() -> None:
    assert Security("needed", (("a", "b"), ("c",))).together == ()
    assert Security("needed", (("a", "b"), ("c", "d", "e"))).together == ("a", "b")


@pytest.mark.parametrize(
    ("more", "item", "operation", "path"),
    [
        ({"servers": [{"url": "https://a.example/v1/"}, {"url": "/v2"}]}, {}, {}, "/v1/x"),
        ({"servers": [{"url": "https://a.example/{base}", "variables": {"base": {"default": "v3"}}}]}, {}, {}, "/v3/x"),
        ({"servers": [{"url": "https://a.example/{base}"}]}, {}, {}, "/{base}/x"),
        ({"servers": [{"url": "//a.example"}]}, {}, {}, "/x"),
        ({"servers": [{"url": "/v1"}]}, {"servers": [{"url": "/item"}]}, {}, "/item/x"),
        ({"servers": [{"url": "/v1"}]}, {"servers": [{"url": "/item"}]}, {"servers": [{"url": "/own"}]}, "/own/x"),
        ({}, {}, {}, "/x"),
    ],
)
def test_the_path_of_the_nearest_first_server_stands_before_a_path(more: Any, item: Any, operation: Any, path: str) -> None:
    assert paths(read({"/x": {**item, "get": operation}}, **more)) == [f"GET {path}"]


def test_the_base_path_of_2_0_stands_before_a_path_and_a_given_prefix_in_place_of_it() -> None:
    data = {"swagger": "2.0", "basePath": "/v1/", "paths": {"/x": {"get": {}}}}
    assert paths(specification(data, "spec")) == ["GET /v1/x"]
    assert paths(specification(data, "spec", "/other")) == ["GET /other/x"]
    assert paths(specification(data, "spec", "")) == ["GET /x"]


def test_another_host_than_the_documents_is_noted() -> None:
    found = read({"/x": {"servers": [{"url": "https://b.example"}], "get": {}}, "/y": {"get": {}}}, servers=[{"url": "https://a.example"}])
    assert [operation.host for operation in found.operations] == ["b.example", ""]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ([], "this is no OpenAPI document: it must be a mapping with openapi: 3.x or swagger: 2.0"),
        ("text", "this is no OpenAPI document: it must be a mapping"),
        ({"name": "package"}, "this is no OpenAPI document that can be read: it has neither openapi: nor swagger:; known are 2.0, 3.0 and 3.1"),
        ({"openapi": "4.0.0"}, "this is no OpenAPI document that can be read: its version is '4.0.0'; known are"),
        ({"swagger": "1.2"}, "this is no OpenAPI document that can be read: its version is '1.2'"),
        ({"openapi": "3.1.0", "webhooks": {"a": {"post": {}}}}, "the document holds no operation: there is nothing to map under paths"),
        (document({"/a": {"parameters": []}}), "the document holds no operation"),
    ],
)
def test_what_is_no_openapi_document_is_told_in_one_line(data: object, told: str) -> None:
    (fault,) = faults(data)
    assert fault.startswith(told)


def test_every_fault_is_told_at_once() -> None:
    data = document(
        {
            "/far": {"$ref": "far.yaml#/a"},
            "/one": {"$ref": "#/paths/~1two"},
            "/two": {"$ref": "#/paths/~1one"},
            "/none": {"get": {"parameters": [{"$ref": "#/components/parameters/none"}]}},
            "/kinds": {"get": {"security": {"a": []}, "tags": "x"}, "put": []},
            "/twice": {"get": twice({"tags": ["a"]}, "tags")},
            "/ways": {"get": {"security": ["a"]}},
        },
        components={"securitySchemes": {"s": {"$ref": "#/components/securitySchemes/s"}}},
    )
    assert [fault.partition(": ")[0] for fault in faults(data)] == [
        "#/components/securitySchemes/s/$ref",
        "#/paths/~1far/$ref",
        "#/paths/~1kinds/get/security",
        "#/paths/~1kinds/get/tags",
        "#/paths/~1kinds/put",
        "#/paths/~1none/get/parameters/0/$ref",
        "#/paths/~1one/$ref",
        "#/paths/~1twice/get",
        "#/paths/~1two/$ref",
        "#/paths/~1ways/get/security/0",
    ]


def twice(data: dict[str, object], key: str) -> Doubled:
    doubled = Doubled(data)
    doubled.keys_twice = (key,)
    return doubled


def test_a_path_that_is_given_twice_is_a_fault_and_a_schema_that_is_is_none(tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    text = '{"openapi": "3.0.0", "paths": {"/a": {"get": {}}, %s}, "components": {"schemas": {"x": 1, "x": 2}}}'
    file.write_text(text % '"/b": {"get": {}}')
    assert len(specification(read_source(file), "spec").operations) == 2
    file.write_text(text % '"/a": {"put": {}}')
    assert faults(read_source(file)) == ["#/paths: '/a' is given twice: keep one"]


def test_references_that_circle_among_schemas_or_lead_far_from_there_are_none_of_our_business() -> None:
    assert len(specification(read_source(CUTS / "forge-3.0.json"), "forge").operations) == 8


def test_a_short_document_that_stands_for_endless_operations_is_refused() -> None:
    item = {verb: {} for verb in ("get", "put", "post", "delete", "options", "head", "patch")}
    data = document({f"/{number}": {"$ref": "#/components/pathItems/x"} for number in range(8000)}, components={"pathItems": {"x": item}})
    assert faults(data) == ["#/paths: more than 50,000 operations: split the document by its paths"]
