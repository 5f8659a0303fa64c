"""What is asked of an ID token besides what is asked of every JWT, and of a provider's document."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from multidict import MultiDict

from gateway.core.principal import Principal
from gateway.flow.sign_in import Errand
from gateway.management.key_sets import RemoteKeys, usable
from gateway.management.oidc import OpenIdProvider, _described, _Provider
from gateway.management.problem import Problem
from gateway.settings import OidcSettings, Secret

ISSUER = "https://login.example"
SECRET = "the secret that the provider and we share"
KEY, ANOTHER = (rsa.generate_private_key(65537, 2048) for _ in range(2))
ERRAND = Errand.of("an errand")
SETTINGS = OidcSettings(ISSUER, "us", Secret(SECRET), ("openid", "profile"), "sub", "admin", "", "Example")


@pytest.fixture
def provider() -> OpenIdProvider:
    found = OpenIdProvider(SETTINGS, "https://tokens.example/back")
    found._known = _Provider(f"{ISSUER}/auth", f"{ISSUER}/token", f"{ISSUER}/keys", by_post=False, names_itself=False)
    found._keys = RemoteKeys(f"{ISSUER}/keys")
    public = {**jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "1"}
    found._keys.keys = usable(json.dumps({"keys": [public]}).encode())
    found._keys._tried_at = time.monotonic()
    return found


def id_token(key: Any = KEY, algorithm: str = "RS256", kid: str = "1", **changed: object) -> str:
    now = int(time.time())
    facts = {"iss": ISSUER, "aud": "us", "sub": "ana", "iat": now, "exp": now + 60, "nonce": ERRAND.nonce, **changed}
    return jwt.encode({name: value for name, value in facts.items() if value is not None}, key, algorithm, {"kid": kid})


async def refusal(provider: OpenIdProvider, text: str) -> str:
    with pytest.raises(Problem) as caught:
        await provider._judged(text, ERRAND)
    assert caught.value.reason.code == "sign_in_refused"
    assert text not in caught.value.detail
    return caught.value.detail


async def test_an_id_token_names_who_came(provider: OpenIdProvider) -> None:
    assert await provider._judged(id_token(), ERRAND) == Principal("ana", admin=False, via="oidc")
    assert await provider._judged(id_token(aud=["us", "them"], azp="us", admin=True), ERRAND) == Principal("ana", admin=True, via="oidc")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"nonce": None}, "another sign-in"),
        ({"nonce": "another"}, "another sign-in"),
        ({"nonce": ["x"]}, "another sign-in"),
        ({"nonce": "\ud800"}, "another sign-in"),
        ({"azp": "them"}, "another client"),
        ({"aud": ["us", "them"]}, "another client"),
        ({"aud": "them"}, "another audience"),
        ({"aud": None}, "lacks"),
        ({"iss": "https://evil.example"}, "not one that this gateway takes"),
        ({"exp": 1}, "has expired"),
        ({"exp": None}, "lacks"),
        ({"sub": None}, "lacks"),
        ({"sub": "operator"}, "operator"),
        ({"nbf": int(time.time()) + 3600}, "not valid yet"),
        ({"key": ANOTHER}, "not one that this gateway takes"),
        ({"kid": "2"}, "a key that the provider does not name"),
        ({"key": SECRET, "algorithm": "HS256"}, "not one that this gateway takes"),
    ],
)
async def test_an_id_token_that_is_wrong_lets_nobody_in(provider: OpenIdProvider, changed: dict[str, Any], why: str) -> None:
    """Seen to fail without each of the checks of nonce, azp and issuer."""
    assert why in await refusal(provider, id_token(**changed))


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "." * 100_000])
async def test_what_is_no_id_token_lets_nobody_in(provider: OpenIdProvider, text: str) -> None:
    with pytest.raises(Problem, match="sign_in_refused"):
        await provider._judged(text, ERRAND)


@pytest.mark.parametrize("query", ["code=a&code=b", "code=a&iss=https://evil.example", "error=access_denied", "error=%3Cb%3E"])
async def test_an_answer_that_is_wrong_is_refused_before_the_provider_is_asked(provider: OpenIdProvider, query: str) -> None:
    answer = MultiDict(part.split("=", 1) for part in query.split("&"))
    with pytest.raises(Problem, match="sign_in_refused"):
        await provider.principal(ERRAND, answer)


GOOD = {"issuer": ISSUER, "authorization_endpoint": f"{ISSUER}/auth", "token_endpoint": f"{ISSUER}/token", "jwks_uri": f"{ISSUER}/keys"}


def test_a_providers_document_is_read() -> None:
    assert _described(json.dumps(GOOD).encode(), ISSUER) == _Provider(f"{ISSUER}/auth", f"{ISSUER}/token", f"{ISSUER}/keys", by_post=False, names_itself=False)
    more = {"token_endpoint_auth_methods_supported": ["client_secret_post"], "authorization_response_iss_parameter_supported": True}
    found = _described(json.dumps({**GOOD, **more}).encode(), ISSUER)
    assert found.by_post
    assert found.names_itself


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"", "no JSON object"),
        (b"[]", "no JSON object"),
        (b"{" * 10_000, "no JSON object"),
        (json.dumps({**GOOD, "issuer": ISSUER + "/"}).encode(), "names another issuer"),
        (json.dumps({**GOOD, "token_endpoint": "http://login.example/token"}).encode(), "token_endpoint"),
        (json.dumps({**GOOD, "jwks_uri": "file:///etc/passwd"}).encode(), "jwks_uri"),
        (json.dumps({**GOOD, "jwks_uri": 7}).encode(), "jwks_uri"),
        (json.dumps({**GOOD, "authorization_endpoint": "javascript:alert(1)"}).encode(), "authorization_endpoint"),
    ],
)
def test_a_document_that_is_wrong_is_not_used(document: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        _described(document, ISSUER)


@pytest.mark.parametrize("library", ["authlib", "httpx2"])
def test_without_a_provider_its_packages_are_not_needed(library: str) -> None:
    """They are an extra. Seen to fail with the import at the top."""
    script = f"import sys, gateway.app.management; sys.exit({library!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 0
