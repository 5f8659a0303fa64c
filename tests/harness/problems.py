"""What every refusal must be: an RFC 9457 document, an RFC 6750 challenge, the fields of design's table."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.harness.vectors import table
from tests.harness.wire import Answer

CODES: dict[str, dict[str, Any]] = table("decisions")["codes"]
_PARAMETER = re.compile(r'([a-z_]+)="([\x20\x21\x23-\x5b\x5d-\x7e]*)"')


def parse_challenge(value: str) -> dict[str, str]:
    """The parameters of a Bearer challenge (RFC 6750 section 3), each once."""
    scheme, _, rest = value.partition(" ")
    assert scheme == "Bearer", value
    found: dict[str, str] = {}
    at = 0
    while at < len(rest):
        if found:
            assert rest.startswith(", ", at), value
            at += 2
        match = _PARAMETER.match(rest, at)
        assert match is not None, value
        assert match[1] not in found, value
        found[match[1]] = match[2]
        at = match.end()
    return found


def check_refusal(answer: Answer, code: str, method: str = "GET") -> dict[str, Any]:
    """Assert that ``answer`` is the refusal ``code`` in every part; its document ({} for HEAD)."""
    wanted = CODES[code]
    shown = answer.body.decode("utf-8", "replace")[:300]
    assert answer.complete
    assert answer.status == wanted["status"], shown
    assert answer.one("content-type") == "application/problem+json"
    assert answer.one("cache-control") == "no-store"
    assert int(answer.one("content-length") or -1) > 0
    assert re.search("[A-Z][a-z]{2}, [0-9]{2} ", answer.one("date") or "")
    request_id = answer.one("x-request-id")
    assert request_id
    document: dict[str, Any] = {}
    if method == "HEAD":
        assert answer.body == b""
    else:
        document = json.loads(answer.body)
        assert document["code"] == code, shown
        assert document["status"] == answer.status
        assert document["request_id"] == request_id
        assert document["title"]
        assert document["detail"]
        assert document["type"] == "about:blank" or re.match("[a-z]+:", document["type"])
        extra = {"required_scope", "granted", "missing"} if code == "scope_missing" else set()
        # What the policy refuses is explained to the holder of a good token, and to nobody else.
        reasons = {"rule", "tried", "granted", "missing"} if "rule" in document else set()
        assert not reasons or code in {"scope_missing", "route_unmapped", "method_not_allowed", "path_ambiguous"}
        assert set(document) == {"type", "title", "status", "detail", "code", "request_id"} | extra | reasons
    check_challenge(answer, code)
    assert bool(answer.all("allow")) == (code == "method_not_allowed")
    after = answer.one("retry-after")
    assert bool(after) == bool(wanted.get("retry_after"))
    if after:
        assert int(after) >= 1
    return document


def check_challenge(answer: Answer, code: str) -> None:
    """The WWW-Authenticate field of a refusal."""
    wanted = CODES[code]["challenge"]
    if wanted == "none":
        assert answer.all("www-authenticate") == []
        return
    value = answer.one("www-authenticate")
    assert value is not None
    parameters = parse_challenge(value)
    assert parameters.pop("realm") == "scopegate"
    if wanted == "bare":
        assert parameters == {}
        return
    assert parameters.pop("error") == wanted
    assert parameters.pop("error_description")
    scope = parameters.pop("scope", None)
    assert (scope is not None) == (code == "scope_missing")
    assert parameters == {}
