"""Fixtures for tests through sockets, imported by the conftest of each folder that has such tests."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

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
    shared_upstream.settle()
    shared_upstream.clear()
    yield shared_upstream
    assert not shared_upstream.faults, shared_upstream.faults
    shared_upstream.clear()


CREDENTIAL = "Bearer the-operators-own-credential"
PUBLIC = "https://api.public.test"
KINDS: dict[str, dict[str, Any]] = {
    "trusting": {"settings": {"trusted_proxies": ["127.0.0.2/32", "10.0.0.0/8"]}},
    "credentialed": {"upstream": {"credentials": {"header": "Authorization", "env": "UPSTREAM_VALUE"}}, "environ": {"UPSTREAM_VALUE": CREDENTIAL}},
    "keyed": {
        "upstream": {"credentials": {"header": "X-Upstream-Key", "env": "UPSTREAM_VALUE"}, "preserve_host": True, "identity": "none"},
        "environ": {"UPSTREAM_VALUE": CREDENTIAL},
    },
    "rewriting": {"upstream": {"rewrite_urls": True}, "settings": {"public_url": PUBLIC}},
    "hasty": {
        "upstream": {"timeouts": {"connect": "1s", "response": "800ms", "idle": "800ms"}, "max_connections": 4},
        "settings": {"limits": {"body_idle": "1s"}},
    },
    "tempo": {"settings": {"errors": "tempo"}},
}


@pytest.fixture(scope="session")
def gateways(shared_upstream: ScriptedUpstream, gateway: GatewayProcess) -> Iterator[Callable[[str], GatewayProcess]]:
    """Gateways of other configurations in front of the same upstream, by their kind ("default" is ``gateway``); each is started once."""
    started: dict[str, GatewayProcess] = {"default": gateway}
    with contextlib.ExitStack() as stack:

        def of_kind(kind: str) -> GatewayProcess:
            if kind not in started:
                started[kind] = stack.enter_context(GatewayProcess(shared_upstream.url, **KINDS[kind]))
            return started[kind]

        yield of_kind
        for each in started.values():
            assert "Traceback" not in each.log()
            assert CREDENTIAL not in each.log()


@pytest.fixture(scope="session")
def gateway(shared_upstream: ScriptedUpstream) -> Iterator[GatewayProcess]:
    """A gateway with the defaults, for tests that do not change it. At the end it has said nothing but what it should."""
    with GatewayProcess(shared_upstream.url) as gateway:
        yield gateway
        assert "Traceback" not in gateway.log()
        assert "report this" not in gateway.log()


@pytest.fixture
def own(shared_upstream: ScriptedUpstream) -> Iterator[GatewayProcess]:
    """A gateway that this test may end."""
    with GatewayProcess(shared_upstream.url, settings={"drain_timeout": "15s"}) as gateway:
        yield gateway
        assert "Traceback" not in gateway.log()
        assert "report this" not in gateway.log()
