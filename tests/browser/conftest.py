"""A real browser in front of a real gateway and its upstream. Playwright's sync API keeps a loop of its own while it runs: one browser a module, ended
with it, so that tests with a loop can follow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.visitor import CHROMIUM, CLAIMS, POLICY, SHARED, Site
from tests.harness.fixtures import shared_upstream, upstream
from tests.harness.gateway import GatewayProcess
from tests.harness.upstream import ScriptedUpstream

__all__ = ["shared_upstream", "upstream"]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def pages_gateway(shared_upstream: ScriptedUpstream) -> Iterator[GatewayProcess]:
    """A gateway whose users come by JWT. At the end no log holds a secret that a page showed."""
    environ = {"SCOPEGATE_ADMIN__JWT": json.dumps([CLAIMS]), "PAGES_JWT_SECRET": SHARED}
    with GatewayProcess(shared_upstream.url, policy=POLICY, environ=environ) as gateway:
        yield gateway
        assert "Traceback" not in gateway.log()
        assert "sgt_" not in gateway.log()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM if Path(CHROMIUM).exists() else None, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def site(browser: Browser, pages_gateway: GatewayProcess, upstream: ScriptedUpstream) -> Iterator[Site]:
    """The pages, as somebody new sees them; every browser that a test opens is watched for errors and closed after it."""
    site = Site(browser, pages_gateway)
    yield site
    site.close()
