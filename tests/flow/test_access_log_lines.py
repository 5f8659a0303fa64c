"""The access log as it comes out: one JSON line a request, no query, no secret, nothing forged."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.harness.gateway import GatewayProcess
from tests.harness.upstream import CLOSE, ScriptedUpstream
from tests.harness.waiting import eventually
from tests.harness.wire import request


def line_of(gateway: GatewayProcess, request_id: str) -> dict[str, Any]:
    def find() -> dict[str, Any] | None:
        return next((line for line in gateway.access_lines() if line["request_id"] == request_id), None)

    found = eventually(find, "the line in the log")
    assert found is not None
    return found


def test_an_answered_request_is_one_line_with_its_facts(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    token = gateway.make("worklogs", owner="u-7")
    with gateway.wire(source="127.0.0.9") as wire:
        wire.send(request("POST", "/4/worklogs/search?q=private", "X-Request-Id: line-1", token=token.secret, body=b"hello"))
        assert wire.answer().status == 200
    line = line_of(gateway, "line-1")
    assert line.pop("time") > 1_700_000_000
    assert line.pop("duration_ms") >= 0
    assert line == {
        "request_id": "line-1",
        "client": "127.0.0.9",
        "method": "POST",
        "status": 200,
        "path": "/4/worklogs/search",
        "route": "/4/worklogs/search",
        "scope": "worklogs",
        "upstream": "api",
        "token_id": token.id,
        "owner": "u-7",
        "bytes_in": 5,
        "bytes_out": 3,
    }
    assert "private" not in gateway.log()


def test_a_refused_request_says_why_and_names_the_token_only_once_it_was_proved(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    token = gateway.make("worklogs")
    gateway.ask("GET", "/4/teams/secret-plans", "X-Request-Id: denied-1", token=token.secret)
    line = line_of(gateway, "denied-1")
    assert (line["status"], line["code"], line["token_id"], line["route"]) == (403, "scope_missing", token.id, "/4/teams/**")
    gateway.ask("GET", "/4/teams/secret-plans", "X-Request-Id: denied-2", token=token.secret[:-1])
    line = line_of(gateway, "denied-2")
    assert line["code"] == "token_malformed"
    assert not {"token_id", "owner", "path", "route", "scope"} & set(line)


def test_a_proved_tokens_path_is_told_where_no_route_took_it_and_nobody_elses(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Seen to fail with the path only beside a route."""
    token = gateway.make("worklogs")
    for request_id, path, secret in (("none-1", "/nowhere/7", token.secret), ("none-2", "/nowhere/sgt_ABCDEFGHIJKLmore", token.secret)):
        gateway.ask("GET", path, f"X-Request-Id: {request_id}", token=secret)
    line = line_of(gateway, "none-1")
    assert (line["status"], line["code"], line["token_id"], line["path"]) == (404, "route_unmapped", token.id, "/nowhere/7")
    assert not {"route", "scope"} & set(line)
    assert line_of(gateway, "none-2")["path"] == "/nowhere/sgt_ABCDEFGHIJKL…"
    for request_id, secret in (("none-3", ""), ("none-4", token.secret[:-1])):
        gateway.ask("GET", "/nowhere/7", f"X-Request-Id: {request_id}", token=secret)
        assert not {"token_id", "owner", "path", "route", "scope"} & set(line_of(gateway, request_id))


def test_a_broken_message_is_a_line_too(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    with gateway.wire() as wire:
        wire.send(b"GET /4/worklogs HTTP/1.1\r\nAuthorization : Bearer private\r\n\r\n")
        answer = wire.answer()
    line = line_of(gateway, answer.one("x-request-id") or "")
    assert (line["status"], line["code"], line["method"]) == (400, "request_invalid", "")
    assert "private" not in gateway.log()


def test_a_cut_answer_is_told_as_cut(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    upstream.script("cut", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", CLOSE)
    gateway.ask("GET", "/4/worklogs/cut", "X-Request-Id: cut-1", token=gateway.token("worklogs"))
    line = line_of(gateway, "cut-1")
    assert (line["status"], line["code"], line["bytes_out"]) == (200, "cut", 2)


@pytest.mark.parametrize("text", ['"}\r\n{"status":200', "\x1b[31mred", "a\u2028b", "%0a%0d", "\\n"])
def test_no_request_can_forge_a_line_or_colour_a_terminal(text: str, gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    before = len(gateway.log().splitlines())
    token = gateway.token("worklogs")
    data = text.encode("utf-8")
    with gateway.wire() as wire:
        wire.send(b"GET /4/worklogs/" + data + b" HTTP/1.1\r\nHost: a\r\nUser-Agent: " + data + b"\r\nX-Request-Id: " + data + b"\r\n")
        wire.send(b"Authorization: Bearer " + token.encode() + b"\r\n\r\n")
        wire.answer()
    eventually(lambda: len(gateway.log().splitlines()) > before, "a line")
    for line in gateway.log().splitlines()[before:]:
        assert json.loads(line)["request_id"]
        assert line.isprintable()


def test_a_cookie_flood_is_one_line(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    gateway.ask("GET", "/4/worklogs/1", "Cookie: " + "a=b;" * 1000, *["Cookie: \x80bad"] * 50, "X-Request-Id: cookies", token=gateway.token("worklogs"))
    line_of(gateway, "cookies")
    assert gateway.log().count('"cookies"') == 1
    assert "a=b" not in gateway.log()


def test_a_good_request_notes_the_tokens_last_use_and_a_refused_one_does_not(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    used, refused = gateway.make("worklogs"), gateway.make("worklogs")
    gateway.ask("GET", "/4/teams/1", token=refused.secret)
    gateway.ask("GET", "/4/worklogs/1", token=used.secret)
    eventually(lambda: gateway.api("GET", f"/tokens/{used.id}")["token"]["last_used_at"], "the last use")
    assert gateway.api("GET", f"/tokens/{refused.id}")["token"]["last_used_at"] is None


def counted(gateway: GatewayProcess, route: str) -> float:
    text = gateway.admin("GET", "/metrics")[2].decode()
    lines = [line for line in text.splitlines() if line.startswith("scopegate_requests_total{") and f'route="{route}"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_a_forger_moves_no_routes_counter(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    secret = gateway.token("accounts")
    assert gateway.ask("GET", "/4/accounts/1", token=secret).status == 200
    before = eventually(lambda: counted(gateway, "/4/accounts/**"), "the request among the counts")
    unproved = counted(gateway, "")
    for token in ("", secret[:-1], "sgt_forged"):
        assert gateway.ask("GET", "/4/accounts/1", token=token).status == 401
    eventually(lambda: counted(gateway, "") >= unproved + 3, "the refusals among the counts")
    assert counted(gateway, "/4/accounts/**") == before
    assert gateway.ask("GET", "/4/accounts/1", token=secret).status == 200
    eventually(lambda: counted(gateway, "/4/accounts/**") == before + 1, "one more among the counts")
