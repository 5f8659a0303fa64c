"""tests/vectors/paths.yaml through a socket: what goes up is exactly the canonical path that was decided on (G2)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.decision import Denial
from gateway.core.path import canonicalise
from tests.harness.gateway import GatewayProcess
from tests.harness.problems import check_refusal
from tests.harness.upstream import ScriptedUpstream
from tests.harness.vectors import table
from tests.harness.wire import request

TABLE = table("paths")
PIECES = st.sampled_from(
    ["/", "/..", ".", "%2e", "%2E", "%2f", "%5c", "\\", "%25", "%", "2e", ";", "%3b", "?", "#", "a", "~", "%7e", "%41", "%c3%a9", "%ff", "%00",
     "=", "{", '"', "%20", "%3F", "/teams", "worklogs", "%2F..%2F"]
)  # fmt: skip
TARGETS = st.lists(PIECES, max_size=10).map(lambda parts: "/4/worklogs/" + "".join(parts))


@pytest.mark.parametrize("case", TABLE["canonical"], ids=lambda case: ascii(case["target"]))
def test_the_upstream_sees_the_canonical_path(case: dict[str, Any], gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    answer = gateway.ask("GET", case["target"], token=gateway.token("worklogs", "accounts"))
    assert answer.status == 200, answer.body
    assert [seen.target for seen in upstream.seen] == [case["path"] + case.get("query", "")]


@pytest.mark.parametrize("case", TABLE["refused"], ids=lambda case: ascii(case["target"]))
def test_an_ambiguous_target_goes_nowhere(case: dict[str, Any], gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    answer = gateway.ask("GET", case["target"], token=gateway.token("worklogs"))
    check_refusal(answer, "path_ambiguous")
    assert upstream.seen == []


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TARGETS)
def test_whatever_the_target_the_path_decided_on_is_the_path_forwarded(gateway: GatewayProcess, upstream: ScriptedUpstream, target: str) -> None:
    """Seen to fail with ``path.path`` in ``request_head`` (inbound/upward.py) replaced by the request's own target."""
    upstream.seen.clear()
    decided = canonicalise(target)
    with gateway.wire() as wire:
        wire.send(request("GET", target, token=gateway.token("worklogs")))
        answer = wire.answer()
    if answer.status == 200:
        assert not isinstance(decided, Denial)
        assert [seen.target for seen in upstream.seen] == [decided.path + decided.query]
        assert decided.path.startswith("/4/worklogs")
    else:
        assert upstream.seen == []
        refused = isinstance(decided, Denial) or decided.encoded_slash
        assert (answer.code == "path_ambiguous") == refused, answer.body
