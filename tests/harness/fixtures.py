"""Fixtures for tests through sockets, imported by the conftest of each folder that has such tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.gateway import GatewayProcess
from tests.harness.upstream import ScriptedUpstream


@pytest.fixture(scope="session")
def shared_upstream() -> Iterator[ScriptedUpstream]:
    """The upstream of the gateways that tests share."""
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(shared_upstream: ScriptedUpstream) -> Iterator[ScriptedUpstream]:
    """That upstream with nothing seen and nothing scripted; the test fails where a strict server would have refused what came."""
    shared_upstream.clear()
    yield shared_upstream
    assert shared_upstream.faults == []
    shared_upstream.clear()


@pytest.fixture(scope="session")
def gateway(shared_upstream: ScriptedUpstream) -> Iterator[GatewayProcess]:
    """A gateway with the defaults, for tests that do not change it. At the end it has said nothing but what it should."""
    with GatewayProcess(shared_upstream.url) as gateway:
        yield gateway
        assert "Traceback" not in gateway.log()
        assert "report this" not in gateway.log()
