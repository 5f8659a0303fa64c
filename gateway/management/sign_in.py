"""Signing in and out in a browser: by a one-time link, which the demo prints and a host product asks for with its user's JWT."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Final

from aiohttp import web
from pydantic import BeforeValidator

from gateway.core.audit import AuditEntry
from gateway.core.principal import SESSION
from gateway.flow.sign_in import LINK_MS, SIGN_IN, SignIn
from gateway.management.callers import Callers
from gateway.management.guard import ACTOR
from gateway.management.payload import Payload, Text, demand, invalid, read_body
from gateway.management.problem import FieldFault, Problem, json_response
from gateway.ports import AuditLog

_ONWARD: Final = (
    b'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=/"><title>Signing in</title></head>'
    b'<body><p><a href="/">Go on</a></p></body></html>'
)


class LinkWanted(Payload):
    """Of POST /sign-in-links. ``embedded_in`` is the origin of the page whose frame will show ours."""

    embedded_in: Annotated[Text | None, BeforeValidator(lambda value: "" if value is None else value)] = None


class SignInCalls:
    """The handlers. Each notes what it did before it answers: where that fails, neither a link nor a session's id has been told."""

    def __init__(self, sign_in: SignIn, callers: Callers, audit: AuditLog) -> None:
        self._sign_in = sign_in
        self._callers = callers
        self._audit = audit

    async def offer(self, request: web.Request) -> web.Response:
        """201 with a link that signs the caller in, once, within five minutes."""
        wanted = demand(LinkWanted, await read_body(request))
        principal = request[ACTOR].principal
        if principal.via == SESSION:
            raise Problem("admin_only", "A session makes no other session: ask with the JWT or the admin key.")
        embedded = wanted.embedded_in or ""
        if embedded and embedded not in self._callers.embed_origins:
            raise invalid([FieldFault("embedded_in", "is none of admin.embed_origins")])
        code = await self._sign_in.offer(principal, embedded)
        await self._audit.note(AuditEntry("link.offer", request[ACTOR], owner=principal.subject, details=_frame(embedded)))
        link = f"{self._callers.base(request)}{SIGN_IN}/{code}"
        return json_response({"url": link, "expires_in": LINK_MS // 1000}, 201)

    async def enter(self, request: web.Request) -> web.StreamResponse:
        """Take a link: the pages open, signed in. A link that was used leads to a page that says so."""
        entered = await self._sign_in.enter(request.match_info["code"])
        if entered is None:
            raise Problem("link_used", "A sign-in link works once, within five minutes: ask for a new one.")
        session = entered[1]
        actor = replace(request[ACTOR], principal=session.principal)
        await self._audit.note(AuditEntry("session.sign_in", actor, owner=session.principal.subject, details=_frame(session.embedded)))
        # No redirect: after one that another site's page began, the browser would keep the Strict cookie back. The page that it gets instead is ours.
        response = web.Response(body=_ONWARD, content_type="text/html", charset="utf-8", headers={"Referrer-Policy": "no-referrer"})
        self._callers.set_cookie(response, *entered)
        return response

    async def leave(self, request: web.Request) -> web.Response:
        """End the browser's session, or with ``everywhere`` all of the caller's."""
        everywhere = demand(Leaving, await read_body(request)).everywhere
        principal = request[ACTOR].principal
        ended = await self._sign_in.leave_everywhere(principal.subject) if everywhere else 0
        session_id = self._callers.session_id(request)
        if session_id and not everywhere:
            await self._sign_in.leave(session_id)
            ended = 1
        details = {"ended": ended, "everywhere": int(everywhere)}
        await self._audit.note(AuditEntry("session.sign_out", request[ACTOR], owner=principal.subject, details=details))
        response = json_response({"ended": ended})
        self._callers.drop_cookie(response)
        return response


def _frame(embedded: str) -> dict[str, str]:
    return {"embedded_in": embedded} if embedded else {}


class Leaving(Payload):
    """Of POST /sign-out."""

    everywhere: bool = False
