"""Signing in in a browser: a one-time link leads to a session, which lasts for twelve hours unless it is ended before.

Or it leads there from an OpenID provider: what ties its answer to the browser that asked is all made of one random id, which only that browser has.

Ids and codes are 256 random bits each. The store has their digests only, so neither its files nor its backups let anybody in.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Final, NamedTuple

from gateway.core.audit import AuditEntry
from gateway.core.principal import NOBODY, Actor, Principal
from gateway.ports import BrowserSession, SessionStore

SIGN_IN: Final = "/sign-in"  # and a link's code behind a slash
SESSION_MS: Final = 12 * 3_600_000
LINK_MS: Final = 5 * 60_000
ERRAND_MS: Final = 10 * 60_000  # how long one may take at the provider
_LONGEST: Final = 128


class Errand(NamedTuple):
    """A way to an OpenID provider and back. ``id`` stays with the browser; ``state`` comes back with the answer, ``nonce`` in the ID token, and only with
    ``verifier`` is the code worth anything (RFC 7636)."""

    id: str
    state: str
    nonce: str
    verifier: str

    @classmethod
    def of(cls, errand_id: str) -> Errand:
        """The errand of this id."""
        return cls(errand_id, *(_derived(errand_id, purpose) for purpose in ("state", "nonce", "verifier")))


class SignIn:
    """Every method may raise StoreUnavailable, with ``written`` where the change may have been made. What begins and ends is noted in the audit log in the
    same step, as done ``by`` somebody."""

    def __init__(self, sessions: SessionStore, random_text: Callable[[], str] = lambda: secrets.token_urlsafe(32)) -> None:
        self._sessions = sessions
        self._random = random_text

    async def offer(self, principal: Principal, embedded: str = "", by: Actor = NOBODY) -> str:
        """The code of a link that signs this principal in, once, within five minutes. ``embedded``: in a frame of a page of this origin."""
        code = self._random()
        entry = AuditEntry("link.offer", by, owner=principal.subject, details=_frame(embedded))
        await self._sessions.offer(_digest(code), BrowserSession(principal, embedded, 0, 0), LINK_MS, entry)
        return code

    async def enter(self, code: str, by: Actor = NOBODY, before: str = "") -> tuple[str, BrowserSession] | None:
        """The id of a new session, and the session, for a link's code; None where it was used or is too old. ``before`` is the id of the browser's session
        until now, which ends with it."""
        found = await self._sessions.offered(_digest(code)) if 0 < len(code) <= _LONGEST else None
        if found is None:
            return None
        entered, opened = await self._open(found.principal, found.embedded, by, before, _digest(code))
        return entered if opened else None

    async def admit(self, principal: Principal, by: Actor = NOBODY, before: str = "") -> tuple[str, BrowserSession]:
        """A new session for one who has proved who it is."""
        return (await self._open(principal, "", by, before))[0]

    async def _open(self, principal: Principal, embedded: str, by: Actor, before: str, link: bytes = b"") -> tuple[tuple[str, BrowserSession], bool]:
        """What there is of a session, and whether it was opened: not where the link had been used up meanwhile."""
        session_id, session = self._random(), BrowserSession(principal, embedded, 0, SESSION_MS)
        entry = AuditEntry("session.sign_in", replace(by, principal=principal), owner=principal.subject, details=_frame(embedded))
        ended = _digest(before) if 0 < len(before) <= _LONGEST else b""
        opened = await self._sessions.open(_digest(session_id), session, entry, link=link, before=ended)
        return (session_id, session), opened

    def errand(self) -> Errand:
        """A new way to a provider and back."""
        return Errand.of(self._random())

    async def back(self, errand_id: str, state: str) -> Errand | None:
        """The errand with whose state a browser comes back, once; None the second time, and where the state is another's."""
        errand = Errand.of(errand_id)
        if not 0 < len(errand_id) <= _LONGEST or not hmac.compare_digest(state.encode("utf-8", "replace"), errand.state.encode()):
            return None
        return errand if await self._sessions.once(_digest(errand_id), 2 * ERRAND_MS) else None

    async def who(self, session_id: str) -> BrowserSession | None:
        """The session of this id, if it has not ended."""
        return await self._sessions.find(_digest(session_id)) if 0 < len(session_id) <= _LONGEST else None

    async def leave(self, session_id: str, by: Actor = NOBODY) -> int:
        """End one session; how many there were."""
        entry = AuditEntry("session.sign_out", by, owner=by.principal.subject, details={"everywhere": 0})
        return await self._sessions.end(_digest(session_id), entry) if 0 < len(session_id) <= _LONGEST else 0

    async def leave_everywhere(self, subject: str, by: Actor = NOBODY) -> int:
        """End all sessions of a subject, and its unused links; how many sessions there were."""
        return await self._sessions.end_all(subject, AuditEntry("session.sign_out", by, owner=subject, details={"everywhere": 1}))


def _frame(embedded: str) -> dict[str, str | int]:
    return {"embedded_in": embedded} if embedded else {}


def _derived(errand_id: str, purpose: str) -> str:
    """43 characters that tell nothing of the id, nor of each other."""
    return urlsafe_b64encode(hmac.digest(errand_id.encode("utf-8", "replace"), purpose.encode(), "sha256")).rstrip(b"=").decode()


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "replace")).digest()
