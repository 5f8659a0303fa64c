"""The rule set: what the policy file says, checked and compiled. Never changed: a reload makes a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.route import Route
from gateway.core.route_table import RouteTable
from gateway.core.scope import Scope


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A policy that was loaded.

    ``hash`` is the SHA-256 of the file's bytes in hexadecimal, ``name`` what the file is called. ``scopes`` are by id, in the file's order. ``routes`` are
    in the file's order, those left out on purpose (``unmapped``) last. Expiry is in days.
    """

    name: str
    hash: str
    scopes: Mapping[str, Scope]
    routes: tuple[Route, ...]
    table: RouteTable
    default_expiry_days: int = 30
    max_expiry_days: int = 5000
    max_per_owner: int = 100
    ignore_case: bool = False
    report: bool = False  # what no route maps is reported, not refused

    def __repr__(self) -> str:
        return f"Policy({self.name!r}, hash={self.hash[:12]!r}, {len(self.scopes)} scopes, {len(self.routes)} routes)"

    def knows(self, scope: str) -> bool:
        """Whether a grant of this scope id means anything: it is a present id, or a former one."""
        return scope in self.scopes or any(scope in known.was for known in self.scopes.values())
