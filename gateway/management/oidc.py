"""Signing in by OpenID Connect Core 1.0: the code flow with PKCE (RFC 7636), as a client of one provider.

What the provider says of itself (its discovery document) and its keys are read in the background and kept; the ID token is checked as users' JWTs are, its
nonce besides. Its packages are imported only where a provider is configured.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import ssl
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec
from multidict import MultiMapping

from gateway.core.principal import Principal
from gateway.flow.sign_in import Errand
from gateway.management.key_sets import REFRESH_S, RETRY_S, KeysUnknown, RemoteKeys, fetch, fetch_fault
from gateway.management.problem import Problem
from gateway.management.user_tokens import principal_of, proved, unproved
from gateway.settings import JwtIssuer, OidcSettings

LOG: Final = logging.getLogger("scopegate")
OIDC: Final = "oidc"
DISCOVERY: Final = "/.well-known/openid-configuration"
_EXCHANGE_S: Final = 10.0
_ERROR: Final = re.compile(r"[a-z_]{1,64}\Z")
_UNREACHABLE: Final = "The provider can't be reached now. Nothing is wrong with your account: try again in a moment."


class _Provider(NamedTuple):
    """What a provider says of itself."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    by_post: bool  # our secret goes in the body
    names_itself: bool  # in its answers (RFC 9207)


class OpenIdProvider:
    """The configured provider. ``redirect_uri`` is where it sends people back; ``tls`` has the certificate authorities that count, None for the system's.
    ``run`` reads what is needed of it, until cancelled."""

    def __init__(self, settings: OidcSettings, redirect_uri: str, tls: ssl.SSLContext | None = None) -> None:
        from authlib.integrations.httpx_client import AsyncOAuth2Client  # noqa: PLC0415  only whoever has a provider pays for it

        self.label: Final = settings.label
        self._client_class = AsyncOAuth2Client
        self._settings = settings
        self._redirect_uri = redirect_uri
        self._tls = tls or ssl.create_default_context()
        self._known: _Provider | None = None
        self._keys: RemoteKeys | None = None
        self._rules = JwtIssuer(
            issuer=settings.issuer,
            audience=settings.client_id,
            algorithms=("RS256", "ES256"),
            jwks_url="",
            public_key="",
            secret=None,
            subject_claim=settings.subject_claim,
            admin_claim=settings.admin_claim,
            grants_claim=settings.grants_claim,
        )

    async def run(self) -> None:
        """Read the provider's document, again and again, and its keys."""
        reading: asyncio.Task[None] | None = None
        failing = False
        try:
            while True:
                try:
                    known = _described(await fetch(self._settings.issuer.rstrip("/") + DISCOVERY, self._tls), self._settings.issuer)
                except Exception as error:  # noqa: BLE001  whatever a document is made of, the last good one stays in force
                    if not failing:  # one line when it begins, one when it is over
                        failing = True
                        LOG.error("the OpenID provider %s can't be read: %s", self._settings.issuer, fetch_fault(error))  # noqa: TRY400 - one plain line
                else:
                    if failing:
                        failing = False
                        LOG.info("the OpenID provider %s can be read again", self._settings.issuer)
                    if self._keys is None or self._known is None or known.jwks_uri != self._known.jwks_uri:
                        if reading is not None:
                            reading.cancel()
                        self._keys = RemoteKeys(known.jwks_uri, self._tls)
                        reading = asyncio.create_task(self._keys.run())
                    self._known = known
                await asyncio.sleep(RETRY_S if failing else REFRESH_S)
        finally:
            if reading is not None:
                reading.cancel()

    def address(self, errand: Errand) -> str:
        """Where a browser goes to sign in. Problem provider_unavailable where the provider has not been read yet."""
        known = self._provider()
        client = self._client(known)
        address, _ = client.create_authorization_url(
            known.authorization_endpoint, state=errand.state, nonce=errand.nonce, code_verifier=errand.verifier, response_type="code"
        )
        return str(address)

    async def principal(self, errand: Errand, answer: MultiMapping[str]) -> Principal:
        """Who came back with this answer (the query of the address to which the provider led). Problem sign_in_refused or provider_unavailable."""
        known = self._provider()
        if any(len(answer.getall(name)) > 1 for name in answer):
            raise _refused("the provider's answer says something twice")
        if answer.get("iss", self._settings.issuer if not known.names_itself else "") != self._settings.issuer:
            raise _refused("the answer is of another provider")
        if "error" in answer:
            error = answer["error"]
            raise _refused(f"the provider says {error}" if _ERROR.match(error) else "the provider refused")
        token = await self._exchange(known, errand, answer.get("code", ""))
        return await self._judged(token, errand)

    async def _exchange(self, known: _Provider, errand: Errand, code: str) -> str:
        """The ID token for a code."""
        import httpx2  # noqa: PLC0415  as above
        from authlib.common.errors import AuthlibBaseError  # noqa: PLC0415

        try:
            async with asyncio.timeout(_EXCHANGE_S), self._client(known) as client:
                token: Mapping[str, Any] = await client.fetch_token(
                    known.token_endpoint, grant_type="authorization_code", code=code, redirect_uri=self._redirect_uri, code_verifier=errand.verifier
                )
        except AuthlibBaseError:  # its text may quote the provider's, which may quote the code
            raise _refused("the provider does not take this code: it was used before, or it was asked for by another browser") from None
        except (httpx2.HTTPError, TimeoutError, OSError):
            raise Problem("provider_unavailable", _UNREACHABLE) from None
        except ValueError:
            raise _refused("the provider's answer can't be read") from None
        text = token.get("id_token")
        if not isinstance(text, str):
            raise _refused("the provider sends no ID token")
        return text

    async def _judged(self, text: str, errand: Errand) -> Principal:
        """OpenID Connect Core 1.0 section 3.1.3.7."""
        try:
            header, issuer = unproved(text)
            if issuer != self._settings.issuer or header.get("alg") not in self._rules.algorithms or self._keys is None:
                raise _refused("the ID token is not one that this gateway takes")
            claims = proved(text, await self._keys.key(header), self._rules)
            found = principal_of(claims, self._rules, OIDC)
        except KeysUnknown as why:
            if why.unread:
                raise Problem("provider_unavailable", _UNREACHABLE) from None
            raise _refused("the ID token is signed with a key that the provider does not name") from None
        except Problem as why:
            if why.reason.code == "jwt_invalid":
                raise _refused(f"the ID token is refused. {why.detail}") from None
            raise
        nonce = claims.get("nonce")
        if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode("utf-8", "replace"), errand.nonce.encode()):
            raise _refused("the ID token was made for another sign-in")
        audience = claims["aud"]
        if claims.get("azp", self._settings.client_id) != self._settings.client_id or (
            isinstance(audience, list) and len(audience) > 1 and "azp" not in claims
        ):
            raise _refused("the ID token was made for another client")
        return found

    def _provider(self) -> _Provider:
        if self._known is None:
            raise Problem("provider_unavailable", _UNREACHABLE)
        return self._known

    def _client(self, known: _Provider) -> Any:
        secret = self._settings.client_secret
        return self._client_class(
            client_id=self._settings.client_id,
            client_secret=None if secret is None else secret.reveal(),
            token_endpoint_auth_method="none" if secret is None else "client_secret_post" if known.by_post else "client_secret_basic",
            scope=" ".join(self._settings.scopes),
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
            verify=self._tls,
            timeout=_EXCHANGE_S,
            follow_redirects=False,
            trust_env=False,
        )


def _described(text: bytes, issuer: str) -> _Provider:
    """The discovery document of an issuer. ValueError where it is none, or another's (OpenID Connect Discovery 1.0 section 4.3)."""
    try:
        facts = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("its discovery document is no JSON object") from None
    if facts.get("issuer") != issuer:
        raise ValueError("its discovery document names another issuer: write admin.oidc.issuer as the provider does, with or without a final slash")
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        if not isinstance(facts.get(name), str) or urlsplit(facts[name]).scheme != "https":
            raise ValueError(f"{name} of its discovery document is no https:// address")
    methods = facts.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    by_post = isinstance(methods, list) and "client_secret_basic" not in methods and "client_secret_post" in methods
    names_itself = facts.get("authorization_response_iss_parameter_supported") is True
    return _Provider(facts["authorization_endpoint"], facts["token_endpoint"], facts["jwks_uri"], by_post, names_itself)


def _refused(why: str) -> Problem:
    return Problem("sign_in_refused", f"You could not be signed in: {why}. Begin again.")
