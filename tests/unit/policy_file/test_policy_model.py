from __future__ import annotations

import pytest

from gateway.policy_file.model import KNOWN_METHODS, PolicyModel, method, split_request, unmapped_entry


def test_methods_are_read_in_any_case() -> None:
    assert [method(text) for text in ("get", "Post", "M-search")] == ["GET", "POST", "M-SEARCH"]


def test_known_methods_are_those_that_the_edge_parses() -> None:
    # A method that the parser refuses could be written into a policy and never be met.
    import asyncio

    from aiohttp.http_parser import HttpRequestParser

    async def parsed(name: str) -> str:
        protocol = __import__("aiohttp.base_protocol", fromlist=["BaseProtocol"]).BaseProtocol(asyncio.get_running_loop())
        parser = HttpRequestParser(protocol, asyncio.get_running_loop(), 2**16)
        messages, _, _ = parser.feed_data(f"{name} / HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        return messages[0][0].method

    assert {asyncio.run(parsed(name)) for name in KNOWN_METHODS} == KNOWN_METHODS


def test_entry_left_out_is_a_method_and_a_template() -> None:
    assert unmapped_entry("get /4/skills/{id}/") == ("GET", "/4/skills/{id}")
    for text in ("/4/skills", "GET", "GET ", "GET  /x", "GTE /x", "GET x", "GET /x?y"):
        with pytest.raises(ValueError, match=r".+"):
            unmapped_entry(text)


def test_request_of_a_test_keeps_its_target_as_it_is() -> None:
    assert split_request("get /a%2fb?c=d e") == ("GET", "/a%2fb?c=d e")


def test_model_knows_every_key_of_the_contract() -> None:
    keys = {name: set(model["properties"]) for name, model in PolicyModel.model_json_schema()["$defs"].items()}
    assert keys["TokensModel"] == {"default_expiry_days", "max_expiry_days", "max_per_owner"}
    assert keys["ScopeModel"] == {"title", "resources", "since", "was"}
    assert keys["RouteModel"] == {
        "path", "methods", "scope", "public", "access", "resource", "upstream", "rate_limit", "timeout", "max_body", "stream", "encoded_slash", "enforcement",
    }  # fmt: skip
    assert set(PolicyModel.model_fields) == {"version", "tokens", "scopes", "routes", "unmapped", "tests", "paths", "enforcement"}
