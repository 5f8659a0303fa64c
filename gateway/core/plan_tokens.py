"""What a change of policy does to the tokens that are there: what each gains and loses.

Tokens that hold the same of the scopes concerned, and stand alike to every `since`, are judged once: there are many tokens and few kinds of them. The
judgement is that of the wire (``Rule.lets``), for the living ones only: active or suspended.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final, NamedTuple

from gateway.core.plan import Change, Plan, Rule
from gateway.core.policy import Policy
from gateway.core.scope import GrantSet, Scope, parse_grants
from gateway.core.token_record import ACTIVE, SUSPENDED, TokenRecord

_LIVING: Final = frozenset({ACTIVE, SUSPENDED})
_Effect = tuple[tuple[int, ...], tuple[int, ...]]  # of the kinds of change: those that let the token through anew, those that do so no more


class Named(NamedTuple):
    """A token as people are told of it."""

    id: str
    name: str
    owner: str


class Group(NamedTuple):
    """Tokens that gain and lose the same requests."""

    gains: tuple[Change, ...]
    losses: tuple[Change, ...]
    tokens: list[Named]


class Claim(NamedTuple):
    """A scope id that living tokens list though it means nothing in the old policy, or something else. ``scope`` is the new policy's scope that ``tokens`` of
    them come to hold by it; the newest was made at ``newest_ms`` (Unix milliseconds)."""

    id: str
    scope: str
    tokens: int
    newest_ms: int


class _Kind(NamedTuple):
    old: Rule
    new: Rule
    method: str
    changes: list[int]


class TokenEffects:
    """Takes tokens one after the other and gathers what the plan does to them."""

    def __init__(self, plan: Plan, old: Policy, new: Policy) -> None:
        self.living = self.ended = self.full = 0
        self.dormant = {was.id: 0 for was, now in plan.scopes if was and not now and not new.knows(was.id)}  # scopes that go: living tokens that list them
        self._plan = plan
        self._claims = _claims(old, new)
        self._claimed: dict[str, tuple[int, int]] = {}
        self._bounds = sorted({scope.since_ms for policy in (old, new) for scope in policy.scopes.values() if scope.since_ms})
        self._kinds = _kinds(plan)
        self._by_id: dict[str, list[int]] = {}
        for number, kind in enumerate(self._kinds):
            for scope_id in kind.old.ask.ids | kind.new.ask.ids:
                self._by_id.setdefault(scope_id, []).append(number)
        self._for_all = self._judged(range(len(self._kinds)), GrantSet({}), 0)
        self._known: dict[tuple[tuple[str, ...], int], _Effect] = {}
        self._groups: dict[_Effect, list[Named]] = {}

    def add(self, record: TokenRecord, now_ms: int) -> None:
        """Judge one token at ``now_ms`` (Unix milliseconds)."""
        if record.state_at(now_ms) not in _LIVING:
            self.ended += 1
            return
        self.living += 1
        self.full += record.access == "full"
        key = (record.grants, bisect_right(self._bounds, record.created_at))
        effect = self._known.get(key)
        if effect is None:
            effect = self._known[key] = self._effect(parse_grants(record.grants), record.created_at)
        if effect != ((), ()):
            self._groups.setdefault(effect, []).append(Named(record.id, record.name, record.owner))
        if self._claims or self.dormant:
            self._note_ids(record)

    @property
    def losing(self) -> int:
        """How many living tokens lose access."""
        return sum(len(tokens) for (_, losses), tokens in self._groups.items() if losses)

    @property
    def gaining(self) -> int:
        """How many living tokens gain access."""
        return sum(len(tokens) for (gains, _), tokens in self._groups.items() if gains)

    def groups(self) -> list[Group]:
        """The tokens that gain or lose anything, those that lose first, then the largest groups."""
        found = [Group(self._changes(gains), self._changes(losses), tokens) for (gains, losses), tokens in self._groups.items()]
        return sorted(found, key=lambda group: (not group.losses, -len(group.tokens), group.tokens[0].id))

    def claims(self) -> list[Claim]:
        """Scope ids that come back, or are taken over, with living tokens that hold the scope by them."""
        return [Claim(name, self._claims[name].id, *counted) for name, counted in sorted(self._claimed.items())]

    def _note_ids(self, record: TokenRecord) -> None:
        for scope_id in {grant.partition(":")[0] for grant in record.grants}:
            scope = self._claims.get(scope_id)
            if scope is not None and record.created_at >= scope.since_ms:
                count, newest = self._claimed.get(scope_id, (0, 0))
                self._claimed[scope_id] = (count + 1, max(newest, record.created_at))
            if scope_id in self.dormant:
                self.dormant[scope_id] += 1

    def _effect(self, grants: GrantSet, created_ms: int) -> _Effect:
        """Only what asks for a scope that the token lists can differ from what holds for a token without any."""
        numbers = {number for scope_id in grants.levels for number in self._by_id.get(scope_id, ())}
        if not numbers:
            return self._for_all
        gains, losses = self._judged(numbers, grants, created_ms)
        return (
            tuple(sorted({*gains, *(number for number in self._for_all[0] if number not in numbers)})),
            tuple(sorted({*losses, *(number for number in self._for_all[1] if number not in numbers)})),
        )

    def _judged(self, numbers: set[int] | range, grants: GrantSet, created_ms: int) -> _Effect:
        gains, losses = [], []
        for number in sorted(numbers):
            kind = self._kinds[number]
            before, after = kind.old.lets(kind.method, grants, created_ms), kind.new.lets(kind.method, grants, created_ms)
            if after and not before:
                gains.append(number)
            if before and not after:
                losses.append(number)
        return tuple(gains), tuple(losses)

    def _changes(self, numbers: tuple[int, ...]) -> tuple[Change, ...]:
        places = sorted(place for number in numbers for place in self._kinds[number].changes)
        return tuple(self._plan.changes[place] for place in places)


def _claims(old: Policy, new: Policy) -> dict[str, Scope]:
    """The scope ids that come back with the new policy, or are taken over by `was`, each with the scope that it then stands for."""
    before = {name: scope.id for scope in old.scopes.values() for name in (*scope.was, scope.id)}
    found: dict[str, Scope] = {}
    for scope in new.scopes.values():
        ids = {scope.id, *scope.was}
        if scope.id not in old.scopes and before.get(scope.id) not in ids:
            found[scope.id] = scope
        found |= {name: scope for name in scope.was if name not in before}
    return found


def _kinds(plan: Plan) -> list[_Kind]:
    """The changes by what the two policies ask: of each kind one is judged for all."""
    found: dict[tuple[object, object], _Kind] = {}
    for place, change in enumerate(plan.changes):
        if change.access_differs:
            kind = found.setdefault((change.old.ask, change.new.ask), _Kind(change.old, change.new, change.methods[0], []))
            kind.changes.append(place)
    return list(found.values())
