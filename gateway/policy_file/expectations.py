"""The policy's own tests: a request, what its caller holds, and what the policy must say. They run on the same core as requests do."""

from __future__ import annotations

from typing import NamedTuple

from gateway.core.explain import explain
from gateway.core.policy import Policy
from gateway.core.scope import GrantSet, parse_grants
from gateway.policy_file.model import TestModel, split_request


class Expectation(NamedTuple):
    """One entry of ``tests:``. ``expect`` is allow or a reason code; ``line`` and ``column`` are its place in the file."""

    method: str
    target: str
    grants: GrantSet
    expect: str
    line: int
    column: int

    def broken_by(self, policy: Policy) -> str:
        """What is wrong if the policy says otherwise, "" if it says the same."""
        got = explain(policy, self.method, self.target, self.grants)
        verdict = got.code or got.decision
        if verdict == self.expect:
            return ""
        held = ", ".join(text.removesuffix(":manage") for text in self.grants.text.split()) or "no grant"
        return f"{self.method} {self.target} with {held}: expected {self.expect}, got {verdict}"


def expectation(model: TestModel, line: int, column: int) -> Expectation:
    """An Expectation from its checked model."""
    return Expectation(*split_request(model.request), parse_grants(model.grants), model.expect, line, column)
