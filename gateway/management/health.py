"""Is the gateway alive, is it ready, what has it counted: open to whoever reaches the management port, so no secret and no address is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohttp import web

from gateway.core.policy import Policy
from gateway.management.problem import json_response
from gateway.observe.exposition import Exposition
from gateway.observe.metrics import Counters, Overview
from gateway.ports import StoreUnavailable

READINESS_LIMIT_S: Final = 5.0


class Health:
    """The handlers of /healthz, /readyz and /metrics. ``readiness`` gives the reasons why the gateway is not ready, none if it is; ``overview``
    tells of the node's other processes, whose counts are added to ``counters``."""

    def __init__(
        self,
        policy: Callable[[], Policy],
        readiness: Callable[[], Awaitable[Sequence[str]]],
        counters: Counters,
        overview: Callable[[], Awaitable[Overview]],
    ) -> None:
        self._policy = policy
        self._readiness = readiness
        self._counters = counters
        self._overview = overview

    async def alive(self, _: web.Request) -> web.Response:
        """200 for as long as the process answers."""
        return json_response({"status": "ok"})

    async def ready(self, _: web.Request) -> web.Response:
        """200 when requests can be served, else 503 with the reasons; which policy is loaded, by its hash, and which one each worker runs; the one
        that was refused, if the file that was read last is faulty (its faults are in the log)."""
        try:
            async with asyncio.timeout(READINESS_LIMIT_S):
                reasons = list(await self._readiness())
        except (StoreUnavailable, TimeoutError):
            reasons = ["the token store does not answer"]
        overview = await self._overview()
        policy, refused = self._policy(), overview.refused
        facts = {
            "ready": not reasons,
            "reasons": reasons,
            "policy": {"hash": policy.hash, "scopes": len(policy.scopes), "routes": len(policy.routes)},
            "policy_refused": {"hash": refused.hash, "faults": refused.faults} if refused is not None else None,
            "workers": [{"number": worker.number, "up": worker.up, "policy": worker.policy} for worker in overview.workers],
        }
        return json_response(facts, 503 if reasons else 200, headers={"Retry-After": "1"} if reasons else None)

    async def metrics(self, request: web.Request) -> web.Response:
        """The counts of all processes, as Prometheus text or OpenMetrics."""
        total = (await self._overview()).counters
        total.add(self._counters)
        body, content_type = Exposition(total, self._policy).render(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})
