"""Signing in in a browser: a one-time link leads to a session, which lasts for twelve hours unless it is ended before.

Ids and codes are 256 random bits each. The store has their digests only, so neither its files nor its backups let anybody in.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from gateway.core.principal import Principal
from gateway.ports import BrowserSession, SessionStore

SIGN_IN: Final = "/sign-in"  # and a link's code behind a slash
SESSION_MS: Final = 12 * 3_600_000
LINK_MS: Final = 5 * 60_000
_LONGEST: Final = 128


class SignIn:
    """Every method may raise StoreUnavailable."""

    def __init__(self, sessions: SessionStore, random_text: Callable[[], str] = lambda: secrets.token_urlsafe(32)) -> None:
        self._sessions = sessions
        self._random = random_text

    async def offer(self, principal: Principal, embedded: str = "") -> str:
        """The code of a link that signs this principal in, once, within five minutes. ``embedded``: in a frame of a page of this origin."""
        code = self._random()
        await self._sessions.offer(_digest(code), BrowserSession(principal, embedded, 0, 0), LINK_MS)
        return code

    async def enter(self, code: str) -> tuple[str, BrowserSession] | None:
        """The id of a new session, and the session, for a link's code; None where it was used or is too old."""
        found = await self._sessions.take(_digest(code)) if 0 < len(code) <= _LONGEST else None
        return None if found is None else await self.admit(found.principal, found.embedded)

    async def admit(self, principal: Principal, embedded: str = "") -> tuple[str, BrowserSession]:
        """A new session for one who has proved who it is."""
        session_id, session = self._random(), BrowserSession(principal, embedded, 0, SESSION_MS)
        await self._sessions.open(_digest(session_id), session)
        return session_id, session

    async def who(self, session_id: str) -> BrowserSession | None:
        """The session of this id, if it has not ended."""
        return await self._sessions.find(_digest(session_id)) if 0 < len(session_id) <= _LONGEST else None

    async def leave(self, session_id: str) -> None:
        """End one session."""
        if 0 < len(session_id) <= _LONGEST:
            await self._sessions.end(_digest(session_id))

    async def leave_everywhere(self, subject: str) -> int:
        """End all sessions of a subject; how many there were."""
        return await self._sessions.end_all(subject)


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "replace")).digest()
