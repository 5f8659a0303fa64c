"""The audit log for admins: who did what, newest first."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from gateway.management.guard import ACTOR
from gateway.management.payload import AuditListing, Checked, demand, invalid, read_query
from gateway.management.problem import FieldFault, Problem, json_response
from gateway.ports import AuditTrail

PATH: Final = "/api/v1/audit"


class AuditCalls:
    """The handlers."""

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail

    async def list(self, request: web.Request) -> web.Response:
        """One page. 403 for who is no admin."""
        if not request[ACTOR].principal.admin:
            raise Problem("admin_only", "Only an admin reads the audit log.")
        query = read_query(request)
        asked = demand(AuditListing, Checked({name: value for name, value in query.data.items() if value}, query.faults))
        wanted = asked.model_dump(by_alias=True, include={"action", "subject", "token"}, exclude_unset=True)
        try:
            page = await self._trail.page(cursor=asked.cursor, limit=asked.limit, wanted=wanted)
        except ValueError as error:
            raise invalid([FieldFault("cursor", f"{error}: begin without one")]) from None
        headers = {}
        if page.next:
            headers["Link"] = f'<{PATH}?{urlencode({**asked.model_dump(exclude_unset=True), "cursor": page.next})}>; rel="next"'
        return json_response({"items": page.items, "next": page.next or None}, headers=headers)
