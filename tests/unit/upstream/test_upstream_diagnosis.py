"""An upstream examined on real sockets: there or not, with a certificate that holds, ends soon, is for another, or is none."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.settings import Credential, Secret, UpstreamSettings
from gateway.upstream.diagnosis import examine_upstream
from tests.harness.certificates import Pair, authority, issue


def settings(port: int, *, host: str = "localhost", tls: bool = False, credentials: Credential | None = None, connect_s: float = 5) -> UpstreamSettings:
    url = f"http{'s' if tls else ''}://{host}:{port}"
    return UpstreamSettings("api", url, host, port, tls, connect_s, 60, 60, 10, False, credentials, "headers", False)


@asynccontextmanager
async def listening(shown: Pair | None = None) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A port, and whatever is said to it."""
    said: list[bytes] = []
    done: list[asyncio.Task[None]] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        done.append(task)
        said.append(await reader.read())
        writer.close()

    context = None
    if shown:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(shown.certificate, shown.key)
    server = await asyncio.start_server(hear, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], said
        await asyncio.gather(*done)
    finally:
        server.close()


@pytest.fixture
def ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """An authority that this system trusts."""
    made = authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.certificate))
    return made


async def test_upstream_that_is_there_is_fine_and_is_sent_nothing() -> None:
    async with listening() as (port, said):
        found = await examine_upstream(settings(port, host="127.0.0.1"), time.time())
    assert found.level == "ok"
    assert f"http://127.0.0.1:{port} accepts connections" in found.text
    assert said == [b""]


@pytest.mark.parametrize(("days", "level"), [(30, "ok"), (10, "warn")])
async def test_days_of_a_certificate_are_counted(ca: Pair, days: int, level: str) -> None:
    async with listening(issue(ca, "api", "DNS:localhost", days=days)) as (port, said):
        found = await examine_upstream(settings(port, tls=True), time.time())
    assert found.level == level
    assert f"its certificate holds for {days - 1} more days" in found.text
    assert said == [b""]


@pytest.mark.parametrize(("names", "days", "why"), [("DNS:other.example", 30, "Hostname mismatch"), ("DNS:localhost", -1, "certificate has expired")])
async def test_certificate_that_does_not_hold_fails(ca: Pair, names: str, days: int, why: str) -> None:
    async with listening(issue(ca, "api", names, days=days)) as (port, _):
        found = await examine_upstream(settings(port, tls=True), time.time())
    assert found.level == "fail"
    assert why in found.text


async def test_certificate_of_an_unknown_authority_fails(tmp_path: Path) -> None:
    async with listening(issue(authority(tmp_path), "api", "DNS:localhost")) as (port, _):
        found = await examine_upstream(settings(port, tls=True), time.time())
    assert (found.check, found.level) == ("upstream api", "fail")
    assert "let this system trust its authority" in found.text


async def test_upstream_without_tls_where_it_is_asked_for_fails() -> None:
    async with listening() as (port, _):
        found = await examine_upstream(settings(port, tls=True, connect_s=0.5), time.time())
    assert found.level == "fail"


async def test_nothing_there_and_a_name_that_does_not_resolve_are_told() -> None:
    found = await examine_upstream(settings(1, host="127.0.0.1"), time.time())
    assert found.text == "http://127.0.0.1:1 refuses connections: nothing listens there: start it, or mend upstreams.api.url"
    found = await examine_upstream(settings(1, host="no-such-host.invalid", connect_s=20), time.time())
    assert found.level == "fail"
    assert "http://no-such-host.invalid:1" in found.text


async def test_credential_that_would_cross_a_network_in_the_clear_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    credential = Credential("Authorization", Secret("Bearer s3cret"))
    async with listening() as (port, _):
        assert (await examine_upstream(settings(port, host="127.0.0.1", credentials=credential), time.time())).level == "ok"
        # No address of another machine is at hand: let this one not count as local.
        monkeypatch.setattr("gateway.upstream.diagnosis.is_local", lambda host: False)
        found = await examine_upstream(settings(port, host="127.0.0.1", credentials=credential), time.time())
    assert found.level == "warn"
    assert "who reads that network reads its credential: use https://" in found.text
    assert "s3cret" not in str(found)
