"""A gateway with the shipped Tempo-like policy in front of the sample upstream, as a user's integration meets it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.watched_sample import WatchedSample
from tests.harness.gateway import GatewayProcess

_POLICY = Path(__file__).parents[2] / "policies" / "tempo.yaml"


@pytest.fixture(scope="session")
def shared_sample() -> Iterator[WatchedSample]:
    """The upstream of these tests; a test that changes its data puts them back."""
    with WatchedSample() as sample:
        yield sample


@pytest.fixture(scope="session")
def tempo_gateway(shared_sample: WatchedSample) -> Iterator[GatewayProcess]:
    """``serve`` on an embedded store, rewriting the upstream's addresses."""
    gateway = GatewayProcess(shared_sample.url, policy=_POLICY.read_text("utf-8"), upstream={"rewrite_urls": True})
    gateway.settings["public_url"] = f"http://127.0.0.1:{gateway.port}"
    with gateway:
        yield gateway


@pytest.fixture
def sample(shared_sample: WatchedSample) -> WatchedSample:
    """The upstream, with nothing seen yet."""
    shared_sample.seen.clear()
    return shared_sample


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both clients use requests, which would go through a proxy of the environment."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
