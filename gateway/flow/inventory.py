"""What auditors ask of the tokens there are: whose, for what, how old, how long unused, and which can do everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from gateway.core.scope import MANAGE, parse_grants
from gateway.core.token_record import ACTIVE, EXPIRED, REVOKED, SUSPENDED, TokenRecord
from gateway.flow.token_json import rfc3339

DAY_MS: Final = 86_400_000
UNUSED_DAYS: Final = 90
_STEPS: Final = (7, 30, 90, 365)  # days


def inventory(records: Iterable[TokenRecord], now_ms: int) -> dict[str, Any]:
    """The facts at ``now_ms`` (the store's time). But for ``states`` and ``owners`` they are of living tokens: active or suspended."""
    every = list(records)
    states = Counter(record.state_at(now_ms) for record in every)
    living = [record for record in every if record.state_at(now_ms) in {ACTIVE, SUSPENDED}]
    full = [record for record in living if record.access == "full"]
    unused = [record for record in living if now_ms - (record.last_used_at or record.created_at) >= UNUSED_DAYS * DAY_MS]
    return {
        "states": {state: states[state] for state in (ACTIVE, SUSPENDED, REVOKED, EXPIRED)},
        "owners": _by_owner(every, now_ms),
        "scopes": _by_scope(living),
        "ages": _by_days(living, now_ms, lambda record: record.created_at),
        "last_used": _by_days(living, now_ms, lambda record: record.last_used_at),
        "unused": [_short(record) for record in unused],
        "full": [_short(record) for record in full],
    }


def _by_owner(records: Sequence[TokenRecord], now_ms: int) -> list[dict[str, Any]]:
    living: Counter[str] = Counter()
    full: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for record in records:
        if record.state_at(now_ms) in {ACTIVE, SUSPENDED}:
            living[record.owner] += 1
            full[record.owner] += record.access == "full"
        else:
            ended[record.owner] += 1
    return [{"owner": owner, "living": living[owner], "full": full[owner], "ended": ended[owner]} for owner in sorted({*living, *ended})]


def _by_scope(records: Iterable[TokenRecord]) -> list[dict[str, Any]]:
    view: Counter[str] = Counter()
    manage: Counter[str] = Counter()
    for record in records:
        for scope, level in parse_grants(record.grants).levels.items():
            (manage if level == MANAGE else view)[scope] += 1
    return [{"scope": scope, "view": view[scope], "manage": manage[scope]} for scope in sorted({*view, *manage})]


def _by_days(records: Iterable[TokenRecord], now_ms: int, since: Callable[[TokenRecord], int | None]) -> dict[str, int]:
    """How many began within so many days; ``never`` where there was no such moment."""
    counts = {**{f"within_{days}_days": 0 for days in _STEPS}, "longer": 0, "never": 0}
    for record in records:
        moment = since(record)
        if moment is None:
            counts["never"] += 1
            continue
        step = next((days for days in _STEPS if now_ms - moment < days * DAY_MS), None)
        counts["longer" if step is None else f"within_{step}_days"] += 1
    return counts


def _short(record: TokenRecord) -> dict[str, Any]:
    used = record.last_used_at
    return {
        "id": record.id,
        "owner": record.owner,
        "name": record.name,
        "created_at": rfc3339(record.created_at),
        "last_used_at": None if used is None else rfc3339(used),
    }
