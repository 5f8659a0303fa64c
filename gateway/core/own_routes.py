"""The paths under ``own_prefix`` that the gateway answers itself: a bearer asks there what his token is and may do.

They are a policy of their own, so that token, address, method and path are judged by the same steps as everywhere. Whatever else stands under the prefix
is unmapped: it is never forwarded, whatever the operator's policy maps and however it is enforced.
"""

from __future__ import annotations

from typing import Final

from gateway.core.policy import Policy
from gateway.core.route import Route
from gateway.core.route_table import RouteTable

DEFAULT_PREFIX: Final = "/.scopegate/"
ME: Final = "me"
ROUTES: Final = "me/routes"
OPENAPI: Final = "me/openapi.json"


def own_policy(prefix: str) -> Policy:
    """The three routes under a prefix (``/.scopegate/``), for every good token; none where the prefix is ""."""
    routes = tuple(Route(template=prefix + name, methods=("GET",), scope=None, own=name) for name in (ME, ROUTES, OPENAPI)) if prefix else ()
    return Policy("own", "", {}, routes, RouteTable(routes))


def is_own(prefix: str, path: str) -> bool:
    """Whether a canonical path is one that the gateway answers itself; ``prefix`` is "" where it answers none."""
    return bool(prefix) and path.startswith(prefix)


def is_under(prefix: str, template: str, *, ignore_case: bool = False) -> bool:
    """Whether a policy's template can only match paths under the prefix, or the prefix itself with its final slash."""
    if ignore_case:
        prefix, template = prefix.lower(), template.lower()
    return bool(prefix) and f"{template}/".startswith(prefix)
