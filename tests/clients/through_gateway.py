"""What must hold of every request that reached the upstream."""

from __future__ import annotations

from tests.clients.watched_sample import WatchedSample
from tests.harness.gateway import GatewayProcess, Made
from tests.harness.waiting import eventually


def assert_all_came_through(gateway: GatewayProcess, sample: WatchedSample, made: Made) -> None:
    """Each request that the upstream got was decided and forwarded by the gateway, for this token, whose secret stayed there."""
    assert sample.seen
    for seen in sample.seen:
        assert seen.fields["x-scopegate-token-id"] == made.id
        assert "authorization" not in seen.fields
        assert made.secret not in repr(seen)
    eventually(
        lambda: sum(line.get("token_id") == made.id and line["status"] < 400 for line in gateway.access_lines()) == len(sample.seen),
        "as many lines of the token in the access log as requests upstream",
    )
