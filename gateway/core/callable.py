"""What a token may call, told beforehand: by the functions that decide its requests (``core.authorize``).

Only what is allowed is named. Where a narrower route that the token does not hold lies inside a wider one that it does, the wider one is told and the narrower
is not; the refusal says so when it comes to that. What ``enforcement: report`` lets through besides is no permission and is left out.
"""

from __future__ import annotations

from typing import Final

from gateway.core.authorize import check_grant, find_route
from gateway.core.path import CanonicalPath
from gateway.core.policy import Policy
from gateway.core.route import METHODS, Route
from gateway.core.route_table import ordered, taken
from gateway.core.scope import ACCESS_NAMES, GrantSet

_METHODS: Final = frozenset(METHODS)


def access_held(policy: Policy, grants: GrantSet, created_ms: int) -> tuple[int, ...]:
    """The access (0, VIEW or MANAGE) to each scope of the policy, in its order. Tokens for which it is equal may call the same."""
    return tuple(scope.held_by(grants.levels, created_ms) for scope in policy.scopes.values())


def may_call(policy: Policy, path: str, method: str, grants: GrantSet, created_ms: int) -> Route | None:
    """The route by which a token with these grants, made at ``created_ms`` (Unix milliseconds), may call a canonical path; None where it may not."""
    if method not in _METHODS:
        return None
    found = find_route(policy, CanonicalPath(path, "", "%2F" in path), method)
    if not isinstance(found, Route):
        return None
    return None if check_grant(found, grants, created_ms, method) else found


def callable_routes(policy: Policy, grants: GrantSet, created_ms: int) -> list[dict[str, object]]:
    """The policy's routes that such a token may call, in the policy's order, each with those of its methods that it may use."""
    told: list[dict[str, object]] = []
    for route in policy.routes:
        if route.unmapped:
            continue
        methods = [method for method in ordered(taken(route.methods)) if not check_grant(route, grants, created_ms, method)]
        if methods:
            scope = route.scope
            told.append(
                {
                    "path": route.template,
                    "methods": methods,
                    "scope": scope.id if scope else None,
                    "access": ACCESS_NAMES[scope.held_by(grants.levels, created_ms)] if scope else None,
                    "resource": route.resource or None,
                    "public": route.public,
                }
            )
    return told
