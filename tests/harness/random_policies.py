"""Policies, paths and grants at random, small enough that templates cross, cover and carve each other out."""

from __future__ import annotations

from hypothesis import strategies as st

from gateway.core.authorize import check_grant, find_route, reported
from gateway.core.decision import Allow, Denial
from gateway.core.path import CanonicalPath
from gateway.core.policy import Policy
from gateway.core.route import RateLimit, Route
from gateway.core.route_table import RouteTable, taken
from gateway.core.scope import MANAGE, VIEW, GrantSet, Scope

JANUARY, MARCH = 1_767_225_600_000, 1_772_323_200_000
BIRTHS = (JANUARY, MARCH, MARCH + 1)
IDS = ("p", "q", "r")

_template = st.builds(
    lambda parts, rest: "/" + "/".join([*parts, *rest]),
    st.lists(st.sampled_from(["a", "A", "b", "x%2Fy", "{x}", "{y}"]), max_size=4),
    st.sampled_from([[], [], ["**"]]),
)
_methods = st.sampled_from([("GET",), ("POST",), ("HEAD", "PUT"), ("GET", "DELETE"), ("GET", "POST", "SEARCH")])
_kind = st.sampled_from(["p", "p", "q", "r", "public", "unmapped"])
_entry = st.tuples(_template, _methods, _kind, st.sampled_from([0, 0, VIEW, MANAGE]), st.booleans(), st.sampled_from([None, RateLimit(1, 1000)]))
_scope = st.tuples(st.sampled_from([0, 0, MARCH]), st.sampled_from([(), (), ("o",)]))


def _policy(entries: list[tuple], scopes: list[tuple[int, tuple[str, ...]]], ignore_case: bool, report: bool) -> Policy:
    known = {name: Scope(name, name, (), since, was if name == "p" else ()) for name, (since, was) in zip(IDS, scopes, strict=True)}
    claimed: set[tuple[str, str]] = set()
    routes: list[Route] = []
    for line, (template, methods, kind, access, encoded, limit) in enumerate(entries, 1):
        place = template.replace("{y}", "{x}")
        claims = {(place.lower() if ignore_case else place, method) for method in taken(methods)}
        if claims & claimed:  # the loader refuses such pairs
            continue
        claimed |= claims
        scope = known.get(kind)
        settings = {} if kind == "unmapped" else {"rate_limit": limit, "encoded_slash": encoded}
        facts = {"scope": scope, "access": access if scope else 0, "public": kind == "public", "unmapped": kind == "unmapped"}
        facts["report"] = report if kind in {"unmapped", "q"} else kind == "r"  # the policy's word, or the route's own
        routes.append(Route(template=template, methods=methods, line=line, **facts, **settings))
    return Policy("p.yaml", "0" * 64, known, tuple(routes), RouteTable(routes, ignore_case=ignore_case), ignore_case=ignore_case, report=report)


policies = st.builds(_policy, st.lists(_entry, max_size=9), st.lists(_scope, min_size=3, max_size=3), st.booleans(), st.sampled_from([False, False, True]))
paths = st.builds(lambda parts: "/" + "/".join(parts), st.lists(st.sampled_from(["a", "A", "b", "B", "c", "x%2Fy", "X%2FY", "c%2Fd"]), max_size=6))
methods = st.sampled_from(["GET", "POST", "HEAD", "PUT", "DELETE", "SEARCH", "WEBSOCKET"])
grants = st.builds(GrantSet, st.dictionaries(st.sampled_from([*IDS, "o"]), st.sampled_from([VIEW, MANAGE])))
births = st.sampled_from(BIRTHS)


def verdict(policy_: Policy, path: str, method: str, held: GrantSet, born_ms: int) -> bool:
    """Whether the request passes, asked of the core as the engine does."""
    websocket = method == "WEBSOCKET"
    name = "GET" if websocket else method
    found = find_route(policy_, CanonicalPath(path, "", "%2F" in path), name)
    refusal = found if isinstance(found, Denial) else check_grant(found, held, born_ms, name, websocket=websocket)
    return refusal is None or isinstance(reported(policy_, found, refusal), Allow)
