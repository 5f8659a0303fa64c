"""A token's stored forms and its records in memory.

The live value is a JSON array that the scripts put together from the fields of the info hash; ``facts`` is its constant tail, written
as JSON here, so that no script needs to encode text.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from sys import intern
from typing import Any, Final, NamedTuple

import msgspec

from gateway.core.scope import GrantSet, parse_grants
from gateway.core.token_record import LiveRecord, Reuse, TokenRecord
from gateway.ports import TokenDraft

Networks = tuple[IPv4Network | IPv6Network, ...]
_SHARED: Final = 4096  # of each kind that are kept for sharing


class _Live(msgspec.Struct, array_like=True, gc=False):
    id: str
    version: int
    state: str
    created_at: int
    expires_at: int
    digest: bytes  # base64 in JSON
    previous: bytes
    overlap_until: int
    owner: str
    grants: str
    allowed_ips: str


_DECODER: Final = msgspec.json.Decoder(_Live)


class LiveReader:
    """Live values -> LiveRecord. Equal grant sets, address lists, owners and states are one object, in memory once."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}
        self._grants: dict[str, GrantSet] = {}
        self._networks: dict[str, Networks] = {"": ()}

    def read(self, value: bytes) -> LiveRecord:
        """ValueError (msgspec's among them) where the value is not one that a script of ours wrote."""
        live = _DECODER.decode(value)
        grants = self._grants.get(live.grants)
        if grants is None:
            if len(self._grants) >= _SHARED:
                self._grants.clear()
            grants = self._grants[live.grants] = parse_grants(live.grants.split())
        networks = self._networks.get(live.allowed_ips)
        if networks is None:
            if len(self._networks) >= _SHARED:
                self._networks = {"": ()}
            networks = self._networks[live.allowed_ips] = tuple(ip_network(text) for text in live.allowed_ips.split())
        if len(self._owners) >= _SHARED:
            self._owners.clear()
        owner, state = self._owners.setdefault(live.owner, live.owner), intern(live.state)
        return LiveRecord(
            live.id, owner, grants, state, live.created_at, live.expires_at, live.version, live.digest, live.previous, live.overlap_until, networks
        )


def stored_digest(digest: bytes) -> str:
    """A digest as the fields and the live value hold it."""
    return b64encode(digest).decode()


def draft_fields(draft: TokenDraft) -> Iterator[str]:
    """Names and values of the info fields that a draft sets, in turn."""
    grants, ips = " ".join(draft.grants), " ".join(draft.allowed_ips)
    facts = msgspec.json.encode((draft.owner, grants, ips))[1:-1].decode()
    fields = {
        "id": draft.id,
        "digest": stored_digest(draft.digest),
        "name": draft.name,
        "owner": draft.owner,
        "access": draft.access,
        "grants": grants,
        "policy_scopes": " ".join(draft.policy_scopes),
        "allowed_ips": ips,
        "description": draft.description,
        "facts": facts,
    }
    for name, value in fields.items():
        yield name
        yield value


PLAIN_FIELDS: Final = ("id", "name", "owner", "access", "grants", "policy_scopes", "created_at", "expires_at", "state", "version", "allowed_ips", "description")


def read_plain(values: Sequence[bytes]) -> TokenRecord:
    """The record from an HMGET reply for ``PLAIN_FIELDS``: without when it was regenerated or replaced."""
    token_id, name, owner, access, grants, scopes, created_at, expires_at, state, version, allowed_ips, description = (value.decode() for value in values)
    return TokenRecord(
        id=token_id,
        name=name,
        owner=owner,
        access=access,
        grants=tuple(grants.split()),
        policy_scopes=tuple(scopes.split()),
        created_at=int(created_at),
        expires_at=int(expires_at),
        state=state,
        version=int(version),
        allowed_ips=tuple(allowed_ips.split()),
        description=description,
    )


class Use(NamedTuple):
    """What is kept of a token's use beside its record."""

    last_at: int | None = None
    last_from: str | None = None
    reuse: Reuse | None = None


def read_use(score: bytes | None, address: bytes | None, reuse: bytes | None) -> Use:
    """The replies of the store as a Use. msgspec.MsgspecError where a mark of reuse is not one of ours."""
    return Use(
        None if score is None else int(score),
        None if address is None else address.decode(),
        None if reuse is None else msgspec.json.decode(reuse, type=Reuse),
    )


def read_info(flat: Sequence[bytes], use: Use = Use()) -> TokenRecord | None:  # noqa: B008 - it never changes
    """The record from an HGETALL reply (field, value, field, …); None where the hash is not there."""
    if not flat:
        return None
    fields: dict[str, Any] = {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}
    return TokenRecord(
        id=fields["id"],
        name=fields["name"],
        owner=fields["owner"],
        access=fields["access"],
        grants=tuple(fields["grants"].split()),
        policy_scopes=tuple(fields["policy_scopes"].split()),
        created_at=int(fields["created_at"]),
        expires_at=int(fields["expires_at"]),
        state=fields["state"],
        version=int(fields["version"]),
        regenerated_at=int(fields["regenerated_at"]) if "regenerated_at" in fields else None,
        last_used_at=use.last_at,
        last_used_from=use.last_from,
        reuse=use.reuse,
        replaced_by=fields.get("replaced_by"),
        allowed_ips=tuple(fields["allowed_ips"].split()),
        description=fields["description"],
    )
