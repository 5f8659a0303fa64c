"""TLS to the store, on Debian's redis-server: what is trusted, what is refused and in which words, with both event loops (``serve`` has uvloop, commands asyncio)."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvloop

from gateway.core.token_text import digest, make_token
from gateway.ports import StoreUnavailable, TokenDraft
from gateway.settings import TlsFiles
from gateway.store.connection import StoreOptions, connect
from gateway.store.server import Store
from gateway.store.token_register import RedisTokenRegister
from gateway.store.token_store import RedisTokenStore
from tests.harness.certificates import Pair, authority, issue
from tests.harness.redis_server import RedisServer

Run = Callable[[Callable[[], Awaitable[Any]]], Any]


class Park(NamedTuple):
    """A server that takes TLS alone and asks for a client certificate of ``ca``."""

    ca: Pair
    other: Pair
    client: Pair
    server: RedisServer

    def options(self, folder: Path, host: str = "localhost", **files: Path | None) -> StoreOptions:
        """``files`` instead of those that are right."""
        right: dict[str, Path | None] = {"ca_file": self.ca.certificate, "cert_file": self.client.certificate, "key_file": self.client.key}
        return StoreOptions(f"rediss://:s3cret-word@{host}:{self.server.port}/2", folder / "data", timeout_s=5, tls=TlsFiles(**(right | files)))


@pytest.fixture(scope="module")
def park(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Park]:
    folder = tmp_path_factory.mktemp("tls")
    ca, other = authority(folder), authority(folder, "other")
    shown = issue(ca, "server", "DNS:localhost")
    with RedisServer(folder / "server", tls=shown, ca=ca.certificate, requirepass="s3cret-word", appendonly="yes") as server:
        yield Park(ca, other, issue(ca, "client"), server)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if request.param == "uvloop" else None) as runner:
        yield lambda work: runner.run(work())  # type: ignore[arg-type]


async def refused(options: StoreOptions, *, by: str = "start") -> str:
    """What the store's start, or a question on its link, says."""
    store = Store(options)
    try:
        await (store.start() if by == "start" else store.link.ask([("PING",)]))
    except StoreUnavailable as why:
        return str(why)
    finally:
        await store.close()
    return "it was not refused"


def refusal(run: Run, options: StoreOptions) -> str:
    """What start-up says; the same for the link, as while running."""
    told = run(lambda: refused(options)), run(lambda: refused(options, by="link"))
    for text in told:
        assert "\n" not in text
        assert "s3cret" not in text
    assert told[0] == told[1]
    return str(told[0])


def test_private_authority_and_client_certificate_serve_look_ups_changes_and_pushes(run: Run, park: Park, tmp_path: Path) -> None:
    async def live() -> None:
        store = Store(park.options(tmp_path))
        await store.start()
        token = make_token("sgt", os.urandom)
        pushed: list[Any] = []
        store.link.on_push = pushed.append
        try:
            await store.link.ask([("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "sg:live:")])
            draft = TokenDraft(token.id, digest(token.text), "CI", "u1", "custom", ("worklogs:view",), ("worklogs",), 86_400_000, (), "")
            made = await RedisTokenRegister(store).create(draft, max_per_owner=100_000, clock_ms=time.time_ns() // 1_000_000, max_skew_ms=60_000)
            assert made.outcome == "done"
            (found,) = await store.link.ask([("GET", f"sg:live:{{{token.id}}}")])
            assert found
            assert pushed, "the push comes before the answer to what was asked after it"
            # Larger than one TLS record, both ways.
            assert await store.link.ask([("ECHO", b"x" * 100_000)]) == [b"x" * 100_000]
        finally:
            await store.close()

    run(live)


async def test_look_ups_by_tls_find_what_was_made(park: Park, tmp_path: Path) -> None:
    store = Store(park.options(tmp_path))
    await store.start()
    assert (await RedisTokenStore(store).fetch("000000000000")).record is None
    await store.close()


def test_authority_that_did_not_sign_is_refused(run: Run, park: Park, tmp_path: Path) -> None:
    said = refusal(run, park.options(tmp_path, ca_file=park.other.certificate))
    assert said.endswith("shows a certificate that store.tls.ca_file does not vouch for: name its certificate authority in store.tls.ca_file")


def test_private_authority_is_not_trusted_by_the_system(run: Run, park: Park, tmp_path: Path) -> None:
    assert "shows a certificate that this system does not vouch for" in refusal(run, park.options(tmp_path, ca_file=None))


def test_private_authority_is_the_only_one_that_counts(park: Park, tmp_path: Path) -> None:
    from gateway.store.tls import client_context

    trusted = client_context(park.options(tmp_path).tls).get_ca_certs()
    assert [dict(pair[0] for pair in each["subject"]) for each in trusted] == [{"commonName": "ca"}]  # type: ignore[attr-defined, misc]


def test_certificate_for_another_name_is_refused(run: Run, park: Park, tmp_path: Path) -> None:
    said = refusal(run, park.options(tmp_path, host="127.0.0.1"))
    assert said == (
        f"the store at rediss://127.0.0.1:{park.server.port}/2 shows a certificate for another name: write in store.url a name that its certificate holds"
    )


def test_missing_client_certificate_is_told(run: Run, park: Park, tmp_path: Path) -> None:
    # Whether the server's alert or its reset comes first is up to the kernel.
    said = run(lambda: refused(park.options(tmp_path, cert_file=None, key_file=None)))
    assert "asks for a client certificate" in said
    assert "set store.tls.cert_file and store.tls.key_file" in said
    assert "\n" not in said


def test_client_certificate_of_another_authority_is_told(run: Run, park: Park, tmp_path: Path) -> None:
    stranger = issue(park.other, f"stranger-{time.monotonic_ns()}")
    said = run(lambda: refused(park.options(tmp_path, cert_file=stranger.certificate, key_file=stranger.key)))
    assert "not accept the certificate of store.tls.cert_file" in said


def test_expired_certificate_is_refused(run: Run, park: Park, tmp_path: Path) -> None:
    expired = issue(park.ca, f"expired-{time.monotonic_ns()}", "DNS:localhost", days=-1)
    with RedisServer(tmp_path / "expired", tls=expired) as server:
        said = refusal(run, StoreOptions(f"rediss://localhost:{server.port}", tmp_path / "data", timeout_s=5, tls=TlsFiles(park.ca.certificate)))
    assert said.endswith("shows a certificate that has expired: renew it")


def test_server_that_speaks_no_tls_is_never_spoken_to_without(run: Run, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "plain") as server:
        said = refusal(run, StoreOptions(f"rediss://localhost:{server.port}", tmp_path / "data", timeout_s=0.5))
        assert "did not answer within 500 ms" in said or "TLS" in said

        async def count() -> int:
            plain = await connect(StoreOptions(f"redis://localhost:{server.port}", tmp_path / "data", timeout_s=5))
            (text,) = await plain.ask(("INFO", "commandstats"))
            plain.abort()
            return int(text.count(b"cmdstat_"))

        assert run(count) == 0, "a command went to it in the clear"


def test_plain_address_at_a_tls_port_is_told(run: Run, park: Park, tmp_path: Path) -> None:
    said = refusal(run, StoreOptions(f"redis://localhost:{park.server.port}", tmp_path / "data", timeout_s=5))
    assert said.endswith("cannot be reached: the connection was lost; start it, or mend store.url")


def test_files_that_are_missing_or_wrong_are_named(run: Run, park: Park, tmp_path: Path) -> None:
    none, text = tmp_path / "none.pem", tmp_path / "text.pem"
    text.write_text("no certificate")
    assert refusal(run, park.options(tmp_path, ca_file=none)) == f"store.tls.ca_file: {none} cannot be read: no such file or directory"
    assert refusal(run, park.options(tmp_path, ca_file=text)) == f"store.tls.ca_file: {text} holds no certificate in PEM form"
    assert refusal(run, park.options(tmp_path, key_file=none)) == f"store.tls.key_file: {none} cannot be read: no such file or directory"
    assert refusal(run, park.options(tmp_path, key_file=park.ca.key)) == f"store.tls.key_file: {park.ca.key} is not the key of {park.client.certificate}"
    assert "do not hold a certificate and its key in PEM form" in refusal(run, park.options(tmp_path, cert_file=text))


def test_encrypted_key_is_refused_without_asking_for_its_password(run: Run, park: Park, tmp_path: Path) -> None:
    import subprocess

    locked = tmp_path / "locked.key"
    program = shutil.which("openssl")
    assert program
    subprocess.run([program, "pkey", "-in", park.client.key, "-aes256", "-passout", "pass:word", "-out", locked], check=True)
    said = refusal(run, park.options(tmp_path, key_file=locked))
    assert said == f"store.tls.key_file: {locked} is encrypted: the gateway takes a key without a password, mode 0600"


def test_renewed_files_count_from_the_next_connection_on(run: Run, park: Park, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    shutil.copy(park.other.certificate, ca_file)
    options = park.options(tmp_path, ca_file=ca_file)
    assert "does not vouch for" in refusal(run, options)
    fresh = tmp_path / "fresh.pem"
    shutil.copy(park.ca.certificate, fresh)
    fresh.replace(ca_file)

    async def start() -> None:
        store = Store(options)
        await store.start()
        await store.close()

    run(start)


@pytest.fixture
async def lossy(park: Park, tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(park.options(tmp_path))
    await store.start()
    yield store
    await store.close()


async def test_connection_that_the_store_ends_is_made_anew(lossy: Store) -> None:
    assert await lossy.link.ask([("PING",)]) == [b"PONG"]
    async with lossy.session() as (session, _):
        await session.write(("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
    async with asyncio.timeout(10):
        while True:
            try:
                assert await lossy.link.ask([("PING",)]) == [b"PONG"]
            except StoreUnavailable:
                await asyncio.sleep(0.02)
            else:
                break
