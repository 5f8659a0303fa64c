"""The life cycle against the rules of the contract, on a real store."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace

import pytest

from gateway.core.token_record import LiveRecord
from gateway.core.token_text import digest, parse
from gateway.flow.issuance import ON_THE_COMMAND_LINE, Issuance, IssuanceRefused, Issued, record_json
from gateway.policy_file.load import parse_policy
from gateway.ports import Reach, StoreUnavailable, TokenDraft
from gateway.store.connection import StoreOptions
from gateway.store.server import Store
from gateway.store.token_register import RedisTokenRegister
from gateway.store.token_store import RedisTokenStore

DAY_MS = 86_400_000
TEXT = """
version: 1
tokens: {max_per_owner: 3}
scopes: {worklogs: {}, teams: {}}
routes: [{path: /worklogs, scope: worklogs}, {path: /teams, scope: teams}]
"""
POLICY = parse_policy(TEXT, "policy.yaml")
WIDE = parse_policy(TEXT.replace("max_per_owner: 3", "max_per_owner: 10000"), "policy.yaml")


async def made(issuance: Issuance, name: str = "CI", owner: str = "u1") -> Issued:
    return await issuance.create(name=name, owner=owner, grants=["worklogs:view"], policy=WIDE)


async def short_lived(register: RedisTokenRegister, lifetime_ms: int = 30) -> str:
    """A token that expires soon, as no person could ask for; its id, once it has expired."""
    token_id = os.urandom(6).hex()
    draft = TokenDraft(token_id, digest("x"), "short", "u1", "custom", ("worklogs:view",), ("worklogs",), lifetime_ms, (), "")
    changed = await register.create(draft, max_per_owner=100, clock_ms=time.time_ns() // 1_000_000, max_skew_ms=60_000)
    assert changed.record is not None
    while True:
        _, now_ms = await register.record(token_id)
        if now_ms >= changed.record.expires_at:
            return token_id
        await asyncio.sleep(0.01)


async def live(tokens: RedisTokenStore, token_id: str) -> LiveRecord:
    record = (await tokens.fetch(token_id)).record
    assert record is not None
    return record


async def refused(work: object) -> IssuanceRefused:
    with pytest.raises(IssuanceRefused) as caught:
        await work  # type: ignore[misc]
    return caught.value


async def test_created_token_has_the_stores_time_and_30_days(issuance: Issuance) -> None:
    issued = await made(issuance)
    token = issued.token
    assert parse(issued.secret, "sgt") == token.id
    assert token.expires_at == token.created_at + 30 * DAY_MS
    assert abs(token.created_at - time.time() * 1000) < 60_000
    assert (token.name, token.owner, token.access, token.grants, token.policy_scopes) == ("CI", "u1", "custom", ("worklogs:view",), ("worklogs", "teams"))
    assert (token.state, token.version, token.regenerated_at, token.last_used_at) == ("active", 1, None, None)
    assert await issuance.get(token.id) == token


async def test_owner_is_the_operator_unless_told(issuance: Issuance) -> None:
    assert (await issuance.create(name="x", full=True, policy=POLICY)).token.owner == "operator"


@pytest.mark.parametrize("days", [1, 5000])
async def test_expiry_is_whole_days_of_86400_seconds(issuance: Issuance, days: int) -> None:
    token = (await issuance.create(name="x", full=True, expires_in_days=days, policy=POLICY)).token
    assert token.expires_at - token.created_at == days * DAY_MS


async def test_every_wrong_field_is_named_at_once_and_nothing_is_made(issuance: Issuance) -> None:
    fault = await refused(issuance.create(name=" ", owner="", grants=["nope"], expires_in_days=5001, allowed_ips=["here"], description="\0", policy=POLICY))
    assert (fault.code, fault.status) == ("invalid", 422)
    assert set(fault.fields) == {"name", "owner", "grants", "expires_in_days", "allowed_ips", "description"}
    assert (await issuance.list()).items == []


async def test_full_access_is_frozen_at_birth_and_tells_what_came_later(issuance: Issuance) -> None:
    token = (await issuance.create(name="x", full=True, policy=POLICY)).token
    assert (token.access, token.grants) == ("full", ("worklogs:manage", "teams:manage"))
    later = parse_policy(
        TEXT.replace("teams: {}}", "groups: {was: [teams]}, plans: {}, rates: {}}").replace(
            "teams, scope: teams}", "t, scope: groups}, {path: /p, scope: plans}, {path: /r, scope: rates}"
        ),
        "policy.yaml",
    )
    assert record_json(token, token.created_at, POLICY)["scopes_added_since"] == 0
    assert record_json(token, token.created_at, later)["scopes_added_since"] == 2  # a renamed one is none of them
    assert "scopes_added_since" not in record_json((await made(issuance)).token, 0, later)


async def test_record_as_json_has_the_contracts_fields_and_the_derived_state(issuance: Issuance) -> None:
    token = (await made(issuance)).token
    shown = record_json(token, token.expires_at - 1, POLICY)
    assert list(shown) == (
        [
            "id",
            "name",
            "owner",
            "access",
            "grants",
            "policy_scopes",
            "created_at",
            "expires_at",
            "state",
            "version",
            "regenerated_at",
            "last_used_at",
            "last_used_from",
            "reuse",
            "replaced_by",
            "allowed_ips",
            "description",
        ]
    )
    assert shown["state"] == "active"
    assert shown["created_at"].endswith("Z")
    assert record_json(token, token.expires_at, POLICY)["state"] == "expired"


async def test_regenerated_token_keeps_all_but_its_secret(issuance: Issuance, tokens: RedisTokenStore) -> None:
    first = await made(issuance)
    second = await issuance.regenerate(first.token.id)
    assert second.token.version == 2
    assert second.token.regenerated_at is not None
    assert (second.token.id, second.token.name, second.token.grants, second.token.expires_at) == (
        first.token.id,
        first.token.name,
        first.token.grants,
        first.token.expires_at,
    )
    record = await live(tokens, first.token.id)
    assert (record.digest, record.previous, record.overlap_until) == (digest(second.secret), digest(first.secret), 0)


async def test_overlap_lets_the_previous_secret_live_for_its_time(issuance: Issuance, tokens: RedisTokenStore) -> None:
    first = await made(issuance)
    second = await issuance.regenerate(first.token.id, overlap_s=3600)
    record = await live(tokens, first.token.id)
    assert second.token.regenerated_at is not None
    assert record.overlap_until == second.token.regenerated_at + 3_600_000


async def test_overlap_never_outlives_the_token(issuance: Issuance, tokens: RedisTokenStore) -> None:
    token = (await issuance.create(name="x", full=True, expires_in_days=1, policy=POLICY)).token
    await issuance.regenerate(token.id, overlap_s=7 * 86_400)
    assert (await live(tokens, token.id)).overlap_until == token.expires_at


@pytest.mark.parametrize("overlap_s", [-1, 7 * 86_400 + 1, True])
async def test_overlap_out_of_range_is_refused(issuance: Issuance, overlap_s: int) -> None:
    token = (await made(issuance)).token
    fault = await refused(issuance.regenerate(token.id, overlap_s))
    assert (fault.code, list(fault.fields)) == ("invalid", ["overlap"])
    assert (await issuance.get(token.id)).version == 1


async def test_only_the_last_previous_secret_is_remembered(issuance: Issuance, tokens: RedisTokenStore) -> None:
    first = await made(issuance)
    second = await issuance.regenerate(first.token.id)
    third = await issuance.regenerate(first.token.id)
    record = await live(tokens, first.token.id)
    assert (record.digest, record.previous) == (digest(third.secret), digest(second.secret))


async def test_parallel_regenerates_are_served_one_after_the_other(issuance: Issuance, tokens: RedisTokenStore) -> None:
    first = await made(issuance)
    answers = await asyncio.gather(*(issuance.regenerate(first.token.id) for _ in range(20)))
    assert sorted(answer.token.version for answer in answers) == list(range(2, 22))
    by_version = sorted(answers, key=lambda answer: answer.token.version)
    record = await live(tokens, first.token.id)
    assert (record.version, record.digest, record.previous) == (21, digest(by_version[-1].secret), digest(by_version[-2].secret))


async def test_suspended_token_is_resumed_but_not_regenerated(issuance: Issuance) -> None:
    token = (await made(issuance)).token
    assert (await issuance.suspend(token.id)).token.state == "suspended"
    assert (await issuance.suspend(token.id)).token.version == 2  # once more does nothing
    fault = await refused(issuance.regenerate(token.id))
    assert (fault.code, fault.status) == ("not_active", 409)
    assert (await issuance.resume(token.id)).state == "active"
    assert (await issuance.resume(token.id)).version == 3
    assert (await issuance.regenerate(token.id)).token.version == 4


async def test_revoked_token_never_comes_back(issuance: Issuance) -> None:
    token = (await made(issuance)).token
    assert (await issuance.revoke(token.id)).token.state == "revoked"
    assert (await issuance.revoke(token.id)).token.version == 2  # once more does nothing
    for work in (issuance.regenerate, issuance.suspend, issuance.resume):
        fault = await refused(work(token.id))
        assert (fault.code, fault.status) == ("not_active", 409)
        assert "revoked" in fault.message
    assert (await issuance.get(token.id)).version == 2


async def test_suspended_token_can_be_revoked(issuance: Issuance) -> None:
    token = (await made(issuance)).token
    await issuance.suspend(token.id)
    assert (await issuance.revoke(token.id)).token.state == "revoked"


async def test_expired_token_is_only_revoked_or_renamed(issuance: Issuance, register: RedisTokenRegister) -> None:
    token_id = await short_lived(register)
    for work in (issuance.regenerate, issuance.suspend, issuance.resume):
        fault = await refused(work(token_id))
        assert (fault.code, "expired" in fault.message) == ("not_active", True)
    renamed = await issuance.rename(token_id, name="old")
    assert (renamed.name, renamed.state_at(issuance.now_ms())) == ("old", "expired")
    revoked = (await issuance.revoke(token_id)).token
    assert revoked.state_at(issuance.now_ms()) == "revoked"  # revoked comes before expired


async def test_suspending_does_not_stop_the_expiry(issuance: Issuance) -> None:
    token = (await made(issuance)).token
    await issuance.suspend(token.id)
    assert (await issuance.resume(token.id)).expires_at == token.expires_at


async def test_rename_changes_name_and_description_and_nothing_else(issuance: Issuance, tokens: RedisTokenStore) -> None:
    issued = await made(issuance)
    renamed = await issuance.rename(issued.token.id, name=' "new" ', description="why\nso")
    assert (renamed.name, renamed.description, renamed.version) == ('"new"', "why\nso", 2)
    assert (await issuance.rename(issued.token.id, description="")).name == '"new"'
    assert (await issuance.rename(issued.token.id)).version == 3
    assert (await live(tokens, issued.token.id)).digest == digest(issued.secret)
    assert set((await refused(issuance.rename(issued.token.id, name="", description="\0"))).fields) == {"name", "description"}


@pytest.mark.parametrize("token_id", ["000000000000", "", "nope", "0" * 13, "{000000000}", "../../../../"])
async def test_unknown_id_is_not_found(issuance: Issuance, token_id: str) -> None:
    for work in (issuance.get, issuance.revoke, issuance.suspend, issuance.resume, issuance.regenerate, lambda unknown: issuance.rename(unknown, name="x")):
        fault = await refused(work(token_id))
        assert (fault.code, fault.status) == ("not_found", 404)


async def test_owner_has_at_most_as_many_tokens_as_the_policy_says(issuance: Issuance) -> None:
    mine = [await issuance.create(name=str(n), owner="u1", full=True, policy=POLICY) for n in range(3)]
    fault = await refused(issuance.create(name="4", owner="u1", full=True, policy=POLICY))
    assert (fault.code, fault.status) == ("too_many_tokens", 409)
    await issuance.create(name="1", owner="u2", full=True, policy=POLICY)
    await issuance.revoke(mine[0].token.id)
    await issuance.create(name="4", owner="u1", full=True, policy=POLICY)  # an ended one does not count
    assert (await refused(issuance.create(name="5", owner="u1", full=True, policy=POLICY))).code == "too_many_tokens"
    assert len((await issuance.list(owner="u1")).items) == 4


async def test_parallel_creates_never_exceed_the_owners_limit(issuance: Issuance) -> None:
    outcomes = await asyncio.gather(*(issuance.create(name="x", owner="u1", full=True, policy=POLICY) for _ in range(12)), return_exceptions=True)
    assert sum(isinstance(outcome, Issued) for outcome in outcomes) <= 3
    assert all(isinstance(outcome, Issued | IssuanceRefused) for outcome in outcomes)
    assert len((await issuance.list(owner="u1")).items) <= 3


@pytest.mark.parametrize("skew_ms", [-61_000, 61_000])
async def test_clock_that_differs_by_over_60_seconds_refuses_a_create(register: RedisTokenRegister, skew_ms: int) -> None:
    issuance = Issuance(register, "sgt", by=ON_THE_COMMAND_LINE, clock_ms=lambda: time.time_ns() // 1_000_000 + skew_ms)
    fault = await refused(issuance.create(name="x", full=True, policy=POLICY))
    assert (fault.code, fault.status) == ("clock_skew", 503)
    assert (await issuance.list()).items == []


async def test_listing_is_newest_first_and_steady_while_tokens_are_made(issuance: Issuance, register: RedisTokenRegister) -> None:
    ids: list[str] = []
    for n in range(7):
        token = (await made(issuance, str(n))).token
        ids.append(token.id)
        while (await register.record(token.id))[1] <= token.created_at:
            await asyncio.sleep(0.001)
    page = await issuance.list(limit=3)
    seen = [token.id for token in page.items]
    later = (await made(issuance, "later")).token.id
    while page.next:
        page = await issuance.list(limit=3, cursor=page.next)
        seen += [token.id for token in page.items]
    assert seen == ids[::-1]
    assert [token.id for token in (await issuance.list()).items] == [later, *ids[::-1]]


async def test_tokens_of_one_millisecond_are_each_listed_once(issuance: Issuance, store: Store) -> None:
    ids = {(await made(issuance)).token.id for _ in range(9)}
    async with store.session() as (session, now_ms):
        await session.write(*(("ZADD", store.keys.ids, now_ms, token_id) for token_id in ids))
    seen: list[str] = []
    cursor = ""
    for _ in range(20):
        page = await issuance.list(limit=2, cursor=cursor)
        seen += [token.id for token in page.items]
        cursor = page.next
        if not cursor:
            break
    assert sorted(seen) == sorted(ids)


async def test_listing_filters_by_state_owner_and_text(issuance: Issuance, register: RedisTokenRegister) -> None:
    active = (await made(issuance, "Deploy Zürich")).token
    suspended = (await made(issuance, "b", "u2")).token
    revoked = (await made(issuance, "c", "u2")).token
    await issuance.suspend(suspended.id)
    await issuance.revoke(revoked.id)
    expired = await short_lived(register)

    async def ids(**filters: str) -> list[str]:
        return [token.id for token in (await issuance.list(**filters)).items]  # type: ignore[arg-type]

    assert await ids(state="active") == [active.id]
    assert await ids(state="suspended") == [suspended.id]
    assert await ids(state="revoked") == [revoked.id]
    assert await ids(state="expired") == [expired]
    assert set(await ids(owner="u2")) == {suspended.id, revoked.id}
    assert await ids(owner="u2", state="revoked") == [revoked.id]
    assert await ids(owner="nobody") == []
    assert await ids(q="ZÜRICH") == [active.id]
    assert await ids(q=suspended.id) == [suspended.id]
    assert await ids(q="no such") == []


async def test_filtered_pages_hold_each_token_once(issuance: Issuance) -> None:
    kept = {(await made(issuance, f"keep {n}")).token.id for n in range(5)}
    for n in range(6):
        await made(issuance, f"other {n}")
    seen: list[str] = []
    cursor = ""
    while True:
        page = await issuance.list(q="keep", limit=2, cursor=cursor)
        seen += [token.id for token in page.items]
        cursor = page.next
        if not cursor:
            break
    assert sorted(seen) == sorted(kept)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"state": "dead"}, "state"), ({"limit": 0}, "limit"), ({"limit": 501}, "limit"), ({"cursor": "x"}, "cursor"), ({"cursor": "1-2\n"}, "cursor")],
)
async def test_wrong_listing_is_refused_by_its_field(issuance: Issuance, wrong: dict[str, object], field: str) -> None:
    fault = await refused(issuance.list(**wrong))  # type: ignore[arg-type]
    assert (fault.code, list(fault.fields)) == ("invalid", [field])


async def test_all_tokens_of_one_who_leaves_are_ended_and_told(issuance: Issuance, register: RedisTokenRegister) -> None:
    mine = [(await made(issuance)).token.id for _ in range(3)]
    other = (await made(issuance, owner="u2")).token.id
    await issuance.suspend(mine[0])
    await issuance.revoke(mine[1])
    await short_lived(register)
    ended = (await issuance.revoke_owner("u1")).tokens
    assert {token.id for token in ended} == {mine[0], mine[2]}
    assert all(token.state == "revoked" for token in ended)
    assert (await issuance.get(other)).state == "active"
    assert (await issuance.revoke_owner("u1")).tokens == []


async def test_owner_is_revoked_and_revoked_again_only_once_all_workers_know(options: StoreOptions) -> None:
    """Seen to fail with tokens passed over that are revoked already: the first call may have failed before it was known."""
    store = Store(replace(options, lease_s=0.2))
    await store.start()
    try:
        issuance = Issuance(RedisTokenRegister(store), "sgt", by=ON_THE_COMMAND_LINE)
        token = (await made(issuance)).token
        async with store.session() as (session, now_ms):
            await session.write(("ZADD", store.keys.workers, now_ms + 60_000, "silent/0"))
        ended, reach = await issuance.revoke_owner("u1")
        assert ([each.id for each in ended], reach) == ([token.id], Reach(1, 0))
        assert await issuance.revoke_owner("u1") == ([], Reach(1, 0))
        assert await issuance.revoke_owner("nobody") == ([], Reach(0, 0))
    finally:
        await store.close()


async def test_owner_is_revoked_whole_though_the_owners_index_is_lost(issuance: Issuance, store: Store) -> None:
    mine = {(await made(issuance)).token.id for _ in range(2)}
    async with store.session() as (session, _):
        await session.write(("DEL", store.keys.owner("u1")))
    assert {token.id for token in (await issuance.revoke_owner("u1")).tokens} == mine


async def test_owner_of_whom_some_tokens_were_ended_before_the_store_failed_is_told_so(issuance: Issuance, store: Store) -> None:
    """Seen to fail with the store's own word for the last token passed on."""
    first, second = [(await made(issuance)).token.id for _ in range(2)]
    async with store.session() as (session, _):
        await session.write(("HDEL", store.keys.info(first), "digest"))  # the script can't go on without it
    with pytest.raises(StoreUnavailable) as caught:
        await issuance.revoke_owner("u1")
    assert caught.value.written
    assert (await issuance.get(second)).state == "revoked"
    assert (await issuance.get(first)).state == "active"
    with pytest.raises(StoreUnavailable) as caught:
        await issuance.revoke_owner("u1")
    assert not caught.value.written


async def test_issued_repr_hides_the_secret(issuance: Issuance) -> None:
    issued = await made(issuance)
    assert issued.secret not in repr(issued)
