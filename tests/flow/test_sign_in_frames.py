"""Signing in in a frame of another site's page, in a real browser, by TLS: the one that is allowed shows ours, any other shows nothing."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import jwt
import pytest
from playwright.async_api import Browser, Page, async_playwright

from gateway.settings import JwtIssuer, Secret
from gateway.store.server import Store
from tests.flow.management_port import Port, management_port
from tests.harness.certificates import Pair, authority, issue

SHARED = "a secret of thirty-two characters, shared with the product"
ISSUER = JwtIssuer("https://login.example", "scopegate", ("HS256",), "", "", Secret(SHARED), "sub", "admin", "grants")
PUBLIC, APP, EVIL = "https://tokens.example", "https://app.product.test", "https://app.evil.test"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return issue(authority(tmp_path_factory.mktemp("frames")), "frames", "DNS:tokens.example", "DNS:app.product.test", "DNS:app.evil.test")


@asynccontextmanager
async def by_tls(pair: Pair, port: int) -> AsyncIterator[int]:
    """A port where all three names answer by TLS: ours goes on to the gateway, the others serve a page with a frame that shows their query's address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            if b"Host: tokens.example" in head:
                inner, out = await asyncio.open_connection("127.0.0.1", port)
                with closing(out):
                    out.write(head.replace(b"Connection: keep-alive", b"Connection: close"))
                    writer.write(await inner.read())
            else:
                address = head.split(b" ")[1].partition(b"?")[2]
                page = b'<!doctype html><iframe name="ours" src="' + address + b'"></iframe>'
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(page), page))
            await writer.drain()

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.certificate, pair.key)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture
async def port(store: Store) -> AsyncIterator[Port]:
    async with management_port(store, ["tokens.example"], [ISSUER], PUBLIC, [APP]) as running:
        yield running


@pytest.fixture
async def browser(port: Port, pair: Pair) -> AsyncIterator[Browser]:
    program = shutil.which("chromium")
    assert program, "apt-get install chromium"
    async with by_tls(pair, port.port) as tls_port, async_playwright() as playwright:
        arguments = [f"--host-resolver-rules=MAP * 127.0.0.1:{tls_port}", "--no-sandbox", "--test-third-party-cookie-phaseout"]
        started = await playwright.chromium.launch(executable_path=program, args=arguments)
        yield started
        await started.close()


async def framed(browser: Browser, port: Port, page_of: str) -> Page:
    """A page of an origin that shows a link made for the allowed one."""
    claims = {"iss": ISSUER.issuer, "aud": ISSUER.audience, "sub": "ana", "exp": int(time.time()) + 60, "grants": "*"}
    user = jwt.encode(claims, SHARED, "HS256")
    await port.ask("POST", "/api/v1/tokens", {"name": "Ana's token", "grants": ["worklogs"]}, key=user)
    offered = await port.ask("POST", "/api/v1/sign-in-links", {"embedded_in": APP}, key=user)
    page = await (await browser.new_context(ignore_https_errors=True)).new_page()
    await page.goto(f"{page_of}/?{offered.json['url']}")
    return page


async def test_the_allowed_page_shows_ours_signed_in_and_nobody_elses_does(browser: Browser, port: Port) -> None:
    """With third-party cookies blocked, as browsers come to do. Seen to fail without Partitioned, and with the guard's own frame-ancestors."""
    page = await framed(browser, port, APP)
    await page.frame_locator("iframe").get_by_text("Ana's token").wait_for()
    frame = page.frame("ours")
    assert frame is not None
    own = "async (method) => (await fetch('/api/v1/sign-out', {method})).status"
    assert await frame.evaluate(own, "POST") == 200, "a change from inside the frame has our own origin"
    evil = await framed(browser, port, EVIL)
    async with asyncio.timeout(20):
        while (refused := next((frame for frame in evil.frames if frame.url.startswith("chrome-error:")), None)) is None:
            await asyncio.sleep(0.02)
    assert "Ana's token" not in await refused.content()
    assert await refused.evaluate("location.href") == "chrome-error://chromewebdata/"
    assert Path(refused.url).name != "tokens"
