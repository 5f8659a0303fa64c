"""The management application: who it is made of. It gets its parts as arguments and imports no store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

from aiohttp import web

from gateway.core.policy import Policy
from gateway.flow.issuance import Issuance
from gateway.flow.sign_in import SIGN_IN, SignIn
from gateway.management.callers import Callers
from gateway.management.guard import Guard
from gateway.management.health import Health
from gateway.management.payload import MAX_BODY
from gateway.management.sign_in import SignInCalls
from gateway.management.tokens import TokenCalls
from gateway.management.usage import UsageCalls
from gateway.observe.metrics import Counters, Overview
from gateway.ports import UsageReader


def build_management(
    *,
    issuance: Issuance,
    sign_in: SignIn,
    callers: Callers,
    policy: Callable[[], Policy],
    counters: Counters,
    readiness: Callable[[], Awaitable[Sequence[str]]],
    usage: UsageReader,
    hosts: Collection[str] = (),
    overview: Callable[[], Awaitable[Overview]] | None = None,
) -> web.Application:
    """The application of the management port, for ``ManagementServer``.

    ``policy`` gives the policy in force at each call. ``readiness`` gives the reasons, as plain lines without address or secret, why the gateway
    is not ready, none if it is. ``hosts`` are names that the port answers to besides its own address and localhost. ``overview`` tells of the
    other processes of this node, whose counts /metrics adds to ``counters``; None where there are none.
    """
    app = web.Application(middlewares=[Guard(callers, hosts, counters).middleware()], client_max_size=MAX_BODY)
    health = Health(policy, readiness, counters, overview or _alone)
    tokens = TokenCalls(issuance, policy)
    uses = UsageCalls(issuance, usage, policy)
    doors = SignInCalls(sign_in, callers)
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
    app.router.add_get(f"{one}/usage", uses.usage)
    app.router.add_get(f"{one}/denials", uses.denials)
    app.router.add_post("/api/v1/sign-in-links", doors.offer)
    app.router.add_post("/api/v1/sign-out", doors.leave)
    app.router.add_get(SIGN_IN + "/{code}", doors.enter, allow_head=False)
    return app


async def _alone() -> Overview:
    return Overview()
