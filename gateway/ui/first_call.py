"""A first request to try a new token with: for each scope a route that view is enough for, and that needs no number of yours if there is one."""

from __future__ import annotations

import re
from typing import Final

from gateway.core.policy import Policy
from gateway.core.route import Route
from gateway.core.scope import VIEW

_NAMED: Final = re.compile(r"\{[^}]*\}")


def first_calls(policy: Policy) -> dict[str, str]:
    """By scope id a path to GET; scopes without a route that takes GET and needs view only are left out."""
    found: dict[str, tuple[int, str]] = {}
    for route in policy.routes:
        if route.scope is None or "GET" not in route.methods or route.needs("GET") != VIEW:
            continue
        known = found.get(route.scope.id)
        path = _path(route)
        if known is None or (_cost(route), len(path)) < (known[0], len(known[1])):
            found[route.scope.id] = _cost(route), path
    return {scope: path for scope, (_, path) in found.items()}


def _cost(route: Route) -> int:
    """How much of the path one would have to make up."""
    return len(_NAMED.findall(route.template))


def _path(route: Route) -> str:
    return _NAMED.sub("1", route.template.removesuffix("/**")) or "/"
