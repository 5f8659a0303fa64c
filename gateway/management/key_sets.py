"""The keys of JWT issuers: fixed ones from the configuration, and key sets (RFC 7517) read by https, kept, and read anew.

A set is read in the background: at the start, every ten minutes, and, at most once a half minute, when a JWT names a key that it does not hold (a new one
comes so into use). A set that can't be read leaves the last good one in force. Never a redirect, never over 256 KiB, never for longer than 5 s.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gateway.settings import JwtIssuer
from gateway.settings.public_key import SMALLEST_RSA

LOG: Final = logging.getLogger("scopegate")
REFRESH_S: Final = 600.0
UNKNOWN_S: Final = 30.0  # between two readings for the sake of keys that nobody knows
RETRY_S: Final = 5.0
FETCH_S: Final = 5.0
LARGEST: Final = 256 * 1024
_WAIT_S: Final = 2.0


class KeysUnknown(Exception):
    """No key for a JWT. ``unread``: its issuer's set has never been read."""

    def __init__(self, *, unread: bool) -> None:
        super().__init__("no key")
        self.unread = unread


class KeySets:
    """Keys by issuer. ``tls`` has the certificate authorities that count, None for the system's. ``run`` reads the sets, until cancelled."""

    def __init__(self, issuers: Sequence[JwtIssuer], tls: ssl.SSLContext | None = None) -> None:
        self._sets = {issuer.jwks_url: RemoteKeys(issuer.jwks_url, tls) for issuer in issuers if issuer.jwks_url}

    async def run(self) -> None:
        """Read all sets, again and again."""
        await asyncio.gather(*(remote.run() for remote in self._sets.values()))

    async def key(self, issuer: JwtIssuer, header: Mapping[str, Any]) -> Any:
        """The key that a JWT with this header must be signed with. KeysUnknown where there is none."""
        if issuer.secret is not None:
            return issuer.secret.reveal()
        if issuer.public_key:
            return issuer.public_key
        return await self._sets[issuer.jwks_url].key(header)


class RemoteKeys:
    """One set at an address. ``keys`` is None until it was read once."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        self._url = url
        self._tls = tls
        self.keys: list[jwt.PyJWK] | None = None
        self._asked = asyncio.Event()
        self._read = asyncio.Event()
        self._reading = False
        self._tried_at = float("-inf")
        self._failing = False

    async def key(self, header: Mapping[str, Any]) -> Any:
        """The key that a JWT with this header must be signed with; where the set lacks it, it is read again first. KeysUnknown where there is none."""
        kid, algorithm = header.get("kid"), str(header.get("alg"))
        found = self.find(kid, algorithm)
        if found is None:
            await self._read_soon()
            found = self.find(kid, algorithm)
        if found is None:
            raise KeysUnknown(unread=self.keys is None)
        return found

    def find(self, kid: object, algorithm: str) -> Any:
        """The key of this id, or the only one there is where the JWT names none; None where none fits the algorithm."""
        keys = [key for key in self.keys or () if key.algorithm_name == algorithm and kid in (None, key.key_id)]
        return keys[0].key if len(keys) == 1 else None

    async def _read_soon(self) -> None:
        """Have the set read for a key that it lacks, if that was not done a moment ago; wait for it a little. Whoever sends JWTs with made-up keys can't
        have the issuer asked more often than that."""
        if not self._reading:
            if time.monotonic() - self._tried_at < (RETRY_S if self.keys is None else UNKNOWN_S):
                return
            self._read.clear()
            self._asked.set()
        try:
            async with asyncio.timeout(_WAIT_S):
                await self._read.wait()
        except TimeoutError:
            pass

    async def run(self) -> None:
        """Read the set, again and again, until cancelled."""
        while True:
            self._reading = True
            self._read.clear()
            self._tried_at = time.monotonic()
            try:
                self.keys = usable(await fetch(self._url, self._tls))
            except Exception as error:  # noqa: BLE001  whatever a set is made of, the last good one stays in force and is read anew
                if not self._failing:  # one line when it begins, one when it is over
                    self._failing = True
                    stays = "the last ones stay in force" if self.keys else "no JWT is taken"
                    LOG.error("the keys at %s can't be read (%s): %s", self._url, fetch_fault(error), stays)  # noqa: TRY400 - one plain line
            else:
                if self._failing:
                    self._failing = False
                    LOG.info("the keys at %s can be read again", self._url)
            self._reading = False
            self._asked.clear()
            self._read.set()
            try:
                async with asyncio.timeout(RETRY_S if self._failing else REFRESH_S):
                    await self._asked.wait()
            except TimeoutError:
                pass


async def fetch(url: str, tls: ssl.SSLContext | None) -> bytes:
    """What an address answers with 200, at most ``LARGEST`` bytes of it. ValueError, OSError, TimeoutError or aiohttp.ClientError."""
    limit = aiohttp.ClientTimeout(total=FETCH_S)
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    async with (
        aiohttp.ClientSession(timeout=limit, trust_env=False, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False) as session,
        session.get(url, allow_redirects=False, headers=headers, ssl=tls or True) as answer,
    ):
        if answer.status != 200:
            raise ValueError(f"the answer was {answer.status}")
        text = bytearray()
        async for piece in answer.content.iter_any():
            text += piece
            if len(text) > LARGEST:
                raise ValueError(f"it is longer than {LARGEST // 1024} KiB")
    return bytes(text)


def usable(text: bytes) -> list[jwt.PyJWK]:
    """The keys of a set that JWTs may be checked with: public ones for signatures, of kinds and sizes that are safe. ValueError where it holds none."""
    try:
        found = jwt.PyJWKSet.from_json(text.decode("utf-8")).keys
    except (jwt.PyJWTError, AttributeError, RecursionError):
        found = []
    keys = [key for key in found if key.public_key_use in {None, "sig"} and _is_strong(key)]
    if not keys:
        raise ValueError("it holds no key for signatures")
    return keys


def _is_strong(key: jwt.PyJWK) -> bool:
    """RFC 7518 sections 3.3 and 3.4. A private key in a set is everybody's, so it proves nothing."""
    if key.algorithm_name == "ES256":
        return isinstance(key.key, EllipticCurvePublicKey) and isinstance(key.key.curve, SECP256R1)
    return key.algorithm_name == "RS256" and isinstance(key.key, RSAPublicKey) and key.key.key_size >= SMALLEST_RSA


def fetch_fault(error: Exception) -> str:
    """What went wrong with an address, without a word of what it answered."""
    if isinstance(error, TimeoutError):
        return f"no answer within {FETCH_S:g} s"
    return str(error) if type(error) is ValueError else type(error).__name__
