"""The keys of JWT issuers: fixed ones from the configuration, and key sets (RFC 7517) read by https, kept, and read anew.

A set is read in the background: at the start, every ten minutes, and, at most once a half minute, when a JWT names a key that it does not hold (a new one
comes so into use). A set that can't be read leaves the last good one in force. Never a redirect, never over 256 KiB, never for longer than 5 s.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import aiohttp
import jwt

from gateway.settings import JwtIssuer

LOG: Final = logging.getLogger("scopegate")
REFRESH_S: Final = 600.0
UNKNOWN_S: Final = 30.0  # between two readings for the sake of keys that nobody knows
FETCH_S: Final = 5.0
LARGEST: Final = 256 * 1024
_WAIT_S: Final = 2.0
_RETRY_S: Final = 5.0
_KINDS: Final = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}


class KeysUnknown(Exception):
    """No key for a JWT. ``unread``: its issuer's set has never been read."""

    def __init__(self, *, unread: bool) -> None:
        super().__init__("no key")
        self.unread = unread


class KeySets:
    """Keys by issuer. ``run`` reads the sets, until cancelled."""

    def __init__(self, issuers: Sequence[JwtIssuer]) -> None:
        self._sets = {issuer.jwks_url: _RemoteSet(issuer.jwks_url) for issuer in issuers if issuer.jwks_url}

    async def run(self) -> None:
        """Read all sets, again and again."""
        await asyncio.gather(*(remote.run() for remote in self._sets.values()))

    async def key(self, issuer: JwtIssuer, header: Mapping[str, Any]) -> Any:
        """The key that a JWT with this header must be signed with. KeysUnknown where there is none."""
        if issuer.secret is not None:
            return issuer.secret.reveal()
        if issuer.public_key:
            return issuer.public_key
        remote = self._sets[issuer.jwks_url]
        kid, algorithm = header.get("kid"), str(header.get("alg"))
        found = remote.find(kid, algorithm)
        if found is None:
            await remote.read_soon()
            found = remote.find(kid, algorithm)
        if found is None:
            raise KeysUnknown(unread=remote.keys is None)
        return found


class _RemoteSet:
    """One set at an address. ``keys`` is None until it was read once."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.keys: list[jwt.PyJWK] | None = None
        self._asked = asyncio.Event()
        self._read = asyncio.Event()
        self._tried_at = float("-inf")
        self._failing = False

    def find(self, kid: object, algorithm: str) -> Any:
        """The key of this id, or the only one there is where the JWT names none; None where none fits the algorithm."""
        keys = [key for key in self.keys or () if key.key_type == _KINDS.get(algorithm[:2]) and key.algorithm_name == algorithm]
        if kid is not None:
            keys = [key for key in keys if key.key_id == kid]
        return keys[0].key if len(keys) == 1 else None

    async def read_soon(self) -> None:
        """Have the set read for a key that it lacks, if that was not done a moment ago; wait for it a little."""
        if time.monotonic() - self._tried_at < UNKNOWN_S and self.keys is not None:
            return
        self._read.clear()
        self._asked.set()
        try:
            async with asyncio.timeout(_WAIT_S):
                await self._read.wait()
        except TimeoutError:
            pass

    async def run(self) -> None:
        while True:
            self._asked.clear()
            self._tried_at = time.monotonic()
            try:
                self.keys = await self._fetch()
            except (OSError, aiohttp.ClientError, TimeoutError, ValueError, jwt.PyJWTError) as error:
                if not self._failing:  # one line when it begins, one when it is over
                    self._failing = True
                    LOG.error(  # noqa: TRY400 - one plain line
                        "the keys at %s can't be read (%s): %s", self._url, _why(error), "the last ones stay in force" if self.keys else "no JWT is taken"
                    )
            else:
                if self._failing:
                    self._failing = False
                    LOG.info("the keys at %s can be read again", self._url)
            self._read.set()
            pause = REFRESH_S if not self._failing else _RETRY_S
            try:
                async with asyncio.timeout(pause):
                    await self._asked.wait()
            except TimeoutError:
                pass

    async def _fetch(self) -> list[jwt.PyJWK]:
        limit = aiohttp.ClientTimeout(total=FETCH_S)
        async with (
            aiohttp.ClientSession(timeout=limit, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.get(self._url, allow_redirects=False, headers={"Accept": "application/json", "Accept-Encoding": "identity"}) as answer,
        ):
            if answer.status != 200:
                raise ValueError(f"the answer was {answer.status}")
            text = b""
            async for piece in answer.content.iter_any():
                text += piece
                if len(text) > LARGEST:
                    raise ValueError(f"it is longer than {LARGEST // 1024} KiB")
        return usable(text)


def usable(text: bytes) -> list[jwt.PyJWK]:
    """The keys of a set that may sign: public ones for signatures, of kinds that are known. ValueError where it is no set, or holds none."""
    found = jwt.PyJWKSet.from_json(text.decode("utf-8"))
    keys = [key for key in found.keys if key.public_key_use in {None, "sig"} and key.key_type in {"RSA", "EC"}]
    if not keys:
        raise ValueError("it holds no key for signatures")
    return keys


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {FETCH_S:g} s"
    return str(error) if type(error) is ValueError else type(error).__name__
