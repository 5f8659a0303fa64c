"""Scopes and grants.

A scope is a named area of the API. A grant is what a token holds of it: ``worklogs:view`` or ``worklogs:manage``;
manage includes view, and ``worklogs`` alone is short for manage.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

VIEW: Final = 1
MANAGE: Final = 2
ACCESS_NAMES: Final = {VIEW: "view", MANAGE: "manage"}
ACCESS_LEVELS: Final = {"view": VIEW, "manage": MANAGE}

SCOPE_ID = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?\Z")


@dataclass(frozen=True, slots=True)
class Scope:
    """A scope of the policy.

    ``since_ms`` (Unix milliseconds, 0 if unset): tokens made before it do not hold the scope, whatever they list.
    ``was``: former ids; grants of them count.
    """

    id: str
    title: str
    resources: tuple[str, ...] = ()
    since_ms: int = 0
    was: tuple[str, ...] = ()

    def held_by(self, levels: Mapping[str, int], created_ms: int) -> int:
        """The access (0, VIEW or MANAGE) that a token with these levels, made at ``created_ms``, has to this scope."""
        if created_ms < self.since_ms:
            return 0
        level = levels.get(self.id, 0)
        for former in self.was:
            level = max(level, levels.get(former, 0))
        return level


class GrantSet:
    """What a token holds: scope id -> access level. Equal sets are shared between records, so never changed."""

    __slots__ = ("levels", "text")

    def __init__(self, levels: Mapping[str, int]) -> None:
        self.levels: Final = dict(levels)
        self.text: Final = " ".join(f"{scope}:{ACCESS_NAMES[level]}" for scope, level in self.levels.items())

    def __iter__(self) -> Iterator[str]:
        return iter(self.text.split())

    def includes(self, grant: str) -> bool:
        """Whether this holds a grant (SCOPE:view or SCOPE:manage): manage includes view."""
        scope, level = parse_grant(grant)
        return self.levels.get(scope, 0) >= level

    def named_now(self, scopes: Iterable[Scope]) -> GrantSet:
        """What this has of the scopes, by their present ids: grants of the ids that they had before count."""
        levels = {scope.id: max(self.levels.get(name, 0) for name in (scope.id, *scope.was)) for scope in scopes}
        return GrantSet({name: level for name, level in levels.items() if level})

    def __repr__(self) -> str:
        return f"GrantSet({self.text!r})"


def parse_grant(text: str) -> tuple[str, int]:
    """``worklogs:view`` -> ("worklogs", VIEW); a bare scope id means manage. ValueError says what is wrong."""
    scope, colon, access = text.partition(":")
    if not SCOPE_ID.match(scope):
        raise ValueError(f"{text!r} is no grant: write SCOPE, SCOPE:view or SCOPE:manage")
    if not colon:
        return scope, MANAGE
    if access not in ACCESS_LEVELS:
        raise ValueError(f"{text!r} is no grant: after the colon comes view or manage")
    return scope, ACCESS_LEVELS[access]


def parse_grants(texts: Iterable[str]) -> GrantSet:
    """A GrantSet from grant texts; of two for one scope the wider counts. ValueError as in parse_grant."""
    levels: dict[str, int] = {}
    for text in texts:
        scope, level = parse_grant(text)
        levels[scope] = max(level, levels.get(scope, 0))
    return GrantSet(levels)
