"""What is stored of a token.

TokenRecord is the whole record, as people and the API see it. LiveRecord is what a decision needs, small, without a name.
Neither holds the secret; digests are SHA-256 of the token's text and never shown.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

import msgspec

from gateway.core.scope import GrantSet

ACTIVE = "active"
SUSPENDED = "suspended"
REVOKED = "revoked"
EXPIRED = "expired"  # derived, never stored


class LiveRecord(msgspec.Struct, frozen=True, gc=False, repr_omit_defaults=True):
    """The facts of one token that a decision needs. Times are Unix milliseconds of the store's clock.

    ``digest`` and ``previous`` are SHA-256 digests (32 bytes; b"" where there is none). The previous secret works until
    ``overlap_until``. ``state`` is active, suspended or revoked; expiry is judged at each decision.
    """

    id: str
    owner: str
    grants: GrantSet
    state: str
    created_at: int
    expires_at: int
    version: int
    digest: bytes
    previous: bytes = b""
    overlap_until: int = 0
    allowed_ips: tuple[IPv4Network | IPv6Network, ...] = ()

    def __repr__(self) -> str:
        return f"LiveRecord(id={self.id!r}, owner={self.owner!r}, state={self.state!r}, grants={self.grants.text!r}, version={self.version})"


class Reuse(msgspec.Struct, frozen=True, array_like=True):
    """The last use of a secret that had ended: when (Unix milliseconds), from which address, and whether the token was "regenerated" or "revoked"."""

    at: int
    address: str
    kind: str


class TokenRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The whole record of a token. Field names and order are those of the API's JSON; times are RFC 3339 in UTC there,
    Unix milliseconds here. ``state`` is as stored: use ``state_at`` for what people are shown."""

    id: str
    name: str
    owner: str
    access: str  # "full" or "custom"
    grants: tuple[str, ...]  # of a full token: all of policy_scopes, each with manage
    policy_scopes: tuple[str, ...]  # all scopes that existed at birth
    created_at: int
    expires_at: int
    state: str
    version: int
    regenerated_at: int | None = None
    last_used_at: int | None = None
    last_used_from: str | None = None  # an address
    reuse: Reuse | None = None
    replaced_by: str | None = None  # the id of the token that takes this one's place
    allowed_ips: tuple[str, ...] = ()
    description: str = ""

    def state_at(self, now_ms: int) -> str:
        """What is shown: revoked before expired before suspended before active."""
        if self.state == REVOKED:
            return REVOKED
        return EXPIRED if now_ms >= self.expires_at else self.state
