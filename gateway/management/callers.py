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
from gateway.flow.sign_in import ERRAND_MS, SESSION_MS, SignIn
from gateway.management.problem import Problem
from gateway.management.user_tokens import UserTokens, looks_like_jwt
from gateway.ports import BrowserSession
from gateway.settings import Secret

COOKIE: Final = "scopegate-session"
SECURE_COOKIE: Final = "__Host-scopegate-session"  # RFC 6265bis: only by https, and for this host alone
ERRAND_COOKIE: Final = "scopegate-errand"
SECURE_ERRAND_COOKIE: Final = "__Host-scopegate-errand"
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_READS: Final = (["same-origin"], ["none"])  # none: somebody typed the address


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
            if self.session_id(request):
                raise Problem("admin_key_missing", "The browser's session has ended: sign in again.")
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
        """Problem for what a page of another origin asks for: a browser says whose page it is (Origin, Sec-Fetch-Site), and sends the cookie whoever's it
        is. A change needs a matching Origin; a read, whose answer another's page could not see, at least no word that it is another's."""
        fetched_by = request.headers.getall("Sec-Fetch-Site", [])
        if request.method in _READS:
            allowed = not fetched_by or fetched_by in _OWN_READS
        else:
            allowed = request.headers.getall(hdrs.ORIGIN, []) == [self.origin(request)] and (not fetched_by or fetched_by == ["same-origin"])
        if not allowed:
            raise Problem("origin_refused", "Only the gateway's own pages may ask for this with a signed-in browser.")

    def origin(self, request: web.Request) -> str:
        """Where our own pages are: the public address, else the Host that was used, which the guard has checked."""
        return self.base(request).lower()

    def frame_ancestors(self, session: BrowserSession | None) -> str:
        """Who may show a page in a frame (CSP): of a session that began in a frame, the page around it; of nobody's, all that may begin one so."""
        framing = self.embed_origins if session is None else {session.embedded} & self.embed_origins
        return " ".join(("'self'", *sorted(framing))) if framing else "'none'"

    def set_cookie(self, response: web.StreamResponse, session_id: str, session: BrowserSession) -> None:
        """Hand a session to the browser. In the frame of another origin's page only a partitioned cookie comes back (CHIPS)."""
        self._session_cookie(response, session_id, SESSION_MS // 1000, across=bool(session.embedded))

    def drop_cookie(self, response: web.StreamResponse, session: BrowserSession | None) -> None:
        """Have the browser forget its session."""
        self._session_cookie(response, "", 0, across=session is not None and bool(session.embedded))

    def _session_cookie(self, response: web.StreamResponse, value: str, max_age_s: int, *, across: bool) -> None:
        site = "SameSite=None; Partitioned" if across and self.is_secure else "SameSite=Strict"
        self._add_cookie(response, SECURE_COOKIE if self.is_secure else COOKIE, value, max_age_s, site)

    def set_errand(self, response: web.StreamResponse, errand_id: str) -> None:
        """Hand a browser what its answer from the provider is known by; "" takes it back. Lax: the provider's page leads here."""
        name = SECURE_ERRAND_COOKIE if self.is_secure else ERRAND_COOKIE
        self._add_cookie(response, name, errand_id, ERRAND_MS // 1000 if errand_id else 0, "SameSite=Lax")

    def errand_id(self, request: web.Request) -> str:
        """What ``set_errand`` gave this browser, "" where there is none."""
        return request.cookies.get(SECURE_ERRAND_COOKIE if self.is_secure else ERRAND_COOKIE, "")

    def _add_cookie(self, response: web.StreamResponse, name: str, value: str, max_age_s: int, site: str) -> None:
        # Written here: the cookies of Python before 3.14, and so aiohttp's, know no Partitioned.
        secure = "; Secure" if self.is_secure else ""
        response.headers.add(hdrs.SET_COOKIE, f"{name}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; {site}{secure}")
