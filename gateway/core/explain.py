"""Why a request is allowed or refused: the same decision as on the wire, with the rules that were looked at.

For the command line and for the policy's own tests.
What depends on a secret, an address or a limit is left out: it answers for a caller who holds the grants.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.core.authorize import check_grant, find_route, refuse_method
from gateway.core.decision import Denial, denied
from gateway.core.path import CanonicalPath, canonicalise
from gateway.core.policy import Policy
from gateway.core.route import Route
from gateway.core.route_table import ordered, taken
from gateway.core.scope import ACCESS_NAMES, GrantSet, parse_grants
from gateway.core.token_record import ACTIVE, TokenRecord

EVER_AFTER: Final = 1 << 62  # as a time of birth: a token newer than every `since`


class Explanation(NamedTuple):
    """The verdict and its reasons. ``code`` is "" when allowed. ``route`` is the one that matched, if any; ``tried`` are the other routes whose templates match
    the path, each with why it was not taken. ``granted`` is what the caller holds, ``missing`` what it would need.
    """

    decision: str
    code: str
    detail: str
    path: str
    route: Route | None
    access: str
    granted: tuple[str, ...]
    missing: tuple[str, ...]
    tried: tuple[tuple[Route, str], ...]

    @property
    def scope(self) -> str:
        """The id of the scope that the route asks for, "" if it asks for none."""
        return self.route.scope.id if self.route and self.route.scope else ""

    def facts(self) -> dict[str, object]:
        """The explanation as the command line and the API give it; what there is none of is None."""
        return {
            "decision": self.decision,
            "code": self.code or None,
            "route": self.route.template if self.route else None,
            "scope": self.scope or None,
            "access": self.access or None,
            "granted": list(self.granted),
            "missing": list(self.missing),
        }


class Holder(NamedTuple):
    """For whom it is asked: what is held, since when (Unix milliseconds), and what is wrong with the token itself."""

    grants: GrantSet
    created_ms: int = EVER_AFTER
    refusal: Denial | None = None


def holder_of(record: TokenRecord, now_ms: int) -> Holder:
    """What the holder of a token's secret has at ``now_ms``."""
    state = record.state_at(now_ms)
    refusal = None if state == ACTIVE else denied(f"token_{state}", f"The token is {state}.")
    return Holder(parse_grants(record.grants), record.created_at, refusal)


def explain(policy: Policy, method: str, target: str, grants: GrantSet, created_ms: int = EVER_AFTER, token_refusal: Denial | None = None) -> Explanation:
    """What the policy says to a request by a token with these grants, made at ``created_ms`` (Unix milliseconds).

    ``target`` is the request target as sent. ``token_refusal`` is what is wrong with the token itself; it counts where the token is judged: after the path's
    form, before the route, and not at all on a public route.
    """
    granted = tuple(grants.text.split())
    refused_method = refuse_method(method)
    if refused_method:
        return _denied(refused_method, target, granted)
    path = canonicalise(target)
    if isinstance(path, Denial):
        return _denied(path, target, granted)
    found = find_route(policy, path, method)
    tried = _tried(policy, path, method, found if isinstance(found, Route) else found.route)
    if isinstance(found, Route) and found.public:
        return Explanation("allow", "", "The route is public: no token is asked for.", path.path, found, "", granted, (), tried)
    if isinstance(found, Denial):
        return _denied(token_refusal or found, path.path, granted, tried)
    refusal = token_refusal or check_grant(found, grants, created_ms, method)
    access = ACCESS_NAMES[found.needs(method)]
    if refusal:
        return Explanation("deny", refusal.reason.code, refusal.detail, path.path, found, access, granted, refusal.missing, tried)
    return Explanation("allow", "", f"The token holds {found.scope.id if found.scope else ''}:{access}.", path.path, found, access, granted, (), tried)


def _denied(refusal: Denial, path: str, granted: tuple[str, ...], tried: tuple[tuple[Route, str], ...] = ()) -> Explanation:
    """A refusal before any route's scope is asked for."""
    return Explanation("deny", refusal.reason.code, refusal.detail, path, refusal.route, "", granted, refusal.missing, tried)


def _tried(policy: Policy, path: CanonicalPath, method: str, taken_route: Route | None) -> tuple[tuple[Route, str], ...]:
    """The other routes whose templates match the path, the most specific first."""
    tried: dict[Route, str] = {}
    past = False
    for answers in policy.table.matches(path.path):
        for route in dict.fromkeys(answers.values()):
            if route is taken_route:
                past = True
            elif method not in taken(route.methods):
                tried[route] = f"takes only {', '.join(ordered(taken(route.methods)))}"
            elif route not in tried:
                tried[route] = "is less specific" if past or taken_route else "holds an encoded slash, which it does not take"
    return tuple(tried.items())
