"""The ways in for a browser: a one-time link, and the way to an OpenID provider and back. Whatever goes wrong is a page that says what to do.

A handler raises what goes wrong, and the guard has it noted as any other refusal: here is only how it looks.
"""

from __future__ import annotations

from typing import Final

import aiohttp_jinja2
from aiohttp import hdrs, web

from gateway.flow.sign_in import SIGN_IN, SignIn
from gateway.management.callers import Callers
from gateway.management.guard import ACTOR, PROBLEM_PAGE, ProblemPage
from gateway.management.oidc import OpenIdProvider
from gateway.management.problem import Problem
from gateway.ports import BrowserSession

PROVIDER: Final = f"{SIGN_IN}/oidc"
RETURN: Final = f"{PROVIDER}/callback"
LINK: Final = SIGN_IN + "/{code:[A-Za-z0-9_-]{43}}"
_WAYS_IN: Final = frozenset({SIGN_IN, PROVIDER, RETURN, f"{SIGN_IN}/{{code}}"})
_NO_SCRIPTS: Final = "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors "


class SignInPages:
    """The handlers. ``provider`` is None where none is configured."""

    def __init__(self, sign_in: SignIn, callers: Callers, provider: OpenIdProvider | None) -> None:
        self._sign_in = sign_in
        self._callers = callers
        self._provider = provider

    def add_to(self, app: web.Application) -> None:
        """Serve them in an application that has the pages."""
        provider = self._provider
        aiohttp_jinja2.get_env(app).globals["sign_in"] = None if provider is None else {"address": PROVIDER, "label": provider.label}
        app[PROBLEM_PAGE] = self._problem(app[PROBLEM_PAGE])
        app.router.add_get(SIGN_IN, self.begin, allow_head=False)
        if provider is not None:
            app.router.add_get(PROVIDER, self.go, allow_head=False)
            app.router.add_get(RETURN, self.come_back, allow_head=False)
        app.router.add_get(LINK, self.enter, allow_head=False)

    async def begin(self, _: web.Request) -> web.StreamResponse:
        """Off to the provider; without one, to the page that says what to do."""
        raise web.HTTPSeeOther("/tokens" if self._provider is None else PROVIDER)

    async def enter(self, request: web.Request) -> web.StreamResponse:
        """Take a link: the pages open, signed in."""
        entered = await self._sign_in.enter(request.match_info["code"], request[ACTOR], self._callers.session_id(request))
        if entered is None:
            raise Problem("link_used", "A sign-in link works once, within five minutes: ask for a new one.")
        return self._onward(request, entered)

    async def go(self, _: web.Request) -> web.StreamResponse:
        """Send the browser to the provider."""
        errand = self._sign_in.errand()
        response = web.Response(status=303, headers={hdrs.LOCATION: self._configured.address(errand), "Referrer-Policy": "no-referrer"})
        self._callers.set_errand(response, errand.id)
        return response

    async def come_back(self, request: web.Request) -> web.StreamResponse:
        """Take the provider's answer: the pages open, signed in."""
        errand_id = self._callers.errand_id(request)
        errand = await self._sign_in.back(errand_id, request.query.get("state", "")) if len(request.query.getall("state", [])) == 1 else None
        if errand is None:
            raise Problem("sign_in_refused", "This answer of the provider is not one that this browser waits for, or it was used already.")
        principal = await self._configured.principal(errand, request.query)
        response = self._onward(request, await self._sign_in.admit(principal, request[ACTOR], self._callers.session_id(request)))
        self._callers.set_errand(response, "")
        return response

    @property
    def _configured(self) -> OpenIdProvider:
        if self._provider is None:
            raise Problem("not_found", "No OpenID provider is configured.")
        return self._provider

    def _onward(self, request: web.Request, entered: tuple[str, BrowserSession]) -> web.StreamResponse:
        # No redirect: after one that another site's page began, the browser would keep the Strict cookie back. The page that it gets instead is ours.
        response = self._page(request, "signing_in.html", {}, entered[1])
        self._callers.set_cookie(response, *entered)
        return response

    def _problem(self, otherwise: ProblemPage) -> ProblemPage:
        """A refusal on the way in as a page, for a person; ``otherwise`` is the page of all others. A program that does not ask for HTML gets the problem
        document."""

        def problem(request: web.Request, refused: Problem, request_id: str) -> web.StreamResponse | None:
            resource = request.match_info.route.resource
            if resource is None or resource.canonical not in _WAYS_IN or "text/html" not in request.headers.get(hdrs.ACCEPT, ""):
                return otherwise(request, refused, request_id)
            facts = {"problem": refused, "request_id": request_id, "again": PROVIDER if self._provider is not None else ""}
            response = self._page(request, "sign_in_failed.html", facts, None)
            response.set_status(refused.reason.status)
            if refused.retry_after is not None:
                response.headers[hdrs.RETRY_AFTER] = str(refused.retry_after)
            return response

        return problem

    def _page(self, request: web.Request, template: str, facts: dict[str, object], session: BrowserSession | None) -> web.Response:
        response = aiohttp_jinja2.render_template(template, request, {"session": session, **facts})
        response.headers["Content-Security-Policy"] = _NO_SCRIPTS + self._callers.frame_ancestors(session)
        response.headers["Referrer-Policy"] = "no-referrer"
        return response
