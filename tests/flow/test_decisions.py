"""tests/vectors/decisions.yaml through sockets: the verdict, the refusal in every part, and that nothing refused goes up."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.core.reason import REASONS
from tests.harness.decisions import Secrets, field_lines, fill
from tests.harness.gateway import GatewayProcess
from tests.harness.problems import check_refusal, parse_challenge
from tests.harness.upstream import ScriptedUpstream
from tests.harness.vectors import cases, table
from tests.harness.wire import request

_REFUSED = [case for case in cases("decisions", "cases") if case.values[0]["expect"] != "allow"]
_made: dict[tuple[str, ...], Secrets] = {}


def secrets_of(gateway: GatewayProcess, case: dict[str, Any]) -> Secrets:
    """A token that went through what the case says; cases of the same life share one."""
    grants, life, ips = case.get("grants", ["worklogs"]), case.get("life", []), case.get("allowed_ips", [])
    key = (str(gateway.port), *grants, "|", *life, "|", *ips)
    if key not in _made:
        _made[key] = _live(gateway, grants, life, ips)
    return _made[key]


def _live(gateway: GatewayProcess, grants: list[str], life: list[str], ips: list[str]) -> Secrets:
    token = gateway.make(*grants, allowed_ips=ips)
    secrets = Secrets(token.secret, token.secret, token.secret)
    for step in life:
        if step == "expire":
            gateway.expire(token.id)
        elif step == "forget":
            gateway.drop_live(token.id)
        elif step == "revoke":
            gateway.api("DELETE", f"/tokens/{token.id}")
        elif step in {"regenerate", "overlap"}:
            new = gateway.api("POST", f"/tokens/{token.id}/regenerate", {"overlap": "1h"} if step == "overlap" else {})["secret"]
            secrets = Secrets(token.secret, secrets.secret, new)
        else:
            gateway.api("POST", f"/tokens/{token.id}/{step}", {})
    return secrets


def sent(case: dict[str, Any], secrets: Secrets, *more: str, body: bytes | None = None) -> bytes:
    return request(case.get("method", "GET"), fill(case.get("target", "/4/worklogs/1"), secrets), *field_lines(case, secrets), *more, body=body)


@pytest.mark.parametrize("case", cases("decisions", "cases"))
def test_verdict(case: dict[str, Any], gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    secrets = secrets_of(gateway, case)
    method = case.get("method", "GET")
    with gateway.wire() as wire:
        wire.send(sent(case, secrets))
        answer = wire.answer(method)
    if case["expect"] == "allow":
        assert answer.status == 200, answer.body
        assert [seen.method for seen in upstream.seen] == [method]
        return
    assert upstream.seen == []
    document = check_refusal(answer, case["expect"], method)
    assert answer.all("allow") == ([", ".join(case["allow"])] if "allow" in case else [])
    for part in case.get("detail", []):
        assert part in document["detail"]
    if "required" in case:
        assert (document["required_scope"], document["granted"], document["missing"]) == (case["required"], case["granted"], case["missing"])
        assert parse_challenge(answer.one("www-authenticate") or "")["scope"] == case["required"]
    for secret in secrets:
        assert secret.encode() not in answer.body + repr(answer.fields).encode()


# A request with a body asks for no WebSocket.
@pytest.mark.parametrize("case", [case for case in _REFUSED if not case.values[0].get("websocket")])
def test_the_body_of_a_refused_request_is_never_the_next_request(case: dict[str, Any], gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    secrets = secrets_of(gateway, case)
    method = case.get("method", "GET")
    inner = request("GET", "/4/worklogs/smuggled", token=gateway.token("worklogs"))
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner)
    after = request("GET", "/4/worklogs/after", token=gateway.token("worklogs"))
    for first in (sent(case, secrets, body=inner), sent(case, secrets, "Transfer-Encoding: chunked") + chunked):
        upstream.seen.clear()
        with gateway.wire() as wire:
            wire.send(first + after)
            check_refusal(answer := wire.answer(method), case["expect"], method)
            if answer.one("connection") == "close":
                assert wire.wait_closed() == b""
                assert upstream.seen == []
            else:
                assert wire.answer().status == 200
                assert [seen.target for seen in upstream.seen] == ["/4/worklogs/after"]


@pytest.mark.parametrize("case", [case for case in _REFUSED if case.values[0].get("method", "GET") == "GET" and not case.values[0].get("websocket")])
def test_a_refused_head_has_the_fields_of_the_refused_get_and_no_body(case: dict[str, Any], gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    secrets = secrets_of(gateway, case)
    after = request("GET", "/4/worklogs/after", token=gateway.token("worklogs"))
    with gateway.wire() as wire:
        wire.send(sent(case | {"method": "HEAD"}, secrets) + after)
        check_refusal(wire.answer("HEAD"), case["expect"], "HEAD")
        assert wire.answer().status == 200
    assert [seen.target for seen in upstream.seen] == ["/4/worklogs/after"]


def test_two_secrets_of_one_token_at_once_each_get_their_own_verdict(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Look-ups of one token are gathered; the secret of each request is compared all the same."""
    token = gateway.make("worklogs").secret
    forged = fill("{forged}", Secrets(token, token, token))

    def ask(number: int) -> bool:
        with gateway.wire() as wire:
            for _ in range(10):
                wire.send(request("GET", f"/4/worklogs/{'forged' if number % 2 else 'true'}", token=forged if number % 2 else token))
                if wire.answer().status != (401 if number % 2 else 200):
                    return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(16)))
    assert {seen.target for seen in upstream.seen} == {"/4/worklogs/true"}


def test_every_code_of_the_contract_is_in_a_test() -> None:
    told = {case["expect"] for case in table("decisions")["cases"]}
    told |= {case["code"] for name in ("edge", "answers") for part in table(name).values() for case in part if "code" in case}
    folders = (Path(__file__).parent, Path(__file__).parents[1] / "fault")
    sources = "".join(file.read_text() for folder in folders for file in folder.glob("test_*.py"))
    told |= set(re.findall(r'check_refusal\(.*"([a-z_]+)"\)', sources))
    # Its keys come with another issue.
    assert told - {"allow"} | {"auth_throttled"} == set(REASONS)
