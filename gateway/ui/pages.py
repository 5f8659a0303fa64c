"""The pages: HTML that is written here, small scripts that call the API with the browser's session. No build step, nothing from elsewhere.

A page needs a session; without one the way in is shown. What a page may do is what the API lets its caller do.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any, Final

import aiohttp_jinja2
import jinja2
from aiohttp import web

from gateway.core.policy import Policy
from gateway.core.principal import SESSION, Actor
from gateway.flow.issuance import Issuance, record_json
from gateway.management.callers import Callers
from gateway.management.guard import request_id_of
from gateway.ports import BrowserSession

_HERE: Final = files("gateway.ui")
TOKENS: Final = "/tokens"


class Pages:
    """The handlers. ``policy`` gives the policy in force."""

    def __init__(self, issuance: Issuance, callers: Callers, policy: Callable[[], Policy]) -> None:
        self._issuance = issuance
        self._callers = callers
        self._policy = policy

    def add_to(self, app: web.Application) -> None:
        """Serve the pages in an application."""
        environment = aiohttp_jinja2.setup(app, loader=jinja2.FileSystemLoader(str(_HERE / "templates")), autoescape=True, trim_blocks=True, lstrip_blocks=True)
        environment.undefined = jinja2.StrictUndefined
        app.router.add_get("/", self.home)
        app.router.add_get(TOKENS, self.tokens)
        app.router.add_static("/static", str(_HERE / "static"))

    async def home(self, _: web.Request) -> web.StreamResponse:
        """The first page."""
        raise web.HTTPSeeOther(TOKENS)

    async def tokens(self, request: web.Request) -> web.StreamResponse:
        """The list of the caller's tokens."""
        session = await self._callers.session(request)
        if session is None:
            return self._page(request, "signed_out.html", {}, None, status=401)
        issuance = self._issuance.acting_for(Actor(session.principal, request.remote or "", request_id_of(request)))
        page = await issuance.list(limit=50)
        policy = self._policy()
        shown = [record_json(token, issuance.now_ms(), policy) for token in page.items]
        return self._page(request, "tokens.html", {"tokens": shown, "next": page.next}, session)

    def _page(self, request: web.Request, template: str, facts: dict[str, Any], session: BrowserSession | None, status: int = 200) -> web.Response:
        response = aiohttp_jinja2.render_template(template, request, {"session": session, "via": SESSION, **facts}, status=status)
        ancestors = self._callers.frame_ancestors(session)
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; form-action 'self'; "
            f"base-uri 'none'; frame-ancestors {ancestors}"
        )
        response.headers["Referrer-Policy"] = "same-origin"
        return response
