"""The figures of the report, by hand on a few tokens."""

from __future__ import annotations

from gateway.core.token_record import TokenRecord
from gateway.flow.inventory import DAY_MS, inventory

NOW = 1_000 * DAY_MS


def token(
    token_id: str, age: int, used: int | None = None, *, owner: str = "ana", access: str = "custom", state: str = "active", days: int = 5000
) -> TokenRecord:
    """A token made ``age`` days ago, last used ``used`` days ago."""
    return TokenRecord(
        id=token_id,
        name=token_id,
        owner=owner,
        access=access,
        grants=("worklogs:manage", "teams:view"),
        policy_scopes=("worklogs", "teams"),
        created_at=NOW - age * DAY_MS,
        expires_at=NOW + (days - age) * DAY_MS,
        state=state,
        version=1,
        last_used_at=None if used is None else NOW - used * DAY_MS,
    )


FACTS = inventory(
    [
        token("new", 1),
        token("busy", 400, 2, access="full"),
        token("idle", 400, 91, owner="ben"),
        token("never", 90, owner="ben", state="suspended"),
        token("young", 89),
        token("gone", 10, 1, state="revoked"),
        token("over", 40, days=30, owner="cleo"),
    ],
    NOW,
)


def test_tokens_are_counted_by_state_and_owner() -> None:
    assert FACTS["states"] == {"active": 4, "suspended": 1, "revoked": 1, "expired": 1}
    assert FACTS["owners"] == [
        {"owner": "ana", "living": 3, "full": 1, "ended": 1},
        {"owner": "ben", "living": 2, "full": 0, "ended": 0},
        {"owner": "cleo", "living": 0, "full": 0, "ended": 1},
    ]


def test_only_living_tokens_are_counted_by_scope_age_and_last_use() -> None:
    assert FACTS["scopes"] == [{"scope": "teams", "view": 5, "manage": 0}, {"scope": "worklogs", "view": 0, "manage": 5}]
    assert FACTS["ages"] == {"within_7_days": 1, "within_30_days": 0, "within_90_days": 1, "within_365_days": 1, "longer": 2, "never": 0}
    assert FACTS["last_used"] == {"within_7_days": 1, "within_30_days": 0, "within_90_days": 0, "within_365_days": 1, "longer": 0, "never": 3}


def test_unused_for_90_days_counts_from_the_last_use_or_else_from_birth() -> None:
    """Seen to fail with a day more or less."""
    assert [each["id"] for each in FACTS["unused"]] == ["idle", "never"]
    assert [each["id"] for each in FACTS["full"]] == ["busy"]
