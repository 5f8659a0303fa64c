from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.plan import plan
from gateway.core.plan_tokens import Claim, TokenEffects
from gateway.core.policy import Policy
from gateway.core.scope import GrantSet, parse_grants
from gateway.core.token_record import TokenRecord
from gateway.policy_file.load import parse_policy
from tests.harness.random_policies import JANUARY, MARCH, births, grants, policies

NOW = MARCH + 86_400_000


def policy(scopes: str, *routes: str) -> Policy:
    return parse_policy(f"version: 1\nscopes: {scopes}\nroutes:\n" + "".join(f"  - {{{route}}}\n" for route in routes), "p.yaml")


def token(token_id: str, *held: str, born: int = JANUARY, state: str = "active", expires: int = NOW + 1, access: str = "custom") -> TokenRecord:
    return TokenRecord(
        id=token_id,
        name=f"job {token_id}",
        owner="ann",
        access=access,
        grants=held,
        policy_scopes=(),
        created_at=born,
        expires_at=expires,
        state=state,
        version=1,
    )


def effects(old: Policy, new: Policy, *tokens: TokenRecord) -> TokenEffects:
    found = TokenEffects(plan(old, new), old, new)
    for record in tokens:
        found.add(record, NOW)
    return found


def told(found: TokenEffects) -> list[tuple[list[str], list[str], list[str]]]:
    """For each group: what it gains, what it loses, which tokens they are."""
    return [
        (
            *([f"{','.join(change.methods)} {change.shape}" for change in changes] for changes in (group.gains, group.losses)),
            [named.id for named in group.tokens],
        )
        for group in found.groups()
    ]


def test_a_route_added_to_an_old_scope_reaches_its_old_tokens() -> None:
    old, new = policy("{w: {}}", "path: /w, scope: w"), policy("{w: {}}", "path: /w, scope: w", "path: /x, methods: [GET, PUT], scope: w")
    assert told(effects(old, new, token("t1", "w:view"), token("t2", "w:manage"), token("t3", "v:manage"))) == [
        (["GET,HEAD /x"], [], ["t1"]),
        (["GET,HEAD /x", "PUT,WEBSOCKET /x"], [], ["t2"]),
    ]


def test_tokens_that_lose_come_first_and_equal_ones_are_one_group() -> None:
    old, new = (
        policy("{w: {}, t: {}}", "path: /w, methods: [GET], scope: w", "path: /t, scope: t"),
        policy("{w: {}, t: {}}", "path: /w, methods: [GET], scope: t", "path: /t, scope: w"),
    )
    found = effects(old, new, token("t1", "w:view"), token("t2", "w:view"), token("t3", "w:view", "t:view"))
    assert [(tokens, bool(losses)) for _, losses, tokens in told(found)] == [(["t1", "t2"], True)]


def test_only_living_tokens_count() -> None:
    old, new = policy("{w: {}}", "path: /w, scope: w", "path: /x, scope: w"), policy("{w: {}}", "path: /w, scope: w")
    found = effects(old, new, token("t1", "w:view", state="suspended"), token("t2", "w:view", state="revoked"), token("t3", "w:view", expires=NOW))
    assert [tokens for *_, tokens in told(found)] == [["t1"]]
    assert (found.living, found.ended) == (1, 2)


def test_full_tokens_are_counted_and_do_not_get_a_new_scope() -> None:
    old, new = policy("{w: {}}", "path: /w, scope: w"), policy("{w: {}, p: {}}", "path: /w, scope: w", "path: /p, scope: p")
    found = effects(old, new, token("t1", "w:manage", access="full"))
    assert (found.full, told(found), found.claims()) == (1, [], [])


def test_a_route_that_becomes_public_lets_every_token_through() -> None:
    old, new = (
        policy("{w: {}}", "path: /w, scope: w", "path: /s, methods: [PUT], scope: w"),
        policy("{w: {}}", "path: /w, scope: w", "path: /s, methods: [PUT], public: true"),
    )
    assert told(effects(old, new, token("t1"), token("t2", "w:manage"), token("t3", "w:view"))) == [(["PUT /s"], [], ["t1", "t3"])]


def test_a_scope_id_that_comes_back_is_named_with_its_newest_token() -> None:
    old, new = policy("{w: {}}", "path: /w, scope: w"), policy("{w: {}, p: {}}", "path: /w, scope: w", "path: /p, scope: p")
    found = effects(old, new, token("t1", "p:view"), token("t2", "p:view", "w:view", born=MARCH), token("t3", "p:view", state="revoked"))
    assert found.claims() == [Claim("p", "p", 2, MARCH)]
    assert [tokens for *_, tokens in told(found)] == [["t1", "t2"]]


def test_a_scope_id_that_comes_back_with_since_claims_no_older_token() -> None:
    old, new = policy("{w: {}}", "path: /w, scope: w"), policy("{w: {}, p: {since: 2026-03-01}}", "path: /w, scope: w", "path: /p, scope: p")
    found = effects(old, new, token("t1", "p:view"))
    assert (found.claims(), told(found)) == ([], [])


def test_grants_taken_over_by_was_are_named_unless_the_scope_was_renamed() -> None:
    old = policy("{w: {}, p: {}}", "path: /w, scope: w", "path: /p, scope: p")
    renamed = policy("{w: {}, q: {was: [p]}}", "path: /w, scope: w", "path: /p, scope: q")
    taken = policy("{w: {was: [gone]}, p: {}}", "path: /w, scope: w", "path: /p, scope: p")
    tokens = token("t1", "p:view"), token("t2", "gone:view")
    assert (effects(old, renamed, *tokens).claims(), told(effects(old, renamed, *tokens))) == ([], [])
    back = policy("{w: {}, p: {was: [q]}}", "path: /w, scope: w", "path: /p, scope: p")
    assert (effects(renamed, back, *tokens).claims(), told(effects(renamed, back, *tokens))) == ([], [])
    assert effects(old, taken, *tokens).claims() == [Claim("gone", "w", 1, JANUARY)]


def test_a_former_id_that_becomes_a_scope_of_its_own_is_named() -> None:
    old = policy("{q: {was: [p]}}", "path: /p, scope: q")
    new = policy("{q: {}, p: {}}", "path: /p, scope: q", "path: /other, scope: p")
    assert effects(old, new, token("t1", "p:view")).claims() == [Claim("p", "p", 1, JANUARY)]


def test_tokens_that_list_a_scope_which_goes_are_counted() -> None:
    old, new = policy("{w: {}, p: {}}", "path: /w, scope: w", "path: /p, scope: p"), policy("{w: {}}", "path: /w, scope: w")
    assert effects(old, new, token("t1", "p:view"), token("t2", "w:view")).dormant == {"p": 1}


@settings(max_examples=150, deadline=None)
@given(policies, policies, st.lists(st.tuples(grants, births), min_size=1, max_size=8))
def test_grouped_tokens_gain_and_lose_what_each_would_by_itself(old: Policy, new: Policy, held: list[tuple[GrantSet, int]]) -> None:
    tokens = [token(f"t{number}", *each.text.split(), born=born) for number, (each, born) in enumerate(held)]
    found = effects(old, new, *tokens)
    grouped = {named.id: (group.gains, group.losses) for group in found.groups() for named in group.tokens}
    changes = plan(old, new).changes
    keys = {change: number for number, change in enumerate(changes)}
    for record in tokens:
        own = parse_grants(record.grants)
        verdicts = [tuple(rule.lets(change.methods[0], own, record.created_at) for rule in (change.old, change.new)) for change in changes]
        gains, losses = ([number for number, verdict in enumerate(verdicts) if verdict == wanted] for wanted in ((False, True), (True, False)))
        assert [[keys[change] for change in part] for part in grouped.get(record.id, ((), ()))] == [gains, losses]
