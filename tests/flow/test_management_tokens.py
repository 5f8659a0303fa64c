"""The tokens API on a real port: what it answers, and that every wrong field is named."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.policy_file.load import parse_policy
from gateway.store.connection import StoreOptions
from gateway.store.embedded import EmbeddedStore
from gateway.store.server import Store
from tests.flow.management_port import POLICY, Answer, Port, management_port

TOKENS = "/api/v1/tokens"


@pytest.fixture
async def port(store: Store) -> AsyncIterator[Port]:
    async with management_port(store) as running:
        yield running


def problem(answer: Answer, status: int, code: str) -> dict[str, Any]:
    """The problem document, once all that every refusal has was seen."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.headers["cache-control"] == "no-store"
    facts: dict[str, Any] = answer.json
    assert facts["code"] == code
    assert facts["status"] == status
    assert facts["request_id"] == answer.headers["x-request-id"]
    assert facts["type"]
    assert facts["title"]
    assert facts["detail"]
    return facts


def wrong(answer: Answer) -> dict[str, str]:
    """The fields that a 422 names."""
    return {fault["field"]: fault["message"] for fault in problem(answer, 422, "invalid")["errors"]}


async def test_create_tells_the_token_and_its_secret_once(port: Port) -> None:
    answer = await port.ask(
        "POST",
        TOKENS,
        {
            "name": " ci ",
            "grants": ["teams:view", "worklogs"],
            "expires_in_days": 7,
            "allowed_ips": ["192.0.2.0/24"],
            "description": "nightly",
            "owner": "anna",
        },
    )
    assert answer.status == 201
    assert answer.headers["cache-control"] == "no-store"
    token = answer.json["token"]
    assert (token["name"], token["owner"], token["access"], token["state"]) == ("ci", "anna", "custom", "active")
    assert token["grants"] == ["worklogs:manage", "teams:view"]
    assert (token["allowed_ips"], token["description"]) == (["192.0.2.0/24"], "nightly")
    made, ends = (datetime.fromisoformat(token[name]) for name in ("created_at", "expires_at"))
    assert (ends - made).total_seconds() == 7 * 86400
    assert re.fullmatch(rf"sgt_{token['id']}_[0-9A-Za-z]{{38}}", answer.json["secret"])
    assert answer.headers["location"] == f"{TOKENS}/{token['id']}"
    shown = await port.ask("GET", f"{TOKENS}/{token['id']}")
    assert shown.json == {"token": token}
    listed = await port.ask("GET", TOKENS)
    assert answer.json["secret"].encode() not in shown.body + listed.body


async def test_what_is_left_out_has_its_default(port: Port) -> None:
    token = (await port.make())["token"]
    made, ends = (datetime.fromisoformat(token[name]) for name in ("created_at", "expires_at"))
    assert (ends - made).total_seconds() == 30 * 86400
    assert (token["owner"], token["allowed_ips"], token["description"]) == ("operator", [], "")


async def test_full_access_is_every_scope_of_today_and_says_how_many_came_later(port: Port) -> None:
    answer = await port.ask("POST", TOKENS, {"name": "all", "access": "full"})
    token = answer.json["token"]
    assert (token["access"], token["grants"], token["scopes_added_since"]) == ("full", ["worklogs:manage", "teams:manage"], 0)
    port.policy = parse_policy(POLICY.replace(b"routes:", b"  plans: {title: Plans}\nroutes:\n  - {path: /plans, scope: plans}"), "policy.yaml")
    again = (await port.ask("GET", f"{TOKENS}/{token['id']}")).json["token"]
    assert (again["grants"], again["scopes_added_since"]) == (["worklogs:manage", "teams:manage"], 1)


@pytest.mark.parametrize(
    ("payload", "fields"),
    [
        ({}, {"name", "grants"}),
        ({"name": "x"}, {"grants"}),
        ({"name": "x", "grants": []}, {"grants"}),
        ({"name": "x", "access": "full", "grants": ["worklogs"]}, {"grants"}),
        ({"name": "x", "access": "all"}, {"access"}),
        ({"name": "x", "grants": ["nobody"]}, {"grants"}),
        ({"name": "x", "grants": ["worklogs:write"]}, {"grants"}),
        ({"name": "x", "grants": "worklogs"}, {"grants"}),
        ({"name": "x", "grants": [1]}, {"grants"}),
        ({"name": "", "grants": ["worklogs"]}, {"name"}),
        ({"name": "a\u0000b", "grants": ["worklogs"]}, {"name"}),
        ({"name": "a" * 101, "grants": ["worklogs"]}, {"name"}),
        ({"name": 7, "grants": ["worklogs"]}, {"name"}),
        ({"name": None, "grants": ["worklogs"]}, {"name"}),
        ({"name": "\ud800", "grants": ["worklogs"]}, {"name"}),
        ({"name": "x", "grants": ["worklogs"], "expires_in_days": True}, {"expires_in_days"}),
        ({"name": "x", "grants": ["worklogs"], "expires_in_days": 1.0}, {"expires_in_days"}),
        ({"name": "x", "grants": ["worklogs"], "expires_in_days": "7"}, {"expires_in_days"}),
        ({"name": "x", "grants": ["worklogs"], "expires_in_days": None}, {"expires_in_days"}),
        ({"name": "x", "grants": ["worklogs"], "expires_in_days": 0}, {"expires_in_days"}),
        ({"name": "x", "grants": ["worklogs"], "expires_in_days": 5001}, {"expires_in_days"}),
        ({"name": "x", "grants": ["worklogs"], "expires_in_days": 10**40}, {"expires_in_days"}),
        ({"name": "x", "grants": ["worklogs"], "allowed_ips": ["10.0.0.1/8"]}, {"allowed_ips"}),
        ({"name": "x", "grants": ["worklogs"], "owner": ""}, {"owner"}),
        ({"name": "x", "grants": ["worklogs"], "owner": "a\r\nX-Evil: 1"}, {"owner"}),
        ({"name": "x", "grants": ["worklogs"], "expiry": 7}, {"expiry"}),
        # Of the wrong type, against a rule, and unknown, all at once.
        (
            {"name": 7, "grants": ["nobody"], "expires_in_days": 0, "owner": [], "id": "x", "allowed_ips": ["x"], "description": "\u0001"},
            {"name", "grants", "expires_in_days", "owner", "id", "allowed_ips", "description"},
        ),
    ],
)
async def test_every_wrong_field_of_a_new_token_is_named_and_nothing_is_made(port: Port, payload: dict[str, Any], fields: set[str]) -> None:
    assert set(wrong(await port.ask("POST", TOKENS, payload))) == fields
    assert (await port.ask("GET", TOKENS)).json["items"] == []


async def test_an_unknown_field_gets_a_hint(port: Port) -> None:
    assert "did you mean grants?" in wrong(await port.ask("POST", TOKENS, {"name": "x", "grant": ["worklogs"]}))["grant"]


async def test_a_key_given_twice_is_refused(port: Port) -> None:
    answer = await port.ask("POST", TOKENS, raw=b'{"name": "x", "grants": ["worklogs"], "access": "custom", "access": "full"}')
    assert wrong(answer) == {"access": "is given twice"}


@pytest.mark.parametrize("raw", [b"{", b"\xff", b"NaN", b'{"name": NaN}', b"[" * 60_000, b'{"name": "x"} x', b'{"n": ' + b"1" * 6000 + b"}", b"'x'"])
async def test_what_is_not_json_is_400(port: Port, raw: bytes) -> None:
    problem(await port.ask("POST", TOKENS, raw=raw), 400, "json_invalid")


@pytest.mark.parametrize("raw", [b"[]", b'"x"', b"null", b"1"])
async def test_json_that_is_no_object_is_422(port: Port, raw: bytes) -> None:
    assert wrong(await port.ask("POST", TOKENS, raw=raw)) == {"": "must be an object"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Type": "text/plain"},
        {"Content_Type": ""},
        {"Content_Type": "application/x-www-form-urlencoded"},
        {"Content_Type": "application/json; charset=utf-16"},
        {"Content_Encoding": "gzip"},
    ],
)
async def test_a_body_of_another_type_is_415(port: Port, headers: dict[str, str]) -> None:
    problem(await port.ask("POST", TOKENS, {"name": "x", "grants": ["worklogs"]}, **headers), 415, "media_type_unsupported")
    assert (await port.ask("GET", TOKENS)).json["items"] == []


async def test_a_body_over_64_kib_is_413_announced_or_not(port: Port) -> None:
    padding = b" " * 65_536
    problem(await port.ask("POST", TOKENS, raw=b'{"name": "x"}' + padding), 413, "body_too_large")
    chunk = f"{len(padding):x}\r\n".encode() + padding + b"\r\n"
    head = f"POST {TOKENS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer test-admin-key-0123456789abcdef0123456789\r\nConnection: close\r\n"
    data = f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + chunk * 2 + b"0\r\n\r\n"
    problem(await port.send(data), 413, "body_too_large")


async def test_a_body_of_exactly_64_kib_is_read(port: Port) -> None:
    raw = b'{"name": "x", "grants": ["worklogs"]}'
    assert (await port.ask("POST", TOKENS, raw=raw + b" " * (65_536 - len(raw)))).status == 201


async def test_a_chunked_body_is_read(port: Port) -> None:
    raw = b'{"name": "x", "grants": ["worklogs"]}'
    head = f"POST {TOKENS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer test-admin-key-0123456789abcdef0123456789\r\nConnection: close\r\n"
    data = f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{len(raw):x}\r\n".encode() + raw + b"\r\n0\r\n\r\n"
    assert (await port.send(data)).status == 201


async def test_more_tokens_than_an_owner_may_have_is_409(port: Port) -> None:
    for _ in range(5):
        await port.make(owner="anna")
    answer = await port.ask("POST", TOKENS, {"name": "x", "grants": ["worklogs"], "owner": "anna"})
    problem(answer, 409, "too_many_tokens")


async def test_rename_changes_name_and_description_and_nothing_else(port: Port) -> None:
    token = (await port.make(description="old"))["token"]
    answer = await port.ask("PATCH", f"{TOKENS}/{token['id']}", {"name": "new"})
    assert answer.status == 200
    assert answer.json["token"] == {**token, "name": "new", "version": token["version"] + 1}
    emptied = await port.ask("PATCH", f"{TOKENS}/{token['id']}", {"description": ""}, Content_Type="application/merge-patch+json")
    assert (emptied.json["token"]["name"], emptied.json["token"]["description"]) == ("new", "")


@pytest.mark.parametrize("field", ["grants", "owner", "allowed_ips", "access", "expires_at", "expires_in_days", "id"])
async def test_what_never_changes_is_409_and_stays(port: Port, field: str) -> None:
    token = (await port.make())["token"]
    answer = await port.ask("PATCH", f"{TOKENS}/{token['id']}", {"name": "new", field: token.get(field, 7)})
    facts = problem(answer, 409, "immutable")
    assert [fault["field"] for fault in facts["errors"]] == [field]
    assert (await port.ask("GET", f"{TOKENS}/{token['id']}")).json["token"] == token


@pytest.mark.parametrize(
    ("payload", "fields"),
    [
        ({}, {""}),
        ({"name": ""}, {"name"}),
        ({"name": None}, {"name"}),
        ({"name": 1, "x": 1, "description": []}, {"name", "x", "description"}),
        ({"state": "revoked"}, {"state"}),
    ],
)
async def test_a_wrong_rename_names_its_fields(port: Port, payload: dict[str, Any], fields: set[str]) -> None:
    token = (await port.make())["token"]
    assert set(wrong(await port.ask("PATCH", f"{TOKENS}/{token['id']}", payload))) == fields


async def test_regenerate_gives_a_new_secret_for_the_same_token(port: Port) -> None:
    made = await port.make()
    answer = await port.ask("POST", f"{TOKENS}/{made['token']['id']}/regenerate")
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    token, secret = answer.json["token"], answer.json["secret"]
    assert secret != made["secret"]
    assert token["regenerated_at"] is not None
    assert {**token, "version": 0, "regenerated_at": None} == {**made["token"], "version": 0}
    assert (await port.ask("POST", f"{TOKENS}/{token['id']}/regenerate", {"overlap": "1h"})).status == 200


@pytest.mark.parametrize("overlap", ["1", "", "8h30", "169h", "500ms", 3600, None, True])
async def test_a_wrong_overlap_is_422_and_the_secret_stays(port: Port, overlap: object) -> None:
    token = (await port.make())["token"]
    assert set(wrong(await port.ask("POST", f"{TOKENS}/{token['id']}/regenerate", {"overlap": overlap}))) == {"overlap"}
    assert (await port.ask("GET", f"{TOKENS}/{token['id']}")).json["token"] == token


async def test_suspend_resume_and_revoke_tell_the_state(port: Port) -> None:
    one = f"{TOKENS}/{(await port.make())['token']['id']}"
    for method, path, state in (
        ("POST", f"{one}/suspend", "suspended"),
        ("POST", f"{one}/suspend", "suspended"),
        ("POST", f"{one}/resume", "active"),
        ("POST", f"{one}/resume", "active"),
        ("DELETE", one, "revoked"),
        ("DELETE", one, "revoked"),
    ):
        answer = await port.ask(method, path)
        told = {"token"} if path.endswith("resume") else {"token", "nodes", "nodes_confirmed"}
        assert (answer.status, set(answer.json), answer.json["token"]["state"]) == (200, told, state)


async def test_an_ended_token_is_not_brought_back(port: Port) -> None:
    one = f"{TOKENS}/{(await port.make())['token']['id']}"
    await port.ask("POST", f"{one}/suspend")
    problem(await port.ask("POST", f"{one}/regenerate"), 409, "not_active")
    await port.ask("DELETE", one)
    for call in ("regenerate", "suspend", "resume"):
        problem(await port.ask("POST", f"{one}/{call}", {}), 409, "not_active")
    assert (await port.ask("GET", one)).json["token"]["state"] == "revoked"


@pytest.mark.parametrize("call", ["suspend", "resume"])
async def test_calls_without_fields_take_none(port: Port, call: str) -> None:
    one = f"{TOKENS}/{(await port.make())['token']['id']}"
    assert set(wrong(await port.ask("POST", f"{one}/{call}", {"reason": "x"}))) == {"reason"}
    assert (await port.ask("GET", one)).json["token"]["state"] == "active"


@pytest.mark.parametrize("token_id", ["000000000000", "short", "000000000000x", "%30" * 12, "..", "0000000000%2F"])
async def test_a_token_that_is_not_there_is_404_or_a_bad_path(port: Port, token_id: str) -> None:
    for method in ("GET", "DELETE"):
        answer = await port.ask(method, f"{TOKENS}/{token_id}")
        assert answer.status == (400 if token_id.startswith(("%", ".")) else 404)
        assert answer.json["code"] in {"not_found", "path_ambiguous"}


async def test_pages_lead_through_all_and_keep_every_filter(port: Port) -> None:
    # What does not match is older and newer than what does, so that a filter that is lost shows on whatever page.
    await port.make(name="a & b other", owner="ben")
    gone = (await port.make(name="a & b gone", owner="anna & co"))["token"]["id"]
    await port.ask("DELETE", f"{TOKENS}/{gone}")
    await port.make(name="c", owner="anna & co")
    for number in range(4):
        await port.make(name=f"a & b {number}", owner="anna & co")
    await port.make(name="a & b other", owner="ben")
    url: str | None = f"{TOKENS}?limit=3&state=active&owner=anna%20%26%20co&q=a+%26+b"
    seen: list[str] = []
    sizes: list[int] = []
    while url:
        answer = await port.ask("GET", url)
        assert answer.status == 200
        page = answer.json
        assert set(page) == {"items", "next"}
        assert all(token["owner"] == "anna & co" and token["state"] == "active" for token in page["items"])
        seen += [token["name"] for token in page["items"]]
        sizes.append(len(page["items"]))
        link = re.fullmatch(r'<(/api/v1/tokens\?[!-~]+)>; rel="next"', answer.headers.get("link", ""))
        assert bool(link) == bool(page["next"])
        url = link[1] if link else None
    assert sorted(seen) == [f"a & b {number}" for number in range(4)]
    assert sizes[:2] == [3, 1]


async def test_empty_filters_count_as_none(port: Port) -> None:
    await port.make()
    assert len((await port.ask("GET", f"{TOKENS}?state=&owner=&q=&cursor=&limit=")).json["items"]) == 1


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("state=ended", {"state"}),
        ("limit=0", {"limit"}),
        ("limit=501", {"limit"}),
        ("limit=ten", {"limit"}),
        ("limit=1&limit=2", {"limit"}),
        ("cursor=nonsense", {"cursor"}),
        ("page=2", {"page"}),
        ("stat=active&sort=name", {"stat", "sort"}),
    ],
)
async def test_a_wrong_query_names_its_parameters(port: Port, query: str, fields: set[str]) -> None:
    assert set(wrong(await port.ask("GET", f"{TOKENS}?{query}"))) == fields


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", TOKENS, "GET, HEAD, POST"),
        ("POST", f"{TOKENS}/000000000000", "DELETE, GET, HEAD, PATCH"),
        ("GET", f"{TOKENS}/000000000000/suspend", "POST"),
        ("POST", "/healthz", "GET, HEAD"),
    ],
)
async def test_a_method_that_a_path_does_not_take_is_405_with_those_it_takes(port: Port, method: str, path: str, allow: str) -> None:
    answer = await port.ask(method, path)
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == allow


async def test_a_store_that_is_gone_is_503_and_says_when_to_try_again(tmp_path: Path) -> None:
    server = EmbeddedStore(tmp_path / "data")
    await asyncio.to_thread(server.start)
    try:
        own = Store(StoreOptions(server.url, tmp_path / "data", timeout_s=5, embedded=True))
        await own.start()
        async with management_port(own) as port:
            token_id = (await port.make())["token"]["id"]
            await asyncio.to_thread(server.stop)
            for method, path, body in (("GET", TOKENS, None), ("POST", TOKENS, {"name": "x", "grants": ["teams"]}), ("DELETE", f"{TOKENS}/{token_id}", None)):
                answer = await port.ask(method, path, body)
                problem(answer, 503, "store_unavailable")
                assert answer.headers["retry-after"] == "1"
        await own.close()
    finally:
        await asyncio.to_thread(server.stop)
