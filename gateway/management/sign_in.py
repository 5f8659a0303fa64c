"""One-time links, which a host product asks for with its user's JWT, and signing out. The pages to which they lead are in ui/sign_in_pages.py."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import BeforeValidator

from gateway.core.principal import SESSION
from gateway.flow.sign_in import LINK_MS, SIGN_IN, SignIn
from gateway.management.callers import Callers
from gateway.management.guard import ACTOR
from gateway.management.payload import Payload, Text, demand, invalid, read_body
from gateway.management.problem import FieldFault, Problem, json_response


class LinkWanted(Payload):
    """Of POST /sign-in-links. ``embedded_in`` is the origin of the page whose frame will show ours."""

    embedded_in: Annotated[Text | None, BeforeValidator(lambda value: "" if value is None else value)] = None


class SignInCalls:
    """The handlers."""

    def __init__(self, sign_in: SignIn, callers: Callers) -> None:
        self._sign_in = sign_in
        self._callers = callers

    async def offer(self, request: web.Request) -> web.Response:
        """201 with a link that signs the caller in, once, within five minutes."""
        wanted = demand(LinkWanted, await read_body(request))
        principal = request[ACTOR].principal
        if principal.via == SESSION:
            raise Problem("admin_only", "A session makes no other session: ask with the JWT or the admin key.")
        embedded = wanted.embedded_in or ""
        if embedded and embedded not in self._callers.embed_origins:
            raise invalid([FieldFault("embedded_in", "is none of admin.embed_origins")])
        code = await self._sign_in.offer(principal, embedded, request[ACTOR])
        link = f"{self._callers.base(request)}{SIGN_IN}/{code}"
        return json_response({"url": link, "expires_in": LINK_MS // 1000}, 201)

    async def leave(self, request: web.Request) -> web.Response:
        """End the browser's session, or with ``everywhere`` all of the caller's."""
        session = await self._callers.session(request)
        everywhere = demand(Leaving, await read_body(request)).everywhere
        actor, ended = request[ACTOR], 0
        if everywhere:
            ended = await self._sign_in.leave_everywhere(actor.principal.subject, actor)
        elif session is not None:
            ended = await self._sign_in.leave(self._callers.session_id(request), actor)
        response = json_response({"ended": ended})
        self._callers.drop_cookie(response, session)
        return response


class Leaving(Payload):
    """Of POST /sign-out."""

    everywhere: bool = False
