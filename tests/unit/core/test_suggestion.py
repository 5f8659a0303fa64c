"""Routes proposed from recorded calls: templates that a person would write, and a policy that loads and maps what was seen."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.authorize import find_route
from gateway.core.path import CanonicalPath, canonicalise
from gateway.core.plan_calls import OWN, RecordedCall
from gateway.core.route import Route
from gateway.core.suggestion import FULL, MANY, NO_METHOD, NOT_THERE, SuggestedRoute, Suggestions, scope_name
from gateway.policy_file.load import parse_policy

EMPTY = "version: 1\nscopes: {}\nroutes: []\n"
POLICY = """\
version: 1
scopes: {logs: {}}
routes:
  - {path: /4/worklogs, methods: [GET], scope: logs}
  - {path: "/4/worklogs/{id}", methods: [GET], scope: logs}
unmapped: [GET /4/skills]
"""


def suggested(*calls: str, policy: str = EMPTY, status: int = 200, code: str = "") -> list[SuggestedRoute]:
    """What is proposed for ``METHOD PATH`` calls."""
    found = Suggestions(parse_policy(policy, "p.yaml"))
    for number, call in enumerate(calls, 1):
        method, path = call.split(" ")
        found.add(number, RecordedCall(method, status, path=path, code=code))
    return found.routes()


def said(routes: list[SuggestedRoute]) -> list[str]:
    return [f"{','.join(route.methods)} {route.template} {route.scope}" for route in routes]


def test_identifiers_become_names_and_what_differs_only_by_them_is_one_route() -> None:
    assert said(
        suggested(
            "GET /4/teams/12/members",
            "GET /4/teams/7/members",
            "DELETE /4/teams/7/members/ana%40example.com",
            "GET /4/plans/0b9d2f4e-55aa-4bb1-9c3d-001122334455",
            "GET /4/issues/ABC-12",
            "GET /4/companies/9",
        )
    ) == [
        "GET /4/companies/{companyId} companies",
        "GET /4/issues/{issueId} issues",
        "GET /4/plans/{planId} plans",
        "GET /4/teams/{teamId}/members teams",
        "DELETE /4/teams/{teamId}/members/{memberId} teams",
    ]


def test_very_many_that_go_on_alike_are_identifiers_and_fewer_are_not() -> None:
    users = [f"GET /users/{letter}x" for letter in "abcdefghijklmnop"]
    assert said(suggested(*users[:MANY])) == ["GET /users/{userId} users"]
    assert len(suggested(*users[: MANY - 1])) == MANY - 1
    assert len(suggested(*users, "GET /users/ax/photo")) == len(users) + 1  # they do not go on alike
    resources = [f"GET /v2/{letter}s" for letter in "abcdefghijklmnop"]
    assert len(suggested(*resources)) == len(resources)  # right after the version stand names of resources


def test_a_search_by_post_is_proposed_as_a_view_of_its_own() -> None:
    routes = suggested("POST /4/teams/search", "GET /4/teams/search", "POST /4/researches")
    assert [(route.template, route.methods, route.searches) for route in routes] == [
        ("/4/researches", ("POST",), False),
        ("/4/teams/search", ("GET",), False),
        ("/4/teams/search", ("POST",), True),
    ]


def test_what_the_policy_maps_or_leaves_out_is_not_proposed_and_its_scope_is_used_again() -> None:
    routes = suggested("GET /4/worklogs/1", "HEAD /4/worklogs/1", "GET /4/skills", "PUT /4/worklogs/1", "GET /4/worklogs/1/notes", policy=POLICY)
    assert said(routes) == ["PUT /4/worklogs/{worklogId} logs", "GET /4/worklogs/{worklogId}/notes logs"]
    assert [route.extends for route in routes] == [True, False]


def test_what_the_api_does_not_have_is_left_aside_and_what_the_gateway_refused_is_not() -> None:
    assert suggested("GET /nothing", status=404) == []
    assert said(suggested("GET /nothing", status=404, code="route_unmapped")) == ["GET /nothing nothing"]
    found = Suggestions(parse_policy(EMPTY, "p.yaml"))
    found.add(3, RecordedCall("GET", 404, path="/nothing"))
    assert found.skipped == {NOT_THERE: (1, 3)}


def test_a_method_that_no_policy_can_map_is_passed_over() -> None:
    found = Suggestions(parse_policy(EMPTY, "p.yaml"))
    for number, method in enumerate(["GET], public: true} #", "get", "BREW", "", "TRACE", "PROPFIND"], 1):
        found.add(number, RecordedCall(method, 200, path="/a"))
    assert (found.seen, found.skipped) == (1, {NO_METHOD: (5, 1)})


def test_what_the_gateway_answers_itself_is_passed_over() -> None:
    """Seen to fail without the look at the prefix."""
    for prefix, skipped in (("/.scopegate/", (1, 1)), ("/own/", (2, 2)), ("", None)):
        found = Suggestions(parse_policy(EMPTY, "p.yaml"), prefix)
        for number, path in enumerate(["/.scopegate/me", "/own/me", "/own/other/7", "/owner"], 1):
            found.add(number, RecordedCall("GET", 200, path=path))
        assert found.skipped == ({OWN: skipped} if skipped else {})
        assert found.seen == 4 - (skipped or (0, 0))[0]


def test_a_tree_that_is_full_takes_no_new_paths_and_counts_them() -> None:
    """Seen to fail without a bound."""
    found = Suggestions(parse_policy(EMPTY, "p.yaml"), most=3)
    for number, path in enumerate(["/a/b/c", "/a/b/d", "/a/b", "/x"], 1):
        found.add(number, RecordedCall("GET", 200, path=path))
    assert (found.seen, found.skipped) == (2, {FULL: (2, 2)})
    assert said(found.routes()) == ["GET /a/b a", "GET /a/b/c a"]


def test_identifiers_take_no_room_in_the_tree() -> None:
    found = Suggestions(parse_policy(EMPTY, "p.yaml"), most=3)
    for number in range(1, 100):
        found.add(number, RecordedCall("GET", 200, path=f"/teams/{number}/members"))
    assert (found.seen, found.skipped) == (99, {})


@pytest.mark.parametrize(
    ("parts", "scope"),
    [
        (("4", "worklogs", "{id}"), "worklogs"),
        (("api", "v2.1", "Work_Attributes"), "work_attributes"),
        (("{id}", "x"), "x"),
        (("1",), ""),
        ((), ""),
        (("%C3%A9",), "c3-a9"),
    ],
)
def test_scope_is_named_by_the_first_literal_after_the_version(parts: tuple[str, ...], scope: str) -> None:
    assert scope_name(parts) == scope


segment = st.sampled_from(["4", "v1", "teams", "Teams", "search", "12", "7", "ABC-1", "{x}", "a*b", "%C3%A9", "...", "skills", "worklogs"]) | st.text(
    "ab1-", min_size=1, max_size=3
)
calls = st.lists(
    st.builds(
        lambda method, parts: (method, "/" + "/".join(parts)), st.sampled_from(["GET", "HEAD", "POST", "PUT", "PROPFIND"]), st.lists(segment, max_size=4)
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(calls=calls, policy=st.sampled_from([EMPTY, POLICY]))
def test_with_what_is_proposed_the_policy_loads_and_maps_every_call(calls: list[tuple[str, str]], policy: str) -> None:
    """Seen to fail with a brace kept in a literal, and with HEAD named beside GET."""
    before = parse_policy(policy, "p.yaml")
    found = Suggestions(before)
    for number, (method, path) in enumerate(calls, 1):
        found.add(number, RecordedCall(method, 200, path=path))
    whole = yaml.safe_load(policy)
    for route in found.routes():
        scope = route.scope or "other"
        if not before.knows(scope):
            whole["scopes"].setdefault(scope, {})
        whole["routes"].append({"path": route.template, "methods": list(route.methods), "scope": scope})
    after = parse_policy(json.dumps(whole), "p.yaml")
    assert sum(route.calls for route in found.routes()) == found.seen
    for method, path in calls:
        canonical = canonicalise(path)
        if isinstance(canonical, CanonicalPath) and path != "/4/skills":
            assert isinstance(find_route(after, canonical, method), Route)
