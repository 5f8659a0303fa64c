"""Users as `serve` lets them in: JWTs of a shared secret and of a key set, one-time links, a real OpenID provider. No secret is in what it writes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.flow.management_port import Answer, Port
from tests.harness.certificates import authority, issue
from tests.harness.gateway import ADMIN_KEY, GatewayProcess
from tests.harness.openid_provider import SECRET, Provider, openid_provider, signed_in_there
from tests.harness.upstream import ScriptedUpstream

PUBLIC = "https://tokens.example"
BACK = f"{PUBLIC}/sign-in/oidc/callback"
SHARED = "a secret of thirty-two characters, shared with the product"
TOKENS = "/api/v1/tokens"


@pytest.fixture(scope="module")
def served(shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GatewayProcess, Provider]]:
    known = authority(tmp_path_factory.mktemp("served"))
    with openid_provider(known, issue(known, "provider", "DNS:localhost"), BACK) as provider:
        by_secret = {"issuer": "https://app.example", "audience": "scopegate", "algorithms": ["HS256"], "secret_env": "APP_SECRET", "grants_claim": "grants"}
        by_set = {"issuer": provider.issuer, "audience": "scopegate", "algorithms": ["RS256"], "jwks_url": f"{provider.issuer}/jwks"}
        oidc = {"issuer": provider.issuer, "client_id": "scopegate", "client_secret_env": "OIDC_SECRET", "grants_claim": "grants"}
        environ = {
            "SSL_CERT_FILE": str(known.certificate),
            "APP_SECRET": SHARED,
            "OIDC_SECRET": SECRET,
            "SCOPEGATE_ADMIN__PUBLIC_URL": PUBLIC,
            "SCOPEGATE_ADMIN__JWT": json.dumps([by_secret, by_set]),
            "SCOPEGATE_ADMIN__OIDC": json.dumps(oidc),
        }
        with GatewayProcess(shared_upstream.url, environ=environ) as gateway:
            yield gateway, provider


def jwt_of(issuer: str, key: Any = SHARED, algorithm: str = "HS256") -> str:
    claims = {"iss": issuer, "aud": "scopegate", "sub": "ana", "exp": int(time.time()) + 60, "grants": ["worklogs"]}
    return jwt.encode(claims, key, algorithm)


async def until(port: Port, method: str, path: str, status: int, **by: Any) -> Answer:
    """The first answer with this status: keys and provider are read in the background."""
    async with asyncio.timeout(20):
        while True:
            answer = await port.ask(method, path, **by)
            if answer.status == status:
                return answer
            assert answer.status == 503, answer.body
            await asyncio.sleep(0.05)


async def test_users_come_in_by_jwt_by_link_and_by_a_provider(served: tuple[GatewayProcess, Provider]) -> None:
    """Seen to fail where the composition root reads no key sets, reads no provider, or serves no sign-in pages."""
    gateway, provider = served
    port = Port(gateway.admin_port, None, None)  # type: ignore[arg-type]
    secrets = [SHARED, SECRET, ADMIN_KEY]

    user = jwt_of("https://app.example")
    made = await port.ask("POST", TOKENS, {"name": "x", "access": "full"}, key=user)
    assert (made.json["token"]["owner"], made.json["token"]["grants"]) == ("ana", ["worklogs:manage"])
    stranger = jwt_of(provider.issuer, rsa.generate_private_key(65537, 2048), "RS256")
    assert (await until(port, "GET", TOKENS, 401, key=stranger)).json["code"] == "jwt_invalid"

    offered = await port.ask("POST", "/api/v1/sign-in-links", key=user)
    link = offered.json["url"].removeprefix(PUBLIC)
    entered = await port.ask("GET", link, key=None, Host="tokens.example")
    cookie = entered.headers["set-cookie"].partition(";")[0]
    assert (await port.ask("GET", TOKENS, key=None, Host="tokens.example", Cookie=cookie)).json["items"][0]["owner"] == "ana"
    assert (await port.ask("GET", link, key=None, Host="tokens.example")).status == 410

    began = await until(port, "GET", "/sign-in/oidc", 303, key=None, Host="tokens.example")
    errand = began.headers["set-cookie"].partition(";")[0]
    came_back = urlsplit(await signed_in_there(provider, began.headers["location"], "ben", BACK))
    back = f"{came_back.path}?{came_back.query}"
    answer = await until(port, "GET", back, 200, key=None, Host="tokens.example", Cookie=errand)
    session = next(line.partition(";")[0] for line in answer.headers["set-cookie"].split("\n") if "-session=" in line)
    mine = await port.ask("POST", TOKENS, {"name": "x", "access": "full"}, key=None, Host="tokens.example", Cookie=session, Origin=PUBLIC)
    assert (mine.json["token"]["owner"], mine.json["token"]["grants"]) == ("ben", ["worklogs:view"])

    secrets += [user, stranger, link.rpartition("/")[2], cookie.partition("=")[2], errand.partition("=")[2], session.partition("=")[2]]
    secrets += [value for values in parse_qs(came_back.query).values() for value in values if value != provider.issuer]
    metrics = (await port.ask("GET", "/metrics")).body.decode()
    assert 'route="/sign-in/oidc/callback"' in metrics
    for secret in secrets:
        assert secret not in gateway.log()
        assert secret not in metrics
        for file in Path(gateway.data_dir).rglob("*"):
            if file.is_file() and file.name != "admin.key":
                assert secret.encode() not in file.read_bytes(), file


def test_a_start_that_would_let_users_grant_what_our_credentials_open_is_refused(shared_upstream: ScriptedUpstream) -> None:
    """Exit 2 and why. Seen to fail without the rule."""
    entry = {"issuer": "https://app.example", "audience": "scopegate", "algorithms": ["HS256"], "secret_env": "APP_SECRET"}
    environ = {"APP_SECRET": SHARED, "STRONG": "Bearer strong", "SCOPEGATE_ADMIN__JWT": json.dumps([entry])}
    gateway = GatewayProcess(shared_upstream.url, upstream={"credentials": {"env": "STRONG"}}, environ=environ)
    try:
        assert gateway.launch().wait() == 2
        assert "SCOPEGATE_ADMIN__JWT: jwt: an upstream has credentials" in gateway.log()
        assert "admin.users_may_grant_all: true" in gateway.log()
        gateway.environ["SCOPEGATE_ADMIN__USERS_MAY_GRANT_ALL"] = "true"
        gateway.start()
    finally:
        gateway.close()
