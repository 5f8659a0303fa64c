"""What owners are told of a token's use."""

from __future__ import annotations

from gateway.core.token_record import TokenRecord
from gateway.flow.usage import usage_json
from gateway.policy_file.load import parse_policy
from gateway.ports import Usage, UsedRoute

POLICY = parse_policy(
    b"version: 1\nscopes: {worklogs: {}, plans: {was: [planning]}, teams: {}}\n"
    b"routes: [{path: /w, scope: worklogs}, {path: /p, scope: plans}, {path: /t, scope: teams}]\n",
    "policy.yaml",
)
TODAY = 20_785  # 2026-11-28


def record(*grants: str) -> TokenRecord:
    return TokenRecord(
        id="a" * 12, name="x", owner="u", access="custom", grants=grants, policy_scopes=(), created_at=0, expires_at=1, state="active", version=1
    )


def test_thirty_days_are_told_oldest_first_those_without_use_too() -> None:
    usage = Usage(TODAY, [UsedRoute(TODAY, "view", "worklogs", "/w", 12), UsedRoute(TODAY - 29, "view", "worklogs", "/w", 1)], {TODAY: 1, TODAY - 1: 4})
    days = usage_json(record("worklogs:view"), usage, POLICY)["days"]
    assert [day["day"] for day in (days[0], days[-1])] == ["2026-10-30", "2026-11-28"]
    assert (len(days), [day for day in days if day["requests"] or day["refused"]]) == (
        30,
        [
            {"day": "2026-10-30", "requests": 1, "refused": 0},
            {"day": "2026-11-27", "requests": 0, "refused": 4},
            {"day": "2026-11-28", "requests": 12, "refused": 1},
        ],
    )


def test_routes_are_added_up_over_the_days_most_used_first() -> None:
    used = [UsedRoute(TODAY - 2, "view", "worklogs", "/w", 2), UsedRoute(TODAY - 1, "view", "worklogs", "/w", 2), UsedRoute(TODAY, "manage", "teams", "/t", 9)]
    told = usage_json(record("worklogs", "teams"), Usage(TODAY, used, {}), POLICY)
    assert told["routes"] == [
        {"route": "/t", "scope": "teams", "access": "manage", "requests": 9, "last_day": "2026-11-28"},
        {"route": "/w", "scope": "worklogs", "access": "view", "requests": 4, "last_day": "2026-11-27"},
    ]
    assert told["scopes"] == [{"scope": "teams", "view": 0, "manage": 9}, {"scope": "worklogs", "view": 4, "manage": 0}]


def test_what_was_not_needed_is_told_and_what_would_have_been_enough() -> None:
    used = [UsedRoute(TODAY, "view", "worklogs", "/w", 2)]
    told = usage_json(record("worklogs:manage", "teams:view"), Usage(TODAY, used, {}), POLICY)
    assert (told["unused_scopes"], told["narrowed_grants"]) == (["teams"], ["worklogs:view"])


def test_a_scope_that_was_renamed_counts_for_the_grant_of_its_old_id_and_is_named_by_its_new_one() -> None:
    """Seen to fail without the look at ``was``."""
    told = usage_json(record("planning:manage"), Usage(TODAY, [UsedRoute(TODAY, "manage", "plans", "/p", 1)], {}), POLICY)
    assert (told["unused_scopes"], told["narrowed_grants"]) == ([], ["plans:manage"])


def test_a_scope_that_the_policy_has_no_longer_is_told_and_not_granted_again() -> None:
    told = usage_json(record("rates:view"), Usage(TODAY, [UsedRoute(TODAY, "view", "rates", "/r", 1)], {}), POLICY)
    assert (told["scopes"][0]["scope"], told["unused_scopes"], told["narrowed_grants"]) == ("rates", [], [])
