"""tests/vectors/forwarding.yaml through sockets: which of the client's fields go up, and which of ours."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from gateway.core.token_text import parse
from tests.harness.fixtures import CREDENTIAL
from tests.harness.gateway import GatewayProcess
from tests.harness.upstream import ScriptedUpstream
from tests.harness.vectors import cases
from tests.harness.wire import request


@pytest.mark.parametrize("case", cases("forwarding", "cases"))
def test_what_goes_up(case: dict[str, Any], gateways: Callable[[str], GatewayProcess], upstream: ScriptedUpstream) -> None:
    kind = case.get("gateway", "default")
    gateway = gateways(kind)
    upstream.credential = CREDENTIAL if kind == "credentialed" else None
    secret = gateway.token("worklogs")
    values = {"secret": secret, "id": str(parse(secret, "sgt")), "upstream": f"127.0.0.1:{upstream.port}", "long": "a" * 129}

    def filled(text: str) -> str:
        return re.sub(r"\{(secret|id|upstream|long)\}", lambda match: values[match[1]], text)

    fields = [filled(line) for line in case.get("fields", [])]
    body = case["body"].encode("latin-1") if "body" in case else None
    host = filled(case.get("host", "gateway.test"))
    with gateway.wire(source=case.get("from")) as wire:
        wire.send(request(case.get("method", "GET"), case.get("target", "/4/worklogs/1"), *fields, token=secret, body=body, host=host))
        answer = wire.answer()
    assert answer.status == 200, answer.body
    (seen,) = upstream.seen
    for name, wanted in case.get("up", {}).items():
        assert seen.all(name) == [filled(value) for value in wanted], name
    head = seen.raw.partition(b"\r\n\r\n")[0].decode("latin-1").partition("\r\n")[2]
    for text in case.get("absent", []):
        assert filled(text) not in head
    assert secret not in head
    assert answer.one("x-request-id") == seen.one("x-request-id")
    assert body is None or seen.body == body


def test_the_subject_of_another_owner_is_told_in_ascii(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    token = gateway.make("worklogs:view", "teams", owner="Zoë 100%")
    assert gateway.ask("GET", "/4/worklogs/1", token=token.secret).status == 200
    (seen,) = upstream.seen
    assert seen.one("X-Scopegate-Subject") == "Zo%C3%AB 100%25"
    assert seen.one("X-Scopegate-Token-Id") == token.id
    assert seen.one("X-Scopegate-Grants") == "worklogs:view teams:manage"


def test_the_client_of_a_trusted_proxy_is_the_rightmost_address_that_is_not_trusted(
    gateways: Callable[[str], GatewayProcess], upstream: ScriptedUpstream
) -> None:
    gateway = gateways("trusting")
    token = gateway.make("worklogs", allowed_ips=["203.0.113.7"]).secret

    def verdict(source: str, *chain: str) -> str | int:
        with gateway.wire(source=source) as wire:
            wire.send(request("GET", "/4/worklogs/1", *(f"X-Forwarded-For: {value}" for value in chain), token=token))
            answer = wire.answer()
            return answer.code or answer.status

    assert verdict("127.0.0.2", "203.0.113.7") == 200
    assert verdict("127.0.0.2", "198.51.100.1, 203.0.113.7, 10.1.2.3") == 200
    assert verdict("127.0.0.2", "198.51.100.1", "::ffff:203.0.113.7") == 200
    assert verdict("127.0.0.2", "203.0.113.7, 198.51.100.1") == "ip_not_allowed"
    assert verdict("127.0.0.2", "203.0.113.7, not-an-address") == "ip_not_allowed"
    assert verdict("127.0.0.2") == "ip_not_allowed"
    assert verdict("127.0.0.1", "203.0.113.7") == "ip_not_allowed"
    assert len(upstream.seen) == 3


def test_each_request_gets_an_id_of_its_own(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    token = gateway.token("worklogs")
    ids = {gateway.ask("GET", f"/4/worklogs/{number}", token=token).one("x-request-id") for number in range(20)}
    assert len(ids) == 20
    assert ids == {seen.one("x-request-id") for seen in upstream.seen}


def test_two_request_ids_are_not_both_believed(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    gateway.ask("GET", "/4/worklogs/1", "X-Request-Id: one", "X-Request-Id: two", token=gateway.token("worklogs"))
    assert len(upstream.seen[0].all("x-request-id")) == 1


@pytest.mark.parametrize("kind", ["default", "keyed"])
def test_a_token_in_the_host_does_not_go_up(kind: str, gateways: Callable[[str], GatewayProcess], upstream: ScriptedUpstream) -> None:
    gateway = gateways(kind)
    secret = gateway.token("worklogs")
    with gateway.wire() as wire:
        wire.send(request("GET", "/4/worklogs/1", token=secret, host=secret))
        answer = wire.answer()
    assert secret.encode() not in bytes(upstream.received)
    assert secret not in repr(answer)
