from __future__ import annotations

import pytest

from gateway.core.scope import MANAGE, VIEW, GrantSet, Scope, parse_grant, parse_grants


@pytest.mark.parametrize(
    ("text", "grant"),
    [
        ("worklogs", ("worklogs", MANAGE)),
        ("worklogs:manage", ("worklogs", MANAGE)),
        ("worklogs:view", ("worklogs", VIEW)),
        ("financial-manager:view", ("financial-manager", VIEW)),
        ("no", ("no", MANAGE)),
        ("012", ("012", MANAGE)),
        ("a" * 64, ("a" * 64, MANAGE)),
    ],
)
def test_grant_is_read(text: str, grant: tuple[str, int]) -> None:
    assert parse_grant(text) == grant


@pytest.mark.parametrize(
    "text", ["", ":view", "worklogs:", "worklogs:View", "worklogs:view:x", "Worklogs", "work logs", "-a", "a-", "a" * 65, "worklogs\n", "é"]
)
def test_text_that_is_no_grant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no grant"):
        parse_grant(text)


def test_of_two_grants_for_one_scope_the_wider_counts() -> None:
    assert parse_grants(["a:view", "a", "b:view", "a:view"]).text == "a:manage b:view"


def test_manage_includes_view_and_nothing_else_is_held() -> None:
    scope = Scope("plans", "Plans")
    assert scope.held_by({"plans": MANAGE}, 0) == MANAGE
    assert scope.held_by({"plans": VIEW}, 0) == VIEW
    assert scope.held_by({"teams": MANAGE, "plan": MANAGE}, 0) == 0


def test_grants_of_a_former_id_count_and_the_wider_wins() -> None:
    scope = Scope("plans", "Plans", was=("planning", "roadmap"))
    assert scope.held_by({"planning": VIEW}, 0) == VIEW
    assert scope.held_by({"planning": VIEW, "roadmap": MANAGE}, 0) == MANAGE
    assert scope.held_by({"plans": VIEW, "planning": MANAGE}, 0) == MANAGE


def test_token_made_before_since_does_not_hold_the_scope_under_any_id() -> None:
    scope = Scope("plans", "Plans", since_ms=1000, was=("planning",))
    held = {"plans": MANAGE, "planning": MANAGE}
    assert scope.held_by(held, 999) == 0
    assert scope.held_by(held, 1000) == MANAGE


def test_grant_set_keeps_its_own_copy() -> None:
    levels = {"a": VIEW}
    grants = GrantSet(levels)
    levels["b"] = MANAGE
    assert grants.text == "a:view"
    assert grants.levels == {"a": VIEW}


def test_grants_of_a_scopes_former_ids_are_grants_of_it() -> None:
    """Seen to fail where only the present id is looked at."""
    scopes = [Scope("plans", "Plans", was=("planning", "roadmaps")), Scope("teams", "Teams"), Scope("accounts", "Accounts")]
    assert parse_grants(["planning", "plans:view", "teams:view", "gone"]).named_now(scopes).text == "plans:manage teams:view"
