"""What a token was used for, and what it was refused: the calls that read the ledgers of all workers."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from gateway.core.policy import Policy
from gateway.flow.issuance import Issuance
from gateway.flow.usage import DAYS, refusals_json, usage_json
from gateway.management.guard import ACTOR
from gateway.management.problem import json_response
from gateway.ports import UsageReader


class UsageCalls:
    """The handlers. Whoever may not see a token sees nothing of its use."""

    def __init__(self, issuance: Issuance, reader: UsageReader, policy: Callable[[], Policy]) -> None:
        self._issuance = issuance
        self._reader = reader
        self._policy = policy

    async def usage(self, request: web.Request) -> web.Response:
        """The last 30 days."""
        record = await self._issuance.acting_for(request[ACTOR]).get(request.match_info["id"])
        return json_response(usage_json(record, await self._reader.usage(record.id, DAYS), self._policy()))

    async def denials(self, request: web.Request) -> web.Response:
        """The last refusals, newest first, each with its decision."""
        record = await self._issuance.acting_for(request[ACTOR]).get(request.match_info["id"])
        return json_response(refusals_json(await self._reader.refusals(record.id)))
