from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.plan import ANY_OTHER, NO_RULE, REFUSED, REPORTED, Change, Plan, RuleChange, Setting, plan
from gateway.core.policy import Policy
from gateway.core.route import Route
from gateway.core.route_table import RouteTable
from gateway.core.scope import GrantSet
from gateway.policy_file.load import parse_policy
from tests.harness.random_policies import births, grants, methods, paths, policies, verdict

HEAD = "version: 1\nscopes: {w: {}, t: {}}\nroutes:\n  - {path: /t, scope: t}\n"


def policy(*lines: str, head: str = HEAD, tail: str = "") -> Policy:
    return parse_policy(head + "".join(f"  - {{{line}}}\n" for line in ("path: /w, scope: w", *lines)) + tail, "p.yaml")


def told(plan_: Plan) -> list[str]:
    return [f"{','.join(c.methods)} {c.shape}{c.only and ' ' + c.only}: {c.old.ask} -> {c.new.ask}" for c in plan_.changes]


def rules(plan_: Plan) -> list[str]:
    sign = {(False, True): "+", (True, False): "-", (True, True): "~"}
    return [f"{sign[rule.old is not None, rule.new is not None]} {','.join(rule.methods)} {rule.template}" for rule in plan_.rules]


def test_a_removed_carve_out_leaves_its_paths_to_the_wider_template() -> None:
    wide = "path: /o/**, scope: w"
    difference = plan(policy(wide, "path: /o/search, methods: [POST], scope: w, access: view"), policy(wide))
    assert told(difference) == ["POST /o/search: w:view -> w:manage"]
    assert rules(difference) == ["- POST /o/search"]


def test_a_narrow_route_takes_paths_from_a_wider_one() -> None:
    wide = "path: /o/**, methods: [GET], scope: w"
    difference = plan(policy(wide), policy(wide, 'path: "/o/{id}", methods: [GET], scope: t'))
    assert told(difference) == ["GET,HEAD /o/{id}: w:view -> t:view", "WEBSOCKET /o/{id}: w:manage -> t:manage"]


def test_templates_that_cross_are_compared_where_they_meet() -> None:
    difference = plan(policy('path: "/a/{x}/c", methods: [PUT], scope: w'), policy('path: "/a/b/{y}", methods: [PUT], scope: t'))
    assert told(difference) == ["PUT /a/b/c: w:manage -> t:manage", "PUT /a/b/{y}: refused -> t:manage", "PUT /a/{x}/c: w:manage -> refused"]


def test_a_rest_that_becomes_one_segment_is_told_for_all_other_lengths() -> None:
    difference = plan(policy("path: /o/**, methods: [PUT], scope: w"), policy('path: "/o/{id}", methods: [PUT], scope: w'))
    assert told(difference) == ["PUT /o/**: w:manage -> refused"]
    assert told(
        plan(policy("path: /o/**, methods: [PUT], scope: w"), policy("path: /o/**, methods: [PUT], scope: w", "path: /o, methods: [PUT], scope: t"))
    ) == ["PUT /o: w:manage -> t:manage"]


def test_a_request_that_was_left_out_on_purpose_and_is_forgotten_is_refused_as_before() -> None:
    difference = plan(policy(tail="unmapped: [GET /x]\n"), policy())
    assert (told(difference), rules(difference)) == ([], ["- GET,HEAD /x"])


def test_a_websocket_that_views_is_told_apart_from_the_get() -> None:
    old, new = (policy(f"path: /ws, methods: [GET], scope: w{access}") for access in ("", ", access: view"))
    assert told(plan(old, new)) == ["WEBSOCKET /ws: w:manage -> w:view"]
    assert rules(plan(old, new)) == ["~ GET,HEAD /ws"]


def test_encoded_slashes_that_a_route_begins_to_take_are_told() -> None:
    old, new = (policy(f'path: "/f/{{name}}", methods: [GET], scope: w{more}') for more in ("", ", encoded_slash: true"))
    assert told(plan(old, new))[-2:] == [
        "GET,HEAD /f/{name} with an encoded slash: refused -> w:view",
        "WEBSOCKET /f/{name} with an encoded slash: refused -> w:manage",
    ]


def test_letter_case_that_begins_to_count_is_told() -> None:
    strict, loose = policy(), policy(tail="paths: {ignore_case: true}\n")
    assert "POST,PUT,PATCH,DELETE,WEBSOCKET /w in other letter case: refused -> w:manage" in told(plan(strict, loose))
    assert plan(strict, loose).settings == (Setting("paths.ignore_case", "false", "true"),)


def test_settings_of_a_route_are_told_apart_from_its_access() -> None:
    old, new = (
        policy(f"path: /o, methods: [GET], scope: w{more}") for more in ("", ", timeout: 3s, max_body: 1KiB, upstream: u, rate_limit: {requests: 5, per: 60s}")
    )
    (change,) = (change for change in plan(old, new).changes if change.methods == ("GET", "HEAD"))
    assert not change.access_differs
    assert change.settings == (
        Setting("upstream", "", "u"),
        Setting("rate_limit", "", "5 per 60s"),
        Setting("timeout", "", "3s"),
        Setting("max_body", "", "1024B"),
    )


def test_a_method_that_a_route_gets_is_a_rule_that_is_added() -> None:
    old, new = policy("path: /o, methods: [GET], scope: w"), policy("path: /o, methods: [GET, PUT], scope: w")
    assert rules(plan(old, new)) == ["+ PUT /o"]


def test_names_in_braces_and_the_order_of_lines_change_nothing() -> None:
    lines = ['path: "/o/{id}", scope: w', "path: /p, scope: t"]
    assert plan(policy(*lines), policy(*[line.replace("id", "name") for line in reversed(lines)])).is_empty


@pytest.mark.parametrize("new", ["{w: {since: 2026-03-01}, t: {}}", "{w: {was: [v]}, t: {}}"])
def test_a_scope_that_stands_otherwise_to_old_tokens_changes_its_routes(new: str) -> None:
    difference = plan(policy(), policy(head=HEAD.replace("{w: {}, t: {}}", new)))
    assert [change.shape for change in difference.changes] == ["/w", "/w"]
    assert [(was.id, now.id) for was, now in difference.scopes if was and now] == [("w", "w")]
    assert rules(difference) == ["~ GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS /w"]


@settings(max_examples=100, deadline=None)
@given(policies)
def test_the_plan_from_a_policy_to_itself_is_empty(policy_: Policy) -> None:
    assert plan(policy_, policy_).is_empty


def mirrored(plan_: Plan) -> tuple[object, ...]:
    """The plan with its sides changed, in no order."""

    def swap(changes: tuple[Setting, ...]) -> tuple[Setting, ...]:
        return tuple(Setting(setting.name, setting.new, setting.old) for setting in changes)

    def turned(change: Change) -> Change:
        return change._replace(old=change.new, new=change.old, settings=swap(change.settings))

    def rule(change: RuleChange) -> RuleChange:
        return change._replace(old=change.new, new=change.old, settings=swap(change.settings))

    return frozenset(map(rule, plan_.rules)), frozenset(map(turned, plan_.changes)), tuple((now, was) for was, now in plan_.scopes), swap(plan_.settings)


@settings(max_examples=150, deadline=None)
@given(policies, policies)
def test_the_plan_back_is_the_mirror_of_the_plan_there(one: Policy, other: Policy) -> None:
    back = plan(other, one)
    assert mirrored(plan(one, other)) == (frozenset(back.rules), frozenset(back.changes), back.scopes, back.settings)


def takes(change: Change, path: str, *, ignore_case: bool) -> bool:
    template = Route(template=change.shape, methods=("GET",), scope=None)
    return isinstance(RouteTable([template], ignore_case=ignore_case).find(path, "GET"), Route)


requests = st.lists(st.tuples(paths, methods), min_size=20, max_size=40)


@settings(max_examples=130, deadline=None)
@given(policies, policies, requests, st.lists(st.tuples(grants, births), min_size=3, max_size=6))
def test_no_gain_and_no_loss_of_any_request_is_missed(old: Policy, new: Policy, asked: list[tuple[str, str]], holders: list[tuple[GrantSet, int]]) -> None:
    changes = plan(old, new).changes
    for path, method in asked:
        for held, born_ms in holders:
            verdicts = tuple(verdict(each, path, method, held, born_ms) for each in (old, new))
            if verdicts[0] != verdicts[1]:
                assert any(
                    (method in change.methods or ANY_OTHER in change.methods)
                    and takes(change, path, ignore_case=old.ignore_case or new.ignore_case)
                    and (change.old.lets(method, held, born_ms), change.new.lets(method, held, born_ms)) == verdicts
                    for change in changes
                ), (path, method, held)


@settings(max_examples=150, deadline=None)
@given(policies, policies, grants, births)
def test_every_change_of_access_is_true_of_its_example(old: Policy, new: Policy, held: GrantSet, born_ms: int) -> None:
    for change in plan(old, new).changes:
        for method in change.methods:
            assert (change.old.lets(method, held, born_ms), change.new.lets(method, held, born_ms)) == tuple(
                verdict(each, change.example, method, held, born_ms) for each in (old, new)
            )


def test_from_reporting_to_enforcing_all_that_no_rule_takes_is_decided_otherwise() -> None:
    """Seen to fail with only the rules compared: nothing would have been told of the paths without one."""
    difference = plan(policy(head="enforcement: report\n" + HEAD), policy())
    assert Setting("enforcement", "report", "enforce") in difference.settings
    (change,) = [change for change in difference.changes if change.only == NO_RULE]
    assert (change.shape, change.old.ask, change.new.ask) == ("/**", REPORTED, REFUSED)
    assert {change.old.ask.kind for change in difference.changes} == {"reported"}
