"""What people are shown of a token."""

from __future__ import annotations

import pytest

from gateway.core.token_record import TokenRecord
from gateway.policy_file.load import parse_policy
from gateway.ui.token_view import DAY_MS, choices, days_of, held_in_words, levels_of, moment, unix_ms, view

NOW = unix_ms("2026-11-29T12:00:00Z")
POLICY = parse_policy(
    b"version: 1\nscopes:\n  worklogs: {title: Worklogs, resources: [Worklogs, Work Attributes]}\n  plans: {title: Plans, was: [planning]}\n"
    b"routes:\n  - {path: /w/**, scope: worklogs}\n  - {path: /p, scope: plans}\n",
    "policy.yaml",
)


def record(**facts: object) -> TokenRecord:
    known: dict[str, object] = {"access": "custom", "grants": ("worklogs:view",), "policy_scopes": ("worklogs", "planning"), "state": "active"}
    known |= {"created_at": NOW - DAY_MS, "expires_at": NOW + 30 * DAY_MS, "version": 1, **facts}
    return TokenRecord(id="a" * 12, name="Nightly", owner="ana", **known)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "label", "tone"),
    [
        ({}, "Active", "good"),
        ({"expires_at": NOW + 15 * DAY_MS}, "Active", "good"),
        ({"expires_at": NOW + 14 * DAY_MS}, "Expires in 14 days", "soon"),
        ({"expires_at": NOW + DAY_MS}, "Expires in 1 day", "soon"),
        ({"expires_at": NOW + 1000}, "Expires today", "soon"),
        ({"expires_at": NOW}, "Expired", "ended"),
        ({"state": "suspended"}, "Suspended", "paused"),
        ({"state": "revoked", "expires_at": NOW}, "Revoked", "ended"),
    ],
)
def test_the_state_is_told_at_a_glance_with_an_end_that_is_near(facts: dict[str, object], label: str, tone: str) -> None:
    shown = view(record(**facts), NOW, POLICY)
    assert (shown.label, shown.tone) == (label, tone)


def test_only_an_active_token_may_be_regenerated_and_an_ended_one_not_revoked() -> None:
    states = {state: view(record(state=state), NOW, POLICY) for state in ("active", "suspended", "revoked")}
    assert {state: (shown.may_regenerate, shown.may_end) for state, shown in states.items()} == {
        "active": (True, True),
        "suspended": (False, True),
        "revoked": (False, False),
    }


def test_the_days_of_a_token_are_those_it_was_made_for_and_no_more_than_the_policy_has() -> None:
    made = {"created_at": NOW, "expires_at": NOW + 90 * DAY_MS - 1}
    assert [days_of(record(**made), most) for most in (5000, 60)] == [90, 60]
    assert days_of(record(created_at=NOW, expires_at=NOW + 1000), 60) == 1


def test_a_full_token_tells_how_many_scopes_were_added_since() -> None:
    assert view(record(access="full", policy_scopes=("worklogs",)), NOW, POLICY).added_since == 1
    assert view(record(access="full"), NOW, POLICY).added_since == 0


def test_grants_are_told_by_title_in_the_policys_order_old_ids_too_and_lost_ones_last() -> None:
    told = held_in_words(("gone:view", "planning:manage", "worklogs:view"), POLICY)
    assert told == (("worklogs", "Worklogs", "view"), ("plans", "Plans", "manage"), ("gone", "gone", "view"))


@pytest.mark.parametrize(
    ("away_ms", "seen"),
    [
        (-1000, "just now"),
        (-59_000, "59 seconds ago"),
        (-60_000, "1 minute ago"),
        (-47 * 3_600_000, "47 hours ago"),
        (-48 * 3_600_000, "2 days ago"),
        (30 * DAY_MS - 1000, "in 30 days"),
        (3_600_000, "in 1 hour"),
    ],
)
def test_a_time_is_told_as_seen_from_now(away_ms: int, seen: str) -> None:
    assert moment(NOW + away_ms, NOW).seen == seen


def test_a_time_is_told_in_full_in_utc() -> None:
    assert moment(unix_ms("2026-03-01T04:05:06Z"), NOW)[:3] == ("2026-03-01T04:05:06Z", "1 Mar 2026, 04:05 UTC", "1 Mar 2026")


def test_the_form_ticks_what_is_asked_for_as_far_as_one_may_grant_it() -> None:
    rows = choices(POLICY, {"worklogs": 1}, {"worklogs": 2, "planning": 2}, {"worklogs": "/w"})
    assert [(row.id, row.chosen, row.most, row.example) for row in rows] == [("worklogs", "view", "view", "/w"), ("plans", "none", "none", "")]
    assert [row.chosen for row in choices(POLICY, None, {"planning": 2}, {})] == ["none", "manage"]


def test_what_is_no_grant_in_a_link_is_left_out() -> None:
    assert levels_of("worklogs:view,worklogs:manage,teams,<b>,plans:all,plans:view") == {"worklogs": 2, "plans": 1}
