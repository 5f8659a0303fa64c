"""A management port on a real socket, with the real life cycle of tokens on the real store."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import jwt

from gateway.core.client_address import Network
from gateway.core.policy import Policy
from gateway.flow.audit_backlog import AuditBacklog
from gateway.flow.holding import Holding
from gateway.flow.issuance import ON_THE_COMMAND_LINE, Issuance
from gateway.flow.sign_in import SignIn
from gateway.management.app import build_management
from gateway.management.callers import Callers
from gateway.management.key_sets import KeySets
from gateway.management.oidc import OpenIdProvider
from gateway.management.server import ManagementServer
from gateway.management.user_tokens import UserTokens
from gateway.observe.metrics import Counters
from gateway.policy_file.load import parse_policy
from gateway.settings import IntrospectionClient, JwtIssuer, Secret
from gateway.store.audit_log import RedisAuditLog
from gateway.store.browser_sessions import RedisSessionStore
from gateway.store.limit_store import RedisLimitStore
from gateway.store.once_store import RedisOnceStore
from gateway.store.server import Store
from gateway.store.token_register import RedisTokenRegister
from gateway.store.token_store import RedisTokenStore
from gateway.store.usage_ledger import RedisUsageReader
from gateway.ui.pages import Pages
from gateway.ui.sign_in_pages import SignInPages
from tests.harness.described import assert_described

KEY = "test-admin-key-0123456789abcdef0123456789"
SHARED = "a secret of thirty-two characters, shared with the product"
ISSUER = JwtIssuer("https://login.example", "scopegate", ("HS256",), "", "", Secret(SHARED), "sub", "admin", "grants")
CLIENT = IntrospectionClient("api:gateway", Secret("a client's secret, 32 characters + ü"))
POLICY = b"""\
version: 1
tokens: {max_per_owner: 5}
scopes:
  worklogs: {title: Worklogs}
  teams: {title: Teams}
routes:
  - {path: /worklogs/**, scope: worklogs}
  - {path: /teams/**, scope: teams}
"""


def user_jwt(subject: str, exp_s: int = 60, **claims: object) -> str:
    """A user's JWT of ISSUER that ends in so many seconds."""
    facts = {"iss": ISSUER.issuer, "aud": ISSUER.audience, "sub": subject, "exp": int(time.time()) + exp_s, "grants": "*", **claims}
    return jwt.encode(facts, SHARED, "HS256")


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Port:
    """A running management port, and a client that shows the bytes."""

    def __init__(self, port: int, counters: Counters, issuance: Issuance) -> None:
        self.port = port
        self.counters = counters
        self.issuance = issuance
        self.reasons: list[str] = []
        self.backlog: AuditBacklog | None = None
        self.policy: Policy = parse_policy(POLICY, "policy.yaml")
        self.fails: Callable[[], None] | None = None
        self.waits: Callable[[], Awaitable[list[str]]] | None = None

    async def ask(self, method: str, path: str, body: object = None, *, key: str | None = KEY, raw: bytes | None = None, **headers: str) -> Answer:
        """One request; ``raw`` is sent as it is, ``body`` as JSON. Underscores in header names stand for dashes."""
        fields = {"Host": f"127.0.0.1:{self.port}", "Connection": "close"}
        if key is not None:
            fields["Authorization"] = f"Bearer {key}"
        if raw is None:
            raw = b"" if body is None else json.dumps(body).encode()
        if raw:
            fields["Content-Type"] = "application/json"
            fields["Content-Length"] = str(len(raw))
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
        answer = await self.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + raw)
        assert_described(method, path.partition("?")[0], answer.status, answer.headers, answer.body)
        return answer

    async def send(self, data: bytes) -> Answer:
        """Bytes out, one answer in, until the port closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            async with asyncio.timeout(20):
                received = await reader.read()
        finally:
            writer.close()
        head, _, body = received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields: dict[str, str] = {}
        for name, value in (line.split(": ", 1) for line in lines[1:]):
            # A line each for a field that stands several times, as Set-Cookie may.
            fields[name.lower()] = f"{fields[name.lower()]}\n{value}" if name.lower() in fields else value
        return Answer(int(lines[0].split(" ")[1]), fields, body)

    async def make(self, **fields: Any) -> dict[str, Any]:
        """A new token, as the API tells of it: ``{"token": …, "secret": …}``."""
        answer = await self.ask("POST", "/api/v1/tokens", {"name": "t", "grants": ["worklogs"], **fields})
        assert answer.status == 201, answer.body
        return dict(answer.json)

    async def ready(self) -> Sequence[str]:
        if self.fails:
            self.fails()
        return await self.waits() if self.waits else self.reasons


@asynccontextmanager
async def management_port(
    store: Store,
    hosts: Sequence[str] = (),
    issuers: Sequence[JwtIssuer] = (),
    public_url: str = "",
    embed_origins: Sequence[str] = (),
    provider: OpenIdProvider | None = None,
    trusted_proxies: Sequence[Network] = (),
    clients: Sequence[IntrospectionClient] = (),
) -> AsyncIterator[Port]:
    """A management port on 127.0.0.1."""
    counters = Counters()
    issuance = Issuance(RedisTokenRegister(store), "sgt", by=ON_THE_COMMAND_LINE)
    port = Port(0, counters, issuance)
    sign_in = SignIn(RedisSessionStore(store))
    callers = Callers(Secret(KEY), UserTokens(issuers, KeySets(issuers)), sign_in, public_url, embed_origins)
    audit = RedisAuditLog(store)
    port.backlog = backlog = AuditBacklog(audit)
    app = build_management(
        issuance=issuance,
        sign_in=sign_in,
        callers=callers,
        policy=lambda: port.policy,
        counters=counters,
        readiness=port.ready,
        trail=audit,
        refused=backlog.add_refused,
        trusted_proxies=trusted_proxies,
        once=RedisOnceStore(store),
        holding=Holding(RedisTokenStore(store), "sgt"),
        limits=RedisLimitStore(store),
        clients=clients,
        usage=RedisUsageReader(store),
        hosts=hosts,
    )
    Pages(issuance, callers, lambda: port.policy).add_to(app)
    SignInPages(sign_in, callers, provider).add_to(app)
    server = ManagementServer(app)
    await server.start("127.0.0.1", 0)
    port.port = server.addresses[0][1]
    try:
        yield port
    finally:
        await server.close()
