"""On whose behalf a call is made, and what it may be used for: one table for every kind of caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.core.scope import GrantSet

ADMIN_KEY: Final = "admin_key"
JWT: Final = "jwt"
SESSION: Final = "session"
HOLDER: Final = "holder"  # whoever has a token's secret may end it
COMMAND: Final = "command"  # the command line, on the store itself
PROCESS: Final = "process"  # the gateway by itself, of what it has seen
REPLACEMENT: Final = "replacement"  # the gateway, when the token that takes another's place is first used


@dataclass(frozen=True, slots=True)
class Principal:
    """``subject`` is the owner of what it makes; ``admin``: sees and changes everybody's. ``grants`` are what it may give to a token at most, None for
    all that the policy has. ``via`` is how it proved itself."""

    subject: str
    admin: bool
    via: str
    grants: GrantSet | None = None

    def sees(self, owner: str) -> bool:
        """Whether tokens of this owner are there for it at all."""
        return self.admin or owner == self.subject

    def beyond(self, grants: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the grants (SCOPE:view or SCOPE:manage) that it may not give."""
        if self.grants is None:
            return ()
        held = self.grants
        return tuple(grant for grant in grants if not held.includes(grant))


@dataclass(frozen=True, slots=True)
class Actor:
    """A principal at work: from which address, and with which request ("" where there is none)."""

    principal: Principal
    address: str = ""
    request_id: str = ""


ON_ITS_OWN: Final = Actor(Principal("gateway", admin=True, via=PROCESS))
NOBODY: Final = Actor(Principal("", admin=False, via="", grants=GrantSet({})))
