"""The decision proper: is there a route, is this the token, does it hold the scope. No I/O; the time is an argument.

The order of the steps, and so which refusal a client sees first, is told in ``flow/engine.py``.
"""

from __future__ import annotations

import datetime
from hmac import compare_digest
from ipaddress import IPv4Address, IPv6Address

from gateway.core.decision import Allow, Denial, denied
from gateway.core.path import CanonicalPath, slashes_are_safe
from gateway.core.policy import Policy
from gateway.core.route import METHODS, VIEW_METHODS, Route
from gateway.core.route_table import WrongMethod
from gateway.core.scope import ACCESS_NAMES, MANAGE, VIEW, GrantSet
from gateway.core.token_record import ACTIVE, REVOKED, SUSPENDED, LiveRecord

_NEEDS = dict.fromkeys(VIEW_METHODS, VIEW)
NEVER_FORWARDED = frozenset({"CONNECT", "TRACE"})
_UNKNOWN = denied("token_unknown", "No such token is known here.")
_UNMAPPED = denied("route_unmapped", "The policy maps no route to this path.")
_TOKEN_IS_GOOD = frozenset({"scope_missing", "route_unmapped", "method_not_allowed", "rate_limited"})
_NO_ROUTE = Route(template="", methods=METHODS, scope=None, unmapped=True, report=True)  # goes to the default upstream
_ENCODED_SLASH = denied("path_ambiguous", "The path holds an encoded slash, which its route does not take.")


def refuse_method(method: str) -> Denial | None:
    """The refusal of CONNECT and TRACE, which are judged before any credential."""
    if method in NEVER_FORWARDED:
        return denied("method_not_allowed", f"{method} is never forwarded.", allow=METHODS)
    return None


def find_route(policy: Policy, path: CanonicalPath, method: str) -> Route | Denial:
    """The route that takes the request, or the refusal that its bearer is told once the token is known."""
    found = policy.table.find(path.path, method)
    if found.__class__ is Route and not path.encoded_slash and not found.unmapped:
        return found
    if path.encoded_slash and not (isinstance(found, Route) and found.encoded_slash and slashes_are_safe(path.path)):
        return _ENCODED_SLASH
    if isinstance(found, Route):
        if found.unmapped:
            return _UNMAPPED._replace(detail=f"The policy leaves {found.template} out on purpose.", route=found)
        return found
    if isinstance(found, WrongMethod):
        return denied("method_not_allowed", f"The path takes {', '.join(found.allow)}.", allow=found.allow)
    return _UNMAPPED


def plainly_allowed(route: Route, record: LiveRecord, digest: bytes, now_ms: int, method: str) -> bool:
    """Whether all that ``check_token`` and ``check_grant`` ask is plainly so: what nearly every request meets, asked at once. False says nothing."""
    scope = route.scope
    return (
        scope is not None
        and compare_digest(record.digest, digest)
        and record.state == ACTIVE
        and now_ms < record.expires_at
        and not record.allowed_ips
        and record.created_at >= scope.since_ms
        and record.grants.levels.get(scope.id, 0) >= (route.access or _NEEDS.get(method, MANAGE))
    )


def check_token(record: LiveRecord | None, digest: bytes, now_ms: int, address: IPv4Address | IPv6Address) -> Denial | None:
    """Whether this is the token's secret and the token is alive at ``now_ms`` (store time) and may come from ``address``.

    Why a token ended is told only to one who holds its secret, or its previous one; all others learn nothing.
    """
    current = compare_digest(record.digest if record else b"\0" * 32, digest)
    if record is None:
        return _UNKNOWN
    if not current and not compare_digest(record.previous, digest):
        return _UNKNOWN
    if record.state == REVOKED:
        return denied("token_revoked", "The token was revoked for good: make a new one.", record=record)
    if now_ms >= record.expires_at:
        return denied("token_expired", f"The token expired at {_utc(record.expires_at)}: make a new one.", record=record)
    if record.state == SUSPENDED:
        return denied("token_suspended", "The token is suspended until its owner resumes it.", record=record)
    if not current and now_ms >= record.overlap_until:
        return denied("token_regenerated", "The token was regenerated: use the secret that was shown then.", record=record)
    if record.allowed_ips and not any(address in network for network in record.allowed_ips):
        return denied("ip_not_allowed", f"The token may not be used from {address}.", record=record)
    return None


def reported(policy: Policy, match: Route | Denial, denial: Denial) -> Allow | Denial:
    """Where policy or route only report (``enforcement: report``), a refusal does not stand in the request's place but goes with it. What two
    programs could read differently is refused all the same."""
    report = match.report if isinstance(match, Route) else policy.report
    if not report:
        return denial
    if isinstance(match, Denial) and match.reason.code == "path_ambiguous":
        return match
    record = denial.record if denial.reason.code in _TOKEN_IS_GOOD else None
    return Allow(match if isinstance(match, Route) else _NO_ROUTE, record, denial)


def is_secret_of(record: LiveRecord, digest: bytes, now_ms: int) -> bool:
    """Whether this is the digest of the token's secret, or of the one before while both work."""
    return compare_digest(record.digest, digest) | (compare_digest(record.previous, digest) & (now_ms < record.overlap_until))


def check_grant(route: Route, grants: GrantSet, created_ms: int, method: str, *, websocket: bool = False) -> Denial | None:
    """Whether a token with these grants, made at ``created_ms``, may call the route with this method."""
    scope = route.scope
    if scope is None:
        return None
    need = route.needs(method, websocket=websocket)
    plainly = grants.levels.get(scope.id, 0) >= need and created_ms >= scope.since_ms
    if plainly or scope.held_by(grants.levels, created_ms) >= need:
        return None
    required = f"{scope.id}:{ACCESS_NAMES[need]}"
    held = ", ".join(grants.text.split()) or "nothing"
    return denied(
        "scope_missing",
        f"The route needs {required}; the token holds {held}.",
        route=route,
        required_scope=required,
        granted=tuple(grants.text.split()),
        missing=(required,),
    )


def _utc(ms: int) -> str:
    return datetime.datetime.fromtimestamp(ms // 1000, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
