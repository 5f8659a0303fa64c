"""The management application: who it is made of. It gets its parts as arguments and imports no store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

from aiohttp import web

from gateway.core.audit import AuditEntry
from gateway.core.client_address import Network
from gateway.core.policy import Policy
from gateway.flow.holding import Holding
from gateway.flow.issuance import Issuance
from gateway.flow.sign_in import SignIn
from gateway.management.audit import PATH as AUDIT
from gateway.management.audit import AuditCalls
from gateway.management.callers import Callers
from gateway.management.description import Description
from gateway.management.guard import DESCRIPTION, Guard
from gateway.management.health import Health
from gateway.management.oauth import OAuthCalls
from gateway.management.payload import MAX_BODY
from gateway.management.policy import PolicyCalls
from gateway.management.sign_in import SignInCalls
from gateway.management.tokens import TokenCalls
from gateway.management.usage import UsageCalls
from gateway.observe.metrics import Counters, Overview
from gateway.ports import AuditTrail, LimitStore, OnceStore, UsageReader
from gateway.settings import IntrospectionClient


def build_management(
    *,
    issuance: Issuance,
    sign_in: SignIn,
    callers: Callers,
    policy: Callable[[], Policy],
    counters: Counters,
    readiness: Callable[[], Awaitable[Sequence[str]]],
    trail: AuditTrail,
    once: OnceStore,
    holding: Holding,
    limits: LimitStore,
    usage: UsageReader,
    refused: Callable[[AuditEntry], None] = lambda _: None,
    trusted_proxies: Sequence[Network] = (),
    clients: Sequence[IntrospectionClient] = (),
    hosts: Collection[str] = (),
    own_prefix: str = "",
    overview: Callable[[], Awaitable[Overview]] | None = None,
) -> web.Application:
    """The application of the management port, for ``ManagementServer``.

    ``policy`` gives the policy in force at each call. ``readiness`` gives the reasons, as plain lines without address or secret, why the gateway
    is not ready, none if it is. ``once`` remembers calls by their idempotency key, ``limits`` counts what is throttled; ``clients`` may introspect
    the tokens that ``holding`` finds by their text. ``hosts`` are names that the port answers to besides its own address and localhost. ``own_prefix`` is
    what the data plane answers itself under. ``overview``
    tells of the other processes of this node, whose counts /metrics adds to ``counters``; None where there are none. ``trail`` is the
    audit log to read, ``refused`` is given an entry for each refused call; ``trusted_proxies`` are believed where a call comes from.
    """
    app = web.Application(
        middlewares=[Guard(callers, hosts, counters, trusted_proxies=trusted_proxies, refused=refused).middleware()], client_max_size=MAX_BODY
    )
    health = Health(policy, readiness, counters, overview or _alone)
    tokens = TokenCalls(issuance, policy, once, sign_in)
    rules = PolicyCalls(issuance, policy, own_prefix)
    oauth = OAuthCalls(holding, issuance, callers, clients, limits, policy)
    doors = SignInCalls(sign_in, callers)
    uses = UsageCalls(issuance, usage, policy)
    one = "/api/v1/tokens/{id:[0-9A-Za-z]{12}}"
    app.router.add_get("/healthz", health.alive)
    app.router.add_get("/readyz", health.ready)
    app.router.add_get("/metrics", health.metrics)
    app.router.add_get("/api/v1/tokens", tokens.list)
    app.router.add_post("/api/v1/tokens", tokens.create)
    app.router.add_get(one, tokens.show)
    app.router.add_patch(one, tokens.rename)
    app.router.add_delete(one, tokens.revoke)
    app.router.add_post(f"{one}/regenerate", tokens.regenerate)
    app.router.add_post(f"{one}/suspend", tokens.suspend)
    app.router.add_post(f"{one}/resume", tokens.resume)
    app.router.add_get(AUDIT, AuditCalls(trail).list)
    app.router.add_post("/api/v1/owners/{owner}/revoke", tokens.revoke_owner)
    app.router.add_post("/api/v1/owners/revoke", tokens.revoke_leaver)
    app.router.add_get("/api/v1/scopes", rules.scopes)
    app.router.add_post("/api/v1/explain", rules.explain)
    app.router.add_post("/oauth2/introspect", oauth.introspect)
    app.router.add_post("/oauth2/revoke", oauth.revoke)
    app.router.add_get(DESCRIPTION, Description().show)
    app.router.add_get(f"{one}/usage", uses.usage)
    app.router.add_get(f"{one}/denials", uses.denials)
    app.router.add_post("/api/v1/sign-in-links", doors.offer)
    app.router.add_post("/api/v1/sign-out", doors.leave)
    return app


async def _alone() -> Overview:
    return Overview()
