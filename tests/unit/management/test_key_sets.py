"""Key sets of issuers: read by TLS off the request path, kept when they can't be read, read again for a new key and no more often than that."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateway.management import key_sets
from gateway.management.key_sets import KeysUnknown, RemoteKeys, usable
from tests.harness.certificates import authority, issue

FIRST, SECOND = (rsa.generate_private_key(65537, 2048) for _ in range(2))
RS256: dict[str, Any] = {"alg": "RS256"}


def jwk(key: Any, kid: str | None, **more: object) -> dict[str, Any]:
    kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey) else jwt.algorithms.ECAlgorithm
    return {**kind.to_jwk(key, as_dict=True), **({"kid": kid} if kid else {}), **more}


def a_set(*keys: object) -> bytes:
    return json.dumps({"keys": keys}).encode()


class Issuer:
    """An issuer's key set on a port of this machine, by TLS."""

    def __init__(self) -> None:
        self.answer: Callable[[], Awaitable[web.StreamResponse]] = self.served
        self.body = a_set(jwk(FIRST.public_key(), "1"))
        self.asked = 0
        self.url = ""
        self.tls = ssl.create_default_context()

    async def served(self) -> web.StreamResponse:
        return web.Response(body=self.body)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        assert "Authorization" not in request.headers
        assert "Cookie" not in request.headers
        self.asked += 1
        return await self.answer()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    known = authority(tmp_path_factory.mktemp("keys"))
    made = issue(known, "issuer", "DNS:localhost")
    return known.certificate, made.certificate, made.key


@pytest.fixture
async def issuer(pair: tuple[Path, Path, Path]) -> AsyncIterator[Issuer]:
    found = Issuer()
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", found.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair[1], pair[2])
    await web.TCPSite(runner, "localhost", 0, ssl_context=tls).start()
    found.url = f"https://localhost:{runner.addresses[0][1]}/keys"
    found.tls.load_verify_locations(pair[0])
    yield found
    await runner.cleanup()


@pytest.fixture
async def remote(issuer: Issuer) -> AsyncIterator[RemoteKeys]:
    found = RemoteKeys(issuer.url, issuer.tls)
    running = asyncio.create_task(found.run())
    yield found
    assert not running.done(), "whatever an issuer sends, its keys are read again"
    running.cancel()


async def test_a_new_key_comes_into_use_when_a_jwt_names_it(issuer: Issuer, remote: RemoteKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen to fail without the reading for a key that is not there."""
    monkeypatch.setattr(key_sets, "UNKNOWN_S", 0.0)
    assert (await remote.key({**RS256, "kid": "1"})).public_numbers() == FIRST.public_key().public_numbers()
    issuer.body = a_set(jwk(FIRST.public_key(), "1"), jwk(SECOND.public_key(), "2"))
    assert (await remote.key({**RS256, "kid": "2"})).public_numbers() == SECOND.public_key().public_numbers()
    issuer.body = a_set(jwk(SECOND.public_key(), "2"))
    with pytest.raises(KeysUnknown):
        await remote.key({**RS256, "kid": "3"})
    with pytest.raises(KeysUnknown):
        await remote.key({**RS256, "kid": "1"})


async def test_made_up_key_ids_do_not_have_the_issuer_asked_again_and_again(issuer: Issuer, remote: RemoteKeys) -> None:
    """Seen to fail (101 times) with no pause between two readings."""
    await remote.key({**RS256, "kid": "1"})
    for number in range(100):
        with pytest.raises(KeysUnknown) as caught:
            await remote.key({**RS256, "kid": f"made up {number}"})
        assert not caught.value.unread
    assert issuer.asked == 1


async def test_many_who_come_before_the_keys_are_read_have_them_read_once(issuer: Issuer, remote: RemoteKeys) -> None:
    found = await asyncio.gather(*(remote.key({**RS256, "kid": "1"}) for _ in range(50)))
    assert len(found) == 50
    assert issuer.asked == 1


async def test_of_an_issuer_that_is_down_nobody_waits_long_and_it_is_left_alone(issuer: Issuer, remote: RemoteKeys) -> None:
    """Seen to fail (21 times) with no pause between two readings."""

    async def broken() -> web.StreamResponse:
        return web.Response(status=500)

    issuer.answer = broken
    for _ in range(20):
        with pytest.raises(KeysUnknown) as caught:
            await remote.key({**RS256, "kid": "1"})
        assert caught.value.unread
    assert issuer.asked == 1


BAD_SETS = {
    "no JSON": b"<html>",
    "no UTF-8": b"\xff\xfe",
    "a list": b"[]",
    "a number of keys": b'{"keys": 5}',
    "no keys": b'{"keys": []}',
    "keys that are none": b'{"keys": [1, null, "x", {}, {"kty": 7}, {"kty": "RSA", "n": 5, "e": []}]}',
    "deep": b"[" * 100_000,
    "too long": b" " * 300_000,
}


@pytest.mark.parametrize("name", [*BAD_SETS, "a redirect", "an error", "a broken body", "gzip"])
async def test_the_last_good_keys_stay_where_a_set_cannot_be_read(
    issuer: Issuer, remote: RemoteKeys, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Seen to fail for the redirect where redirects are followed, and for the long one without the limit."""
    monkeypatch.setattr(key_sets, "UNKNOWN_S", 0.0)
    await remote.key({**RS256, "kid": "1"})
    evil = a_set(jwk(SECOND.public_key(), "2"))

    async def answer() -> web.StreamResponse:
        if name == "a redirect":
            issuer.answer = issuer.served
            issuer.body = evil
            return web.Response(status=302, headers={"Location": issuer.url + "2"})
        if name == "an error":
            return web.Response(status=503, body=evil)
        if name == "a broken body":
            return web.Response(body=evil[:40], headers={"Content-Type": "application/json"})
        if name == "gzip":
            packed = web.Response(body=evil)
            packed.enable_compression(web.ContentCoding.gzip, strategy=0)
            packed.headers["Content-Encoding"] = "gzip"
            return packed
        return web.Response(body=BAD_SETS[name] + (evil if name == "too long" else b""))

    issuer.answer = answer
    with pytest.raises(KeysUnknown):
        await remote.key({**RS256, "kid": "2"})
    assert await remote.key({**RS256, "kid": "1"})
    assert [record.message.partition(" (")[0] for record in caplog.records] == [f"the keys at {issuer.url} can't be read"]
    assert "the last ones stay in force" in caplog.text


async def test_a_set_that_does_not_come_in_time_is_given_up(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_sets, "FETCH_S", 0.05)
    released = asyncio.Event()

    async def hanging() -> web.StreamResponse:
        await released.wait()
        return web.Response()

    issuer.answer = hanging
    with pytest.raises(TimeoutError):
        await key_sets.fetch(issuer.url, issuer.tls)
    released.set()


async def test_an_issuer_whose_certificate_nobody_knows_is_not_believed(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    stranger = RemoteKeys(issuer.url)
    running = asyncio.create_task(stranger.run())
    await stranger._read.wait()
    assert caplog.records
    assert stranger.keys is None
    assert issuer.asked == 0
    running.cancel()


@pytest.mark.parametrize(
    "weak",
    [
        jwk(rsa.generate_private_key(65537, 1024).public_key(), "2"),
        jwk(SECOND, "2"),
        jwk(SECOND.public_key(), "2", use="enc"),
        jwk(SECOND.public_key(), "2", alg="PS256"),
        jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), "2"),
        jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), "2", alg="ES256"),
        {"kty": "oct", "k": "c2VjcmV0LW9mLXRoaXJ0eS10d28tY2hhcmFjdGVycy4", "kid": "2"},
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "2"},
    ],
    ids=["1024 bits", "a private key", "for encryption", "another algorithm", "P-384", "P-384 as ES256", "a shared secret", "Ed25519"],
)
def test_a_key_that_is_not_safe_for_the_algorithm_is_not_used(weak: dict[str, Any]) -> None:
    found = RemoteKeys("https://issuer.example/keys")
    found.keys = usable(a_set(jwk(FIRST.public_key(), "1"), weak))
    assert [key.key_id for key in found.keys] == ["1"]
    with pytest.raises(ValueError, match="no key for signatures"):
        usable(a_set(weak))


def test_a_jwt_without_a_key_id_is_checked_where_there_is_one_key_only() -> None:
    found = RemoteKeys("https://issuer.example/keys")
    found.keys = usable(a_set(jwk(FIRST.public_key(), None), jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), "2")))
    assert found.find(None, "RS256") is not None
    found.keys = usable(a_set(jwk(FIRST.public_key(), "1"), jwk(SECOND.public_key(), "1")))
    assert found.find(None, "RS256") is None
    assert found.find("1", "RS256") is None, "two keys of one name are none"
    assert found.find("1", "none") is None
