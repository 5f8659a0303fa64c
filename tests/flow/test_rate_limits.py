from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.harness.gateway import GatewayProcess
from tests.harness.problems import check_refusal
from tests.harness.upstream import ScriptedUpstream
from tests.harness.wire import request


def test_a_token_gets_its_requests_and_then_a_429_that_says_when(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    token = gateway.make("worklogs").secret
    answers = [gateway.ask("GET", f"/4/limited/{number}", token=token) for number in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    check_refusal(answers[2], "rate_limited")
    assert 1 <= int(answers[2].one("retry-after") or 0) <= 60
    assert len(upstream.seen) == 2


def test_another_token_and_another_route_are_counted_apart(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    one, two = gateway.make("worklogs").secret, gateway.make("worklogs").secret
    for _ in range(2):
        assert gateway.ask("GET", "/4/limited/x", token=one).status == 200
    assert gateway.ask("GET", "/4/limited/x", token=one).code == "rate_limited"
    assert gateway.ask("GET", "/4/limited/x", token=two).status == 200
    assert gateway.ask("GET", "/4/worklogs/x", token=one).status == 200
    assert len(upstream.seen) == 4


def test_refused_requests_do_not_count(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    token, foreign = gateway.make("worklogs"), gateway.make("teams")
    for _ in range(4):
        assert gateway.ask("GET", "/4/limited/x", token=foreign.secret).code == "scope_missing"
        assert gateway.ask("POST", "/4/limited/x", token=token.secret).code == "method_not_allowed"
        assert gateway.ask("GET", "/4/limited/x", token=token.secret[:-1]).code == "token_malformed"
    assert gateway.ask("GET", "/4/limited/x", token=token.secret).status == 200
    assert len(upstream.seen) == 1


def test_a_regenerated_token_keeps_its_count(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    token = gateway.make("worklogs")
    for _ in range(2):
        assert gateway.ask("GET", "/4/limited/x", token=token.secret).status == 200
    new = gateway.api("POST", f"/tokens/{token.id}/regenerate", {})["secret"]
    assert gateway.ask("GET", "/4/limited/x", token=new).code == "rate_limited"
    assert len(upstream.seen) == 2


def test_a_public_route_counts_by_the_clients_address(gateways: Callable[[str], GatewayProcess], upstream: ScriptedUpstream) -> None:
    gateway = gateways("trusting")

    def ask(client: str) -> str | int:
        with gateway.wire(source="127.0.0.2") as wire:
            wire.send(request("GET", "/4/limited-status", f"X-Forwarded-For: {client}"))
            answer = wire.answer()
            return answer.code or answer.status

    assert [ask("203.0.113.10") for _ in range(3)] == [200, 200, "rate_limited"]
    assert ask("::ffff:203.0.113.10") == "rate_limited"
    assert ask("203.0.113.11") == 200
    assert len(upstream.seen) == 3


def test_parallel_clients_get_exactly_the_limit(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    token = gateway.make("worklogs").secret
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda number: gateway.ask("GET", f"/4/limited/{number}", token=token).status, range(24)))
    assert sorted(statuses) == [200] * 2 + [429] * 22
    assert len(upstream.seen) == 2
