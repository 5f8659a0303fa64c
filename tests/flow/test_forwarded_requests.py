from __future__ import annotations

from tests.harness.gateway import GatewayProcess
from tests.harness.upstream import ScriptedUpstream


def test_an_authorised_request_reaches_the_upstream_and_its_answer_comes_back(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    answer = gateway.ask("GET", "/4/worklogs/1?from=2026-11-01", token=gateway.token("worklogs:view"))
    assert (answer.status, answer.body) == (200, b"ok\n")
    (seen,) = upstream.seen
    assert (seen.method, seen.target) == ("GET", "/4/worklogs/1?from=2026-11-01")


def test_a_request_without_a_token_goes_nowhere(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    assert gateway.ask("GET", "/4/worklogs/1").code == "token_missing"
    assert upstream.seen == []
