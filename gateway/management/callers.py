"""Who calls: an admin by the key, a user by a JWT, either by a browser session. Every way in ends in one Principal."""

from __future__ import annotations

import hmac
from collections.abc import Collection
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from gateway.core.credential import read_bearer
from gateway.core.decision import Denial
from gateway.core.principal import ADMIN_KEY, SESSION, Principal
from gateway.flow.issuance import OPERATOR
from gateway.flow.sign_in import SignIn
from gateway.management.problem import Problem
from gateway.management.user_tokens import UserTokens, looks_like_jwt
from gateway.ports import BrowserSession
from gateway.settings import Secret

COOKIE: Final = "scopegate-session"
SECURE_COOKIE: Final = "__Host-scopegate-session"  # RFC 6265bis: only by https, and for this host alone
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Callers:
    """``public_url`` is where browsers reach the port, "" where they use its own address; ``embed_origins`` may show its pages in a frame."""

    def __init__(self, admin_key: Secret, users: UserTokens, sign_in: SignIn, public_url: str = "", embed_origins: Collection[str] = ()) -> None:
        self.embed_origins = frozenset(embed_origins)
        self._key: Final = admin_key.reveal().encode()
        self._users = users
        self._sign_in = sign_in
        self._public_url = public_url
        self._public = urlsplit(public_url)

    async def caller(self, request: web.Request) -> Principal:
        """Who calls the API. Problem where nobody proves to be anybody."""
        fields = [value.encode("utf-8", "surrogateescape") for value in request.headers.getall(hdrs.AUTHORIZATION, [])]
        if not fields:
            session = await self.session(request)
            if session is not None:
                self.check_origin(request)
                return replace(session.principal, via=SESSION)
        sent = read_bearer(fields)
        if isinstance(sent, Denial):
            if sent.reason.code == "credential_ambiguous":
                raise Problem("credential_ambiguous", sent.detail)
            raise Problem("admin_key_missing", "Send the admin key, or a user's JWT, as Authorization: Bearer …")
        if hmac.compare_digest(sent.encode(), self._key):
            return Principal(OPERATOR, admin=True, via=ADMIN_KEY)
        if looks_like_jwt(sent):
            return await self._users.principal(sent)
        raise Problem("admin_key_wrong", "This is not the admin key of this gateway.")

    async def session(self, request: web.Request) -> BrowserSession | None:
        """The browser session whose cookie came along, if it has not ended."""
        session_id = self.session_id(request)
        return await self._sign_in.who(session_id) if session_id else None

    def session_id(self, request: web.Request) -> str:
        """The session's id in the cookie, "" where there is none."""
        return request.cookies.get(SECURE_COOKIE if self.is_secure else COOKIE, "")

    def base(self, request: web.Request) -> str:
        """Where our pages are for this caller, without a final slash. The guard has checked the Host."""
        return self._public_url or f"http://{request.headers.get(hdrs.HOST, '')}"

    @property
    def is_secure(self) -> bool:
        """Whether browsers come by https."""
        return self._public.scheme == "https"

    def check_origin(self, request: web.Request) -> None:
        """Problem for a change that a page of another origin asks for: a browser says whose page it is (Origin, Sec-Fetch-Site), and sends the cookie
        whoever's it is."""
        if request.method in _READS:
            return
        origin = request.headers.get(hdrs.ORIGIN, "")
        if origin not in self.origins(request) or request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise Problem("origin_refused", "Only the gateway's own pages may ask for this with a signed-in browser.")

    def origins(self, request: web.Request) -> frozenset[str]:
        """Where our own pages are: the public address, and the Host that was used, which the guard has checked."""
        own = f"http://{request.headers.get(hdrs.HOST, '').lower()}"
        return frozenset({own, f"{self._public.scheme}://{self._public.netloc}"} if self._public.netloc else {own})

    def set_cookie(self, response: web.StreamResponse, session_id: str, session: BrowserSession) -> None:
        """Hand a session to the browser. In the frame of another origin's page only a partitioned cookie comes back (CHIPS)."""
        name = SECURE_COOKIE if self.is_secure else COOKIE
        across = bool(session.embedded) and self.is_secure
        response.set_cookie(
            name,
            session_id,
            path="/",
            httponly=True,
            secure=self.is_secure,
            samesite="None" if across else "Strict",
            max_age=12 * 3600,
            partitioned=across or None,
        )

    def drop_cookie(self, response: web.StreamResponse) -> None:
        """Have the browser forget its session."""
        response.del_cookie(SECURE_COOKIE if self.is_secure else COOKIE, path="/", secure=self.is_secure, httponly=True, samesite="Strict")
