"""What a person sees of a token: its state at a glance, what it may do, its times in words. Pure: the store's time is an argument."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final, NamedTuple

from gateway.core.policy import Policy
from gateway.core.scope import ACCESS_LEVELS, ACCESS_NAMES, MANAGE, parse_grants
from gateway.core.token_record import ACTIVE, EXPIRED, REVOKED, SUSPENDED, TokenRecord
from gateway.flow.token_json import record_json, rfc3339

DAY_MS: Final = 86_400_000
SOON_DAYS: Final = 14  # an end that is as near as this is told beside the state
_STEPS: Final = ((60_000, 1000, "second"), (3_600_000, 60_000, "minute"), (2 * DAY_MS, 3_600_000, "hour"), (1 << 62, DAY_MS, "day"))


class Moment(NamedTuple):
    """A time: for the machine (RFC 3339), for people (``28 Nov 2026, 12:01 UTC``, and its ``day`` alone), and as seen from now (``3 hours ago``)."""

    iso: str
    text: str
    day: str
    seen: str


class Held(NamedTuple):
    """A scope of a token: its title as the policy has it now (its id where the policy has none), and what the token may do there."""

    id: str
    title: str
    access: str


class TokenView(NamedTuple):
    """``tone`` is good, soon, paused or ended; ``facts`` is the record as the API tells it."""

    id: str
    name: str
    owner: str
    description: str
    state: str
    label: str
    tone: str
    full: bool
    added_since: int
    held: tuple[Held, ...]
    created: Moment
    expires: Moment
    regenerated: Moment | None
    last_used: Moment | None
    last_used_from: str
    allowed_ips: tuple[str, ...]
    replaced_by: str
    reuse: dict[str, Any] | None

    @property
    def may_regenerate(self) -> bool:
        """Only while it is active."""
        return self.state == ACTIVE

    @property
    def may_end(self) -> bool:
        """Whether there is anything left to revoke."""
        return self.state in {ACTIVE, SUSPENDED}


def view(record: TokenRecord, now_ms: int, policy: Policy) -> TokenView:
    """The token as seen at ``now_ms`` (Unix milliseconds, the store's time)."""
    facts = record_json(record, now_ms, policy)
    label, tone = _state(facts["state"], record.expires_at // DAY_MS - now_ms // DAY_MS)
    return TokenView(
        id=record.id,
        name=record.name,
        owner=record.owner,
        description=record.description,
        state=facts["state"],
        label=label,
        tone=tone,
        full=record.access == "full",
        added_since=facts.get("scopes_added_since", 0),
        held=held_in_words(record.grants, policy),
        created=moment(record.created_at, now_ms),
        expires=moment(record.expires_at, now_ms),
        regenerated=None if record.regenerated_at is None else moment(record.regenerated_at, now_ms),
        last_used=None if record.last_used_at is None else moment(record.last_used_at, now_ms),
        last_used_from=facts.get("last_used_from") or "",
        allowed_ips=record.allowed_ips,
        replaced_by=facts.get("replaced_by") or "",
        reuse=facts.get("reuse"),
    )


def held_in_words(grants: tuple[str, ...], policy: Policy) -> tuple[Held, ...]:
    """What grants give, in the policy's order; those of scopes that the policy does not have any more come last."""
    levels = dict(parse_grants(grants).levels)
    found = []
    for scope in policy.scopes.values():
        level = max((levels.pop(known, 0) for known in (scope.id, *scope.was)), default=0)
        if level:
            found.append(Held(scope.id, scope.title, ACCESS_NAMES[level]))
    return (*found, *(Held(scope, scope, ACCESS_NAMES[level]) for scope, level in levels.items()))


def days_of(record: TokenRecord, most: int) -> int:
    """For how many days a token was made, as far as the policy still has it."""
    return max(1, min(round((record.expires_at - record.created_at) / DAY_MS), most))


def moment(ms: int, now_ms: int) -> Moment:
    """Unix milliseconds for people."""
    at = dt.datetime.fromtimestamp(ms // 1000, dt.UTC)
    day = f"{at.day} {at:%b %Y}"
    return Moment(rfc3339(ms), f"{day}, {at:%H:%M} UTC", day, _seen(ms - now_ms))


def unix_ms(rfc3339_text: str) -> int:
    """Unix milliseconds of a time as the API tells it."""
    return int(dt.datetime.fromisoformat(rfc3339_text).timestamp() * 1000)


def _seen(away_ms: int) -> str:
    size = abs(away_ms)
    if size < 5000:
        return "just now"
    step, unit = next((step, unit) for limit, step, unit in _STEPS if size < limit)
    count = (size + step // 2) // step if away_ms > 0 else size // step  # a token of 30 days that was just made ends in 30 days
    words = f"{count} {unit}{'' if count == 1 else 's'}"
    return f"in {words}" if away_ms > 0 else f"{words} ago"


def _state(state: str, days: int) -> tuple[str, str]:
    """Label and tone; ``days`` is how many days of the calendar (UTC) the expiry is away."""
    if state in {REVOKED, EXPIRED}:
        return state.capitalize(), "ended"
    if state == SUSPENDED:
        return "Suspended", "paused"
    if days > SOON_DAYS:
        return "Active", "good"
    return ("Expires today" if days < 1 else f"Expires in {days} day{'' if days == 1 else 's'}"), "soon"


class Choice(NamedTuple):
    """One scope of the form. ``chosen`` is none, view or manage; ``most`` is the same: what the visitor may grant at most."""

    id: str
    title: str
    resources: tuple[str, ...]
    chosen: str
    most: str
    example: str


def choices(policy: Policy, most: dict[str, int] | None, chosen: dict[str, int], examples: dict[str, str]) -> list[Choice]:
    """The scopes in the policy's order. ``most`` are the levels that the visitor may grant, None for all; ``chosen`` is what is ticked from the start."""
    found = []
    for scope in policy.scopes.values():
        limit = MANAGE if most is None else most.get(scope.id, 0)
        level = min(limit, max(chosen.get(known, 0) for known in (scope.id, *scope.was)))
        found.append(Choice(scope.id, scope.title, scope.resources, _level(level), _level(limit), examples.get(scope.id, "")))
    return found


def _level(level: int) -> str:
    return ACCESS_NAMES.get(level, "none")


def levels_of(texts: str) -> dict[str, int]:
    """Levels from a link's ``worklogs:view,teams:manage``; what is no grant is left out, for a link is no order."""
    found: dict[str, int] = {}
    for text in texts.split(","):
        scope, _, access = text.partition(":")
        if access in ACCESS_LEVELS:
            found[scope] = max(found.get(scope, 0), ACCESS_LEVELS[access])
    return found
