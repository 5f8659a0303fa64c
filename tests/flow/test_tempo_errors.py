"""``errors: tempo``: refusals in the form that clients of the upstream read, everything else as in the problem form."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.harness.gateway import GatewayProcess
from tests.harness.problems import CODES, check_challenge
from tests.harness.upstream import ScriptedUpstream
from tests.harness.wire import request


@pytest.mark.parametrize(
    ("code", "method", "target", "token"),
    [
        ("path_ambiguous", "GET", "/4/worklogs/../x", "worklogs"),
        ("token_missing", "GET", "/4/worklogs/1", ""),
        ("route_unmapped", "GET", "/5", "worklogs"),
        ("method_not_allowed", "TRACE", "/4/worklogs/1", ""),
        ("scope_missing", "GET", "/4/teams/1", "worklogs"),
        ("request_invalid", "get", "/4/worklogs/1", "worklogs"),
        ("version_unsupported", "GET", "/4/worklogs/1 HTTP/3.0\r\nX: y", "worklogs"),
    ],
)
def test_a_refusal_is_a_list_of_messages(
    code: str, method: str, target: str, token: str, gateways: Callable[[str], GatewayProcess], upstream: ScriptedUpstream
) -> None:
    gateway = gateways("tempo")
    secret = gateway.token(token) if token else ""
    with gateway.wire() as wire:
        data = request(method, target, token=secret)
        wire.send(data if "\r\n" not in target else data.replace(b" HTTP/1.1\r\n", b"\r\n", 1))
        answer = wire.answer()
    assert answer.status == CODES[code]["status"]
    assert answer.one("content-type") == "application/json"
    (error,) = answer.json["errors"]
    assert list(answer.json) == ["errors"]
    assert list(error) == ["message"]
    assert error["message"]
    assert answer.one("cache-control") == "no-store"
    assert answer.one("x-request-id")
    assert bool(answer.all("allow")) == (code == "method_not_allowed")
    check_challenge(answer, code)
    assert upstream.seen == []


def test_a_refused_head_has_no_body(gateways: Callable[[str], GatewayProcess], upstream: ScriptedUpstream) -> None:
    answer = gateways("tempo").ask("HEAD", "/4/worklogs/1")
    assert (answer.status, answer.body) == (401, b"")
    assert int(answer.one("content-length") or 0) > 0
