"""The pages: HTML that is written here, small scripts that call the API with the browser's session. No build step, nothing from elsewhere.

A page needs a session; without one the way in is shown. What a page may do is what the API lets its caller do, so nothing is decided here: lists and
forms are rendered from ``Issuance`` on the visitor's behalf, changes and figures go through the API.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import aiohttp_jinja2
import jinja2
from aiohttp import hdrs, web

from gateway.core.audit import ACTIONS
from gateway.core.policy import Policy
from gateway.core.scope import parse_grants
from gateway.core.token_record import ACTIVE, EXPIRED, REVOKED, SUSPENDED, TokenRecord
from gateway.flow.issuance import SCANNED, Issuance, IssuanceRefused
from gateway.management.callers import Callers
from gateway.management.guard import ACTOR, PROBLEM_PAGE
from gateway.management.problem import Problem
from gateway.ports import BrowserSession
from gateway.ui.first_call import first_calls
from gateway.ui.token_view import choices, days_of, levels_of, moment, unix_ms, view

_HERE: Final = Path(str(files("gateway.ui")))
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
PAGE: Final = 50
TOKENS: Final = "/tokens"
OWNERS: Final = "/owners"
STATES: Final = (ACTIVE, SUSPENDED, EXPIRED, REVOKED)


class Visitor(NamedTuple):
    """Who looks at a page, and the tokens on its behalf."""

    session: BrowserSession
    issuance: Issuance


class Pages:
    """The handlers. ``policy`` gives the policy in force; ``gateway_url`` is where integrations reach the data plane, without a final slash."""

    def __init__(self, issuance: Issuance, callers: Callers, policy: Callable[[], Policy], gateway_url: str = "") -> None:
        self._issuance = issuance
        self._callers = callers
        self._policy = policy
        self._gateway_url = gateway_url
        self._assets = {path.name: path for path in (_HERE / "static").iterdir() if path.suffix in _TYPES}

    def add_to(self, app: web.Application) -> None:
        """Serve the pages in an application."""
        loader = jinja2.FileSystemLoader(str(_HERE / "templates"))
        environment = aiohttp_jinja2.setup(app, loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
        environment.globals["states"] = STATES
        app[PROBLEM_PAGE] = self.problem
        for path in ("/", "/settings"):
            app.router.add_get(path, self.home)
        app.router.add_get(TOKENS, self._for_visitors(self.tokens))
        app.router.add_get(f"{TOKENS}/new", self._for_visitors(self.new_token))
        app.router.add_get(TOKENS + "/{id:[0-9A-Za-z]{12}}", self._for_visitors(self.token))
        app.router.add_get(OWNERS, self._for_visitors(self.owners))
        app.router.add_get("/audit", self._for_visitors(self.audit))
        app.router.add_get("/signed-out", self.signed_out)
        app.router.add_get("/static/{name}", self.asset)

    async def home(self, _: web.Request) -> web.StreamResponse:
        """The first page; Settings has no other yet."""
        raise web.HTTPSeeOther(TOKENS)

    async def tokens(self, request: web.Request, visitor: Visitor) -> web.StreamResponse:
        """The list of the visitor's own tokens."""
        return await self._listing(request, visitor, TOKENS, visitor.session.principal.subject)

    async def owners(self, request: web.Request, visitor: Visitor) -> web.StreamResponse:
        """Everybody's tokens, for admins."""
        _demand_admin(visitor)
        return await self._listing(request, visitor, OWNERS, request.query.get("owner") or None)

    async def new_token(self, request: web.Request, visitor: Visitor) -> web.StreamResponse:
        """The form. ``like`` names a token that it is filled in from, ``grants`` says what is ticked instead, ``add`` what besides; with ``replace`` the
        new one takes the old one's place."""
        query = request.query
        like = await visitor.issuance.get(query["like"]) if query.get("like") else None
        levels = {} if like is None else dict(parse_grants(like.grants).levels)
        if "grants" in query:
            levels = levels_of(query["grants"])
        added = levels_of(query.get("add", ""))
        levels |= {scope: max(level, levels.get(scope, 0)) for scope, level in added.items()}
        principal, policy = visitor.session.principal, self._policy()
        facts = {
            "like": like,
            "owner": like.owner if like is not None and like.owner != principal.subject else "",
            "like_is_live": like is not None and like.state_at(visitor.issuance.now_ms()) in {ACTIVE, SUSPENDED},
            "replaces": "replace" in query,
            "full": like is not None and like.access == "full" and "grants" not in query and not added,
            "scopes": choices(policy, None if principal.grants is None else principal.grants.levels, levels, first_calls(policy)),
            "added": [policy.scopes[scope].title for scope in added if scope in policy.scopes],
            "days": policy.default_expiry_days if like is None else days_of(like, policy.max_expiry_days),
            "max_days": policy.max_expiry_days,
            "gateway_url": self._gateway_url,
        }
        return self._page(request, "new_token.html", facts, visitor.session)

    async def token(self, request: web.Request, visitor: Visitor) -> web.StreamResponse:
        """One token, ended ones too."""
        record = await visitor.issuance.get(request.match_info["id"])
        now_ms = visitor.issuance.now_ms()
        shown = view(record, now_ms, self._policy())
        reused = None if shown.reuse is None else moment(unix_ms(shown.reuse["at"]), now_ms)
        replacement = await self._seen(visitor, shown.replaced_by)
        return self._page(request, "token.html", {"token": shown, "reused": reused, "replacement": replacement}, visitor.session)

    async def audit(self, request: web.Request, visitor: Visitor) -> web.StreamResponse:
        """The audit trail, for admins; its entries come from the API."""
        _demand_admin(visitor)
        return self._page(request, "audit.html", {"actions": ACTIONS}, visitor.session)

    async def signed_out(self, request: web.Request) -> web.StreamResponse:
        """After signing out."""
        return self._page(request, "signed_out.html", {"left": True}, None)

    async def asset(self, request: web.Request) -> web.StreamResponse:
        """A style sheet or a script of ours."""
        path = self._assets.get(request.match_info["name"])
        if path is None:
            raise web.HTTPNotFound
        return web.FileResponse(path, headers={hdrs.CONTENT_TYPE: f"{_TYPES[path.suffix]}; charset=utf-8", hdrs.CACHE_CONTROL: "no-cache"})

    def problem(self, request: web.Request, problem: Problem, request_id: str) -> web.StreamResponse | None:
        """A refusal as a page, for browsers; None where a program asks."""
        if request.method not in {"GET", "HEAD"} or not _wants_html(request):
            return None
        plain = problem.response(request_id)
        response = self._page(request, "problem.html", {"problem": problem, "request_id": request_id}, None, plain.status)
        for name in ("Retry-After", "Allow", "WWW-Authenticate"):
            if name in plain.headers:
                response.headers[name] = plain.headers[name]
        return response

    def _for_visitors(self, show: Callable[[web.Request, Visitor], Awaitable[web.StreamResponse]]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handler(request: web.Request) -> web.StreamResponse:
            session = await self._callers.session(request)
            if session is None:
                return self._page(request, "signed_out.html", {"left": False}, None, status=401)
            return await show(request, Visitor(session, self._issuance.acting_for(replace(request[ACTOR], principal=session.principal))))

        return handler

    async def _listing(self, request: web.Request, visitor: Visitor, path: str, owner: str | None) -> web.StreamResponse:
        query = request.query
        state, q, cursor = query.get("state") or None, query.get("q", ""), query.get("cursor", "")
        page = await visitor.issuance.list(state=state, owner=owner, q=q, cursor=cursor, limit=PAGE)
        now_ms, policy = visitor.issuance.now_ms(), self._policy()
        asked = {"q": q, "state": state or "", **({"owner": owner or ""} if path == OWNERS else {})}
        kept = {name: value for name, value in asked.items() if value}
        facts = {
            "path": path,
            "tokens": [view(token, now_ms, policy) for token in page.items],
            "asked": asked,
            "filtered": bool(kept),
            "scanned": f"{SCANNED:,}",
            "all_owners": path == OWNERS,
            "newest": f"{path}?{urlencode(kept)}" if cursor else "",
            "older": f"{path}?{urlencode({**kept, 'cursor': page.next})}" if page.next else "",
        }
        return self._page(request, "tokens.html", facts, visitor.session)

    async def _seen(self, visitor: Visitor, token_id: str) -> TokenRecord | None:
        """Another token, where there is one that the visitor may see."""
        try:
            return await visitor.issuance.get(token_id) if token_id else None
        except IssuanceRefused:
            return None

    def _page(self, request: web.Request, template: str, facts: dict[str, Any], session: BrowserSession | None, status: int = 200) -> web.Response:
        principal = None if session is None else session.principal
        response = aiohttp_jinja2.render_template(template, request, {"principal": principal, "here": request.path, **facts}, status=status)
        ancestors = self._callers.frame_ancestors(session)
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; form-action 'self'; "
            f"base-uri 'none'; frame-ancestors {ancestors}"
        )
        response.headers["Referrer-Policy"] = "same-origin"
        return response


def _demand_admin(visitor: Visitor) -> None:
    if not visitor.session.principal.admin:
        raise Problem("admin_only", "This page is for admins: your own tokens are under API Integration.")


def _wants_html(request: web.Request) -> bool:
    return "text/html" in request.headers.get(hdrs.ACCEPT, "") and not request.path.startswith(("/api/", "/oauth2/"))
