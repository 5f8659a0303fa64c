"""A route of the policy: a path template with methods, mapped to one scope, or public, or left out on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.core.scope import MANAGE, VIEW, Scope

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# Those that the edge's parser knows (llhttp), but for CONNECT and TRACE, which are never forwarded.
_MORE: Final = (
    "ACL BIND CHECKOUT COPY LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY PROPFIND PROPPATCH PURGE QUERY REBIND REPORT SEARCH SOURCE "
    "SUBSCRIBE UNBIND UNLINK UNLOCK UNSUBSCRIBE"
)
KNOWN_METHODS: Final = frozenset({*METHODS, *_MORE.split()})
VIEW_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``requests`` in ``period_ms`` milliseconds, per token (per client address on a public route) and route."""

    requests: int
    period_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One rule of the policy, compiled. ``scope`` is None where the route is public or unmapped.

    ``access`` is the level that the route sets itself, 0 where the method decides. ``upstream`` is a name, "" for the
    configuration's default. ``timeout_s`` and ``max_body`` are None where the configuration's count. ``stream`` lifts the
    limit on the time between two pieces of an answer. ``report`` is True where the route only reports what it would refuse.
    ``own`` names the answer where the gateway makes it itself (``core.own_routes``).
    """

    template: str
    methods: tuple[str, ...]
    scope: Scope | None
    access: int = 0
    public: bool = False
    unmapped: bool = False
    resource: str = ""
    upstream: str = ""
    rate_limit: RateLimit | None = None
    timeout_s: float | None = None
    max_body: int | None = None
    stream: bool = False
    encoded_slash: bool = False
    report: bool = False
    own: str = ""
    line: int = 0

    @property
    def key(self) -> str:
        """Names the route in a rate limit and in a metric: the same for the same rule in every process."""
        return f"{','.join(self.methods)} {self.template}"

    def needs(self, method: str, *, websocket: bool = False) -> int:
        """The access that a request asks of the route's scope: VIEW or MANAGE."""
        if self.access:
            return self.access
        return MANAGE if websocket or method not in VIEW_METHODS else VIEW
