"""A token's record as JSON, alike for command line and API. Times are RFC 3339 in UTC."""

from __future__ import annotations

import datetime as dt
from typing import Any

from gateway.core.policy import Policy
from gateway.core.scope import MANAGE
from gateway.core.token_record import TokenRecord
from gateway.ports import Reach


def record_json(record: TokenRecord, now_ms: int, policy: Policy | None) -> dict[str, Any]:
    """The record at ``now_ms`` (the store's time): its state as people are shown it and, of a full token, how many scopes of ``policy`` came later."""
    shown: dict[str, Any] = {
        "id": record.id,
        "name": record.name,
        "owner": record.owner,
        "access": record.access,
        "grants": list(record.grants),
        "policy_scopes": list(record.policy_scopes),
        "created_at": rfc3339(record.created_at),
        "expires_at": rfc3339(record.expires_at),
        "state": record.state_at(now_ms),
        "version": record.version,
        "regenerated_at": None if record.regenerated_at is None else rfc3339(record.regenerated_at),
        "last_used_at": None if record.last_used_at is None else rfc3339(record.last_used_at),
        "last_used_from": record.last_used_from,
        "reuse": None if record.reuse is None else {"at": rfc3339(record.reuse.at), "from": record.reuse.address, "kind": record.reuse.kind},
        "replaced_by": record.replaced_by,
        "allowed_ips": list(record.allowed_ips),
        "description": record.description,
    }
    if record.access == "full" and policy is not None:
        shown["scopes_added_since"] = scopes_added_since(record, policy)
    return shown


def scopes_added_since(record: TokenRecord, policy: Policy) -> int:
    """How many scopes of the policy a token made with full access does not hold: those that came after it."""
    levels = dict.fromkeys(record.policy_scopes, MANAGE)
    return sum(1 for scope in policy.scopes.values() if not scope.held_by(levels, record.created_at))


def rfc3339(ms: int) -> str:
    """Unix milliseconds as ``2026-11-25T03:43:14Z``."""
    return dt.datetime.fromtimestamp(ms // 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def reach_in_words(reach: Reach, *, overlap: bool = False) -> str:
    """How far a change has got, for a person: it holds everywhere in any case. With an overlap the old secret's end has yet to come."""
    nodes, confirmed = reach
    held = "the old secret works until the overlap ends, then nowhere" if overlap else "ended everywhere"
    if not nodes:
        return f"{held}; no node was deciding from memory"
    if confirmed == nodes:
        return f"{held}; {'the node has' if nodes == 1 else f'all {nodes} nodes have'} confirmed"
    missing = nodes - confirmed
    others = "the node" if nodes == 1 else "the other" if missing == 1 else f"the other {missing}"
    return f"{held}; {confirmed} of {nodes} nodes confirmed, {others} had stopped deciding from memory"
