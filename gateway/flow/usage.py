"""What a token was used for, told to its owner: by day, by route, by scope, and what it holds without need."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any, Final

from gateway.core.policy import Policy
from gateway.core.scope import ACCESS_LEVELS, ACCESS_NAMES, parse_grants
from gateway.core.token_record import TokenRecord
from gateway.flow.token_json import rfc3339
from gateway.ports import Refusal, Usage

DAYS: Final = 30


def usage_json(record: TokenRecord, usage: Usage, policy: Policy) -> dict[str, Any]:
    """The last 30 days, oldest first. ``unused_scopes`` are of the token's grants; ``narrowed_grants`` are what would have been enough, in the policy's
    order, of the scopes that the policy still has."""
    days = range(usage.today - DAYS + 1, usage.today + 1)
    by_day: Counter[int] = Counter()
    by_route: Counter[tuple[str, str, str]] = Counter()
    by_scope: Counter[tuple[str, str]] = Counter()
    last_day: dict[tuple[str, str, str], int] = {}
    for day, access, scope, route, requests in usage.routes:
        by_day[day] += requests
        by_route[route, scope, access] += requests
        by_scope[scope, access] += requests
        last_day[route, scope, access] = max(day, last_day.get((route, scope, access), 0))
    used: dict[str, int] = {}  # scope -> the widest access that was asked for
    for scope, access in by_scope:
        used[scope] = max(used.get(scope, 0), ACCESS_LEVELS[access])
    return {
        "token_id": record.id,
        "last_used_at": None if record.last_used_at is None else rfc3339(record.last_used_at),
        "last_used_from": record.last_used_from,
        "days": [{"day": _date(day), "requests": by_day[day], "refused": usage.refused.get(day, 0)} for day in days],
        "routes": [
            {"route": route, "scope": scope, "access": access, "requests": requests, "last_day": _date(last_day[route, scope, access])}
            for (route, scope, access), requests in by_route.most_common()
        ],
        "scopes": [{"scope": scope, "view": by_scope[scope, "view"], "manage": by_scope[scope, "manage"]} for scope in sorted(used) if scope],
        "unused_scopes": [scope for scope in parse_grants(record.grants).levels if not _serves(scope, used, policy)],
        "narrowed_grants": [f"{scope}:{ACCESS_NAMES[used[scope]]}" for scope in policy.scopes if scope in used],
    }


def refusals_json(refusals: list[Refusal]) -> dict[str, Any]:
    """The refusals, in the order given."""
    return {"items": [{**refusal._asdict(), "at": rfc3339(refusal.at)} for refusal in refusals]}


def _serves(held: str, used: dict[str, int], policy: Policy) -> bool:
    """Whether a scope that a token holds was used, by its own id or by that of a scope that was it once."""
    return held in used or any(held in policy.scopes[scope].was for scope in used if scope in policy.scopes)


def _date(day: int) -> str:
    return (dt.date(1970, 1, 1) + dt.timedelta(days=day)).isoformat()
