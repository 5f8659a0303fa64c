"""Why a request is allowed or refused: the same decision as on the wire, with the rules that were looked at.

The command line, the management API and the problem document of a refusal tell it in the same words.
What depends on a secret, an address or a limit is left out: it answers for a caller who holds the grants.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.core.authorize import check_grant, find_route, refuse_method, reported
from gateway.core.decision import Allow, Denial, denied
from gateway.core.own_routes import own_policy
from gateway.core.path import CanonicalPath, canonicalise
from gateway.core.policy import Policy
from gateway.core.route import Route
from gateway.core.route_table import ordered, taken
from gateway.core.scope import ACCESS_NAMES, GrantSet, parse_grants
from gateway.core.token_record import ACTIVE, TokenRecord

EXPLAINED: Final = frozenset({"scope_missing", "route_unmapped", "method_not_allowed", "path_ambiguous"})  # what the policy refuses, once the token is good
EVER_AFTER: Final = 1 << 62  # as a time of birth: a token newer than every `since`


class Reasons(NamedTuple):
    """Why, in the words that all who tell it use. ``rule`` is the one that matched, "" if none did; ``tried`` are others that came near, each with why it was
    not taken; ``granted`` is what the caller holds, ``missing`` what it would need.
    """

    rule: str
    tried: tuple[tuple[str, str], ...]
    granted: tuple[str, ...]
    missing: tuple[str, ...]

    def facts(self) -> dict[str, object]:
        """As the command line, the API and a refusal give it; what there is none of is None."""
        return {
            "rule": self.rule or None,
            "tried": [{"rule": rule, "why": why} for rule, why in self.tried],
            "granted": list(self.granted),
            "missing": list(self.missing),
        }


class Explanation(NamedTuple):
    """The verdict and its reasons. ``code`` is "" when allowed. ``route`` is the one that matched, if any; ``tried`` are others that came near, each with why
    it was not taken. ``granted`` is what the caller holds, ``missing`` what it would need. ``forwarded``: it is refused in name only, because its route
    only reports.
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
    forwarded: bool = False

    @property
    def scope(self) -> str:
        """The id of the scope that the route asks for, "" if it asks for none."""
        return self.route.scope.id if self.route and self.route.scope else ""

    @property
    def reasons(self) -> Reasons:
        """In words."""
        return Reasons(rule_of(self.route) if self.route else "", _in_words(self.tried), self.granted, self.missing)

    def facts(self) -> dict[str, object]:
        """The explanation as the command line and the API give it; what there is none of is None."""
        return {
            "decision": self.decision,
            "code": self.code or None,
            "detail": self.detail,
            "route": self.route.template if self.route else None,
            "scope": self.scope or None,
            "access": self.access or None,
            "forwarded": self.forwarded or self.decision == "allow",
            **self.reasons.facts(),
        }


def rule_of(route: Route) -> str:
    """A rule of the policy in words."""
    kind = " (left out)" if route.unmapped else " (public)" if route.public else ""
    return f"{', '.join(ordered(taken(route.methods)))} {route.template}{kind}"


def reasons_of(policy: Policy, path: CanonicalPath, method: str, denial: Denial, grants: GrantSet) -> Reasons:
    """Why a request was refused whose token holds these grants."""
    tried = _tried(policy, path, method, denial.route)
    return Reasons(rule_of(denial.route) if denial.route else "", _in_words(tried), tuple(grants.text.split()), denial.missing)


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


def explain(
    policy: Policy,
    method: str,
    target: str,
    grants: GrantSet,
    created_ms: int = EVER_AFTER,
    token_refusal: Denial | None = None,
    own_prefix: str = "",
) -> Explanation:
    """What the policy says to a request by a token with these grants, made at ``created_ms`` (Unix milliseconds).

    ``target`` is the request target as sent. ``token_refusal`` is what is wrong with the token itself; it counts where the token is judged: after the path's
    form, before the route, and not at all on a public route. ``own_prefix`` is what the gateway answers itself under.
    """
    granted = tuple(grants.text.split())
    refused_method = refuse_method(method)
    path = canonicalise(target)
    malformed = refused_method or (path if isinstance(path, Denial) else None)
    if malformed or isinstance(path, Denial):
        assert malformed is not None  # noqa: S101 - one of the two
        return Explanation("deny", malformed.reason.code, malformed.detail, target, None, "", granted, (), ())
    if own_prefix and path.path.startswith(own_prefix):
        policy = own_policy(own_prefix)
    found = find_route(policy, path, method)
    route = found if isinstance(found, Route) else found.route
    tried = _tried(policy, path, method, route)
    access = ACCESS_NAMES[found.needs(method)] if isinstance(found, Route) and found.scope else ""
    if isinstance(found, Route) and found.public:
        return Explanation("allow", "", "The route is public: no token is asked for.", path.path, found, "", granted, (), tried)
    refusal = token_refusal or (found if isinstance(found, Denial) else check_grant(found, grants, created_ms, method))
    if refusal is None:
        held = f"The token holds {route.scope.id}:{access}." if route and route.scope else "The gateway answers this itself, to every good token."
        return Explanation("allow", "", held, path.path, route, access, granted, (), tried)
    forwarded = isinstance(reported(policy, found, refusal), Allow)
    return Explanation("deny", refusal.reason.code, refusal.detail, path.path, route, access, granted, refusal.missing, tried, forwarded)


def _in_words(tried: tuple[tuple[Route, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((rule_of(route), why) for route, why in tried)


def _tried(policy: Policy, path: CanonicalPath, method: str, taken_route: Route | None) -> tuple[tuple[Route, str], ...]:
    """The other routes whose templates match the path, the most specific first; where none does, those that come nearest."""
    tried: dict[Route, str] = {}
    past = found = False
    for answers in policy.table.matches(path.path):
        found = True
        for route in dict.fromkeys(answers.values()):
            if route is taken_route:
                past = True
            elif method not in taken(route.methods):
                tried[route] = f"takes only {', '.join(ordered(taken(route.methods)))}"
            elif route not in tried:
                tried[route] = "is less specific" if past or taken_route else "does not take an encoded slash"
    if not found:
        return tuple(policy.table.nearest(path.path))
    return tuple(tried.items())
