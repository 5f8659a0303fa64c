from __future__ import annotations

import json

import pytest

from gateway.core.decision import denied
from gateway.core.reason import REASONS
from gateway.inbound.problem import challenge, document, render
from tests.harness.problems import parse_challenge


@pytest.mark.parametrize("code", REASONS)
@pytest.mark.parametrize("form", ["problem", "tempo"])
@pytest.mark.parametrize("head", [False, True])
def test_every_refusal_is_an_answer_of_one_well_framed_message(code: str, form: str, head: bool) -> None:
    text = render(denied(code, 'A "quoted" détail\r\nX: y', allow=("GET",) if code == "method_not_allowed" else ()), "r-1", close=False, head=head, form=form)
    top, _, body = text.partition(b"\r\n\r\n")
    lines = top.decode("ascii").split("\r\n")
    assert lines[0].startswith(f"HTTP/1.1 {REASONS[code].status} ")
    fields = dict(line.split(": ", 1) for line in lines[1:])
    assert len(fields) == len(lines) - 1
    whole = render(denied(code, 'A "quoted" détail\r\nX: y', allow=("GET",) if code == "method_not_allowed" else ()), "r-1", close=False, form=form)
    assert int(fields["Content-Length"]) == len(whole.partition(b"\r\n\r\n")[2])
    assert body == (b"" if head else whole.partition(b"\r\n\r\n")[2])
    assert fields["X-Request-Id"] == "r-1"
    if "WWW-Authenticate" in fields:
        assert parse_challenge(fields["WWW-Authenticate"])["realm"] == "scopegate"


def test_a_detail_can_not_leave_its_quotes() -> None:
    words = challenge(denied("token_unknown", 'a", error="x\\ \r\n é'))
    assert words is not None
    assert parse_challenge(words) == {"realm": "scopegate", "error": "invalid_token", "error_description": "a', error='x' '' '"}


def test_a_missing_scope_is_told_in_challenge_and_document() -> None:
    denial = denied("scope_missing", "d", required_scope="a:view", granted=("b:view",), missing=("a:view",))
    assert parse_challenge(challenge(denial) or "") == {"realm": "scopegate", "error": "insufficient_scope", "error_description": "d", "scope": "a:view"}
    assert document(denial, "r") == {
        "type": document(denial, "r")["type"],
        "title": REASONS["scope_missing"].title,
        "status": 403,
        "detail": "d",
        "code": "scope_missing",
        "request_id": "r",
        "required_scope": "a:view",
        "granted": ["b:view"],
        "missing": ["a:view"],
    }


@pytest.mark.parametrize(("close", "http10", "value"), [(True, False, "close"), (True, True, "close"), (False, True, "keep-alive"), (False, False, None)])
def test_what_becomes_of_the_connection(close: bool, http10: bool, value: str | None) -> None:
    text = render(denied("token_missing", "d"), "r", close=close, http10=http10).decode()
    assert (f"Connection: {value}\r\n" in text) if value else ("Connection:" not in text)


def test_a_wait_of_its_own_comes_before_the_reasons_usual_one() -> None:
    assert b"Retry-After: 7\r\n" in render(denied("store_unavailable", "d", retry_after=7), "r", close=False)
    assert b"Retry-After: 1\r\n" in render(denied("store_unavailable", "d"), "r", close=False)


def test_the_upstreams_form_is_one_message() -> None:
    body = render(denied("token_missing", "d"), "r", close=False, form="tempo").partition(b"\r\n\r\n")[2]
    assert json.loads(body) == {"errors": [{"message": "d"}]}
