"""Bad input at the management port: whatever comes, a 4xx says what is wrong, and nothing in the store has changed."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.core.token_text import make_text
from gateway.management import server
from gateway.store.server import Store
from tests.flow.management_port import ISSUER, Answer, Port, management_port, user_jwt

TOKENS = "/api/v1/tokens"
ASTRAL = "\U0001f9ff"
COMBINING = "e\u0301"
MARKUP = "<script>alert(1)</script>\"'&{{7*7}}${7}"
BIDI = "\u202egnp.exe\u202c\u2066x\u2069\u200f"

# Names that are right: of any script, with markup, with what turns text around. They come back as they were sent.
NAMES = [
    "x",
    "x" * 100,
    ASTRAL * 100,
    COMBINING * 50,
    MARKUP,
    BIDI,
    "日本語のトークン",
    "\u0645\u0641\u062a\u0627\u062d",
    "a\u00a0b",
    "null",
    "0",
    "\u2028x\u2029y",
    "\ufeffx",
    "%00",
    "\\u0000",
]
WRONG_NAMES = [
    "",
    " ",
    "\t\n",
    "x" * 101,
    ASTRAL * 101,
    COMBINING * 51,
    "a\x00b",
    "a\x1b[31mb",
    "a\x7fb",
    "a\x85b",
    "a\nb",
    "\ud800",
    "x\udfffy",
    "\udc00\ud800",
]
NO_TEXT = [None, 0, 1, 1.5, True, [], {}, ["x"], {"x": "x"}, [[[[]]]]]
NO_DAYS = [0, -1, 5001, 10**18, -(10**18), 1.0, 1.5, "1", "30", "", None, True, [], {}, [30]]
NO_LIST = ["worklogs", None, 1, {}, {"worklogs": "view"}, True]
NO_GRANTS = [
    [],
    [""],
    [1],
    [None],
    [[]],
    [["worklogs"]],
    ["worklogs:"],
    [":view"],
    ["worklogs:VIEW"],
    ["Worklogs"],
    ["worklogs:view "],
    ["*"],
    ["worklogs", "nobody"],
    ["\x00"],
    ["\ud800"],
    ["w" * 10_000],
]
NO_NETWORKS = [
    ["x"],
    [""],
    ["10.0.0.0/33"],
    ["10.0.0.1/8"],
    ["1.2.3"],
    ["::1%eth0"],
    ["0x7f.1"],
    [1],
    [None],
    ["\x00"],
    ["10.0.0.1"] * 101,
    [["10.0.0.1"]],
    ["999.1.1.1"],
]
WRONG = [
    *(("name", value) for value in (*WRONG_NAMES, *NO_TEXT)),
    *(("owner", value) for value in (*WRONG_NAMES[:4], *WRONG_NAMES[6:], *NO_TEXT, "x" * 256, " x", "x ") if value != "x" * 101),
    *(("description", value) for value in (*NO_TEXT, "x" * 1001, ASTRAL * 1001, "a\x00b", "a\x1bb", "\ud800")),
    *(("expires_in_days", value) for value in NO_DAYS),
    *(("access", value) for value in (*NO_TEXT, "", "FULL", "all", "full ", "\x00")),
    *(("grants", value) for value in (*NO_LIST, *NO_GRANTS)),
    *(("allowed_ips", value) for value in (*NO_LIST, *NO_NETWORKS)),
]


@pytest.fixture
async def port(store: Store) -> AsyncIterator[Port]:
    async with management_port(store, issuers=[ISSUER]) as running:
        yield running


class Everything:
    """All that is in the store, for a look before and after."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def now(self) -> dict[bytes, Any]:
        found = {}
        async with self._store.session() as (session, _):
            for name in sorted((await session.ask(("KEYS", "*")))[0]):
                (value,) = await session.ask(("DUMP", name))
                found[name] = value
        return found


@pytest.fixture
def everything(store: Store) -> Everything:
    return Everything(store)


def told(answer: Answer) -> set[str]:
    """The fields that a 422 names, each with a message."""
    assert (answer.status, answer.json["code"]) == (422, "invalid"), answer.body
    assert all(fault["message"] for fault in answer.json["errors"])
    return {fault["field"] for fault in answer.json["errors"]}


async def test_every_field_of_a_new_token_at_its_edges_is_named_and_nothing_is_made(port: Port, everything: Everything) -> None:
    """Each wrong value alone, with all else right. Seen to fail with each check of token_fields taken out."""
    await port.make()
    before = await everything.now()
    for field, value in WRONG:
        body = {"name": "x", "grants": ["worklogs"], field: value}
        answer = await port.ask("POST", TOKENS, body)
        assert told(answer) == {field}, (field, value, answer.body)
        assert len(answer.body) < 2000, (field, value)
    assert await everything.now() == before


async def test_wrong_fields_together_are_named_together(port: Port, everything: Everything) -> None:
    before = await everything.now()
    worst: dict[str, list[Any]] = {}
    for field, value in WRONG:
        worst.setdefault(field, []).append(value)
    for number in range(max(map(len, worst.values()))):
        body = {field: values[number % len(values)] for field, values in worst.items()} | {"nonsense": 1}
        # Of access and grants each speaks of the other: with one of them of the wrong type the other may be right.
        assert told(await port.ask("POST", TOKENS, body)) >= worst.keys() - {"grants"} | {"nonsense"}, body
    assert await everything.now() == before


@pytest.mark.parametrize("field", ["name", "description"])
async def test_a_rename_that_is_wrong_changes_nothing(port: Port, everything: Everything, field: str) -> None:
    token_id = (await port.make())["token"]["id"]
    before = await everything.now()
    other = "description" if field == "name" else "name"
    for wrong, value in WRONG:
        if wrong == field:
            assert told(await port.ask("PATCH", f"{TOKENS}/{token_id}", {field: value, other: "fine"})) == {field}, value
    assert told(await port.ask("PATCH", f"{TOKENS}/{token_id}", {})) == {""}
    assert told(await port.ask("PATCH", f"{TOKENS}/{token_id}", {"name": "x" * 101, "description": 1, "state": "active"})) == {"name", "description", "state"}
    assert await everything.now() == before


async def test_an_overlap_that_is_wrong_leaves_the_secret_alone(port: Port, everything: Everything) -> None:
    token_id = (await port.make())["token"]["id"]
    before = await everything.now()
    for value in (*NO_TEXT, "", "1", "1d", "1 h", "-1h", "1.5h", "1e3s", "169h", "604801s", "999999999999h", "1500ms", "\ud800", "\x00", "1h" * 1000):
        assert told(await port.ask("POST", f"{TOKENS}/{token_id}/regenerate", {"overlap": value})) == {"overlap"}, value
    assert await everything.now() == before


@pytest.mark.parametrize(
    "raw",
    [
        b'{"name": "x", "grants": ["worklogs"], "expires_in_days": 1e400}',
        b'{"name": "x", "grants": ["worklogs"], "expires_in_days": -1e400}',
        b'{"name": "x", "grants": ["worklogs"], "expires_in_days": 1e2}',
        b'{"name": "x", "grants": ["worklogs"], "expires_in_days": ' + b"9" * 4000 + b"}",
        b'{"name": "x", "grants": ["worklogs"], "expires_in_days": 1, "expires_in_days": 2}',
    ],
)
async def test_a_number_that_no_day_count_can_be_is_named(port: Port, everything: Everything, raw: bytes) -> None:
    before = await everything.now()
    assert told(await port.ask("POST", TOKENS, raw=raw)) == {"expires_in_days"}
    assert await everything.now() == before


@pytest.mark.parametrize(
    "raw",
    [
        b'{"name": "x", "grants": ["worklogs"], "allowed_ips": [' + b",".join([b"1"] * 20_000) + b"]}",
        b"{" + b",".join(b'"%d": 1' % (number % 4000) for number in range(6000)) + b"}",
    ],
    ids=["items", "keys given twice"],
)
async def test_of_thousands_of_faults_some_are_named_and_the_others_counted(port: Port, everything: Everything, raw: bytes) -> None:
    """Seen to fail without the bound: an answer of 2 MB."""
    before = await everything.now()
    answer = await port.ask("POST", TOKENS, raw=raw)
    assert answer.status == 422
    assert len(answer.json["errors"]) == 101
    assert answer.json["errors"][-1]["message"].startswith("and ")
    assert await everything.now() == before


@pytest.mark.parametrize(
    ("raw", "fields", "status", "code"),
    [
        (b"{", {}, 400, "json_invalid"),
        (b"\xff\xfe{\x00}\x00", {}, 400, "json_invalid"),
        (b'{"name": "\xed\xa0\x80"}', {}, 400, "json_invalid"),
        (b'\xef\xbb\xbf{"name": "x"}', {}, 400, "json_invalid"),
        (b'{"name": Infinity}', {}, 400, "json_invalid"),
        (b'{"name": "a\x00b"}', {}, 400, "json_invalid"),
        (b"[" * 60_000, {}, 400, "json_invalid"),
        (b'{"a":' * 12_000 + b"1" + b"}" * 12_000, {}, 413, "body_too_large"),
        (b'{"a":' * 9_000 + b"1" + b"}" * 9_000, {}, 400, "json_invalid"),
        (b"name=x&grants=worklogs", {"Content_Type": "application/x-www-form-urlencoded"}, 415, "media_type_unsupported"),
        (b'{"name": "x"}', {"Content_Type": "text/plain"}, 415, "media_type_unsupported"),
        (b'{"name": "x"}', {"Content_Type": "application/json; charset=latin-1"}, 415, "media_type_unsupported"),
        (b'{"name": "x"}', {"Content_Encoding": "br"}, 415, "media_type_unsupported"),
        (b" " * 65_537, {}, 413, "body_too_large"),
        (b"x", {"Content_Length": "99999999999"}, 413, "body_too_large"),
        (b"[]", {}, 422, "invalid"),
        (b'{"' + b"k" * 60_000 + b'": 1}', {}, 422, "invalid"),
    ],
)
async def test_a_body_that_is_no_payload_changes_nothing(
    port: Port, everything: Everything, monkeypatch: pytest.MonkeyPatch, raw: bytes, fields: dict[str, str], status: int, code: str
) -> None:
    monkeypatch.setattr(server, "_LINGER_S", 0.05)
    token_id = (await port.make())["token"]["id"]
    before = await everything.now()
    for method, path in (
        ("POST", TOKENS),
        ("PATCH", f"{TOKENS}/{token_id}"),
        *(("POST", f"{TOKENS}/{token_id}/{what}") for what in ("regenerate", "suspend", "resume")),
        ("POST", "/api/v1/owners/operator/revoke"),
        ("POST", "/api/v1/owners/revoke"),
        ("POST", "/api/v1/explain"),
        ("POST", "/api/v1/sign-in-links"),
        ("POST", "/api/v1/sign-out"),
    ):
        answer = await port.ask(method, path, raw=raw, **fields)
        assert (answer.status, answer.json["code"]) == (status, code), (method, path, answer.body)
        assert answer.json["detail"]
        assert len(answer.body) < 2000
    assert await everything.now() == before


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_of_any_script_comes_back_as_it_was_sent(port: Port, name: str) -> None:
    """As text of JSON, with markup in it or not, and in every case of the description alike."""
    made = await port.ask("POST", TOKENS, {"name": name, "grants": ["worklogs"], "description": name})
    assert made.status == 201, made.body
    assert made.headers["content-type"] == "application/json"
    token = made.json["token"]
    assert (token["name"], token["description"]) == (name.strip(), name)
    assert (await port.ask("GET", f"{TOKENS}/{token['id']}")).json["token"] == token
    assert (await port.ask("GET", TOKENS)).json["items"] == [token]
    renamed = await port.ask("PATCH", f"{TOKENS}/{token['id']}", {"name": name[::-1] if unicodedata.combining(name[-1]) else name})
    assert renamed.json["token"]["name"] == name[::-1].strip() or renamed.json["token"]["name"] == name.strip()


async def test_a_name_in_a_search_is_found_whatever_is_in_it(port: Port) -> None:
    from urllib.parse import quote

    token = (await port.make(name=f"{MARKUP}{ASTRAL}"))["token"]
    for part in (MARKUP, ASTRAL, "ALERT(1)", "&{{7", "%"):
        found = (await port.ask("GET", f"{TOKENS}?q={quote(part)}")).json["items"]
        assert found == ([token] if part != "%" else [])


@pytest.mark.parametrize(
    "token_id",
    [
        "0" * 12,
        "0" * 11,
        "0" * 13,
        "x",
        "-1",
        "null",
        "0" * 9000,
        "%3Cscript%3E",
        "000000000000%0A",
        "%00",
        "..",
        "%2e%2e",
        "a%2Fb",
        "00000000000%C3%A9",
        "sgt_000000000000",
        make_text("sgt", "0" * 12, bytes),
        "*",
        "{id}",
        "%7Bid%7D",
    ],
)
async def test_an_id_of_any_shape_is_4xx_for_every_call(port: Port, everything: Everything, token_id: str) -> None:
    await port.make()
    before = await everything.now()
    for key in (None, user_jwt("ana")):
        named = {} if key is None else {"key": key}
        for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/regenerate"), ("POST", "/suspend"), ("POST", "/resume")):
            answer = await port.ask(method, f"{TOKENS}/{token_id}{path}", {"name": "x"} if method == "PATCH" else None, **named)
            assert answer.status in {400, 404}, (method, path, answer.body)
            assert answer.json["code"] in {"request_invalid", "path_ambiguous", "not_found"}
            assert token_id not in answer.json["detail"] or (token_id.isalnum() and len(token_id) == 12)
    assert await everything.now() == before


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("state=x&limit=x&cursor=x&nonsense=x", {"state", "limit", "cursor", "nonsense"}),
        ("limit=0&cursor=%00", {"limit", "cursor"}),
        ("limit=1e3", {"limit"}),
        ("limit=%D9%A1", {"limit"}),
        ("limit=" + "9" * 5000, {"limit"}),
        ("limit=-1&limit=1", {"limit"}),
        ("cursor=1-0000000000000", {"cursor"}),
        ("cursor=99999999999999999-000000000000", {"cursor"}),
        ("state=active%00", {"state"}),
        ("=x", {""}),
    ],
)
async def test_every_wrong_parameter_of_a_list_is_named(port: Port, query: str, fields: set[str]) -> None:
    """Seen to fail where the limit and the cursor are looked at one after the other."""
    assert told(await port.ask("GET", f"{TOKENS}?{query}")) == fields


async def test_what_a_user_sends_about_others_is_as_if_they_were_not_there(port: Port, everything: Everything) -> None:
    theirs = (await port.make(owner="ben"))["token"]["id"]
    before = await everything.now()
    ana = user_jwt("ana")
    for method, path, body in (
        ("GET", f"{TOKENS}/{theirs}", None),
        ("PATCH", f"{TOKENS}/{theirs}", {"name": "x"}),
        ("DELETE", f"{TOKENS}/{theirs}", None),
        ("POST", f"{TOKENS}/{theirs}/regenerate", {"overlap": "1h"}),
        ("POST", f"{TOKENS}/{theirs}/suspend", None),
        ("POST", f"{TOKENS}/{theirs}/resume", None),
    ):
        answer = await port.ask(method, path, body, key=ana)
        nobodys = await port.ask(method, path.replace(theirs, "0" * 12), body, key=ana)
        assert (answer.status, answer.json["code"]) == (404, "not_found")
        assert json.loads(answer.body.replace(theirs.encode(), b"0" * 12)) | {"request_id": ""} == nobodys.json | {"request_id": ""}
    assert await everything.now() == before
