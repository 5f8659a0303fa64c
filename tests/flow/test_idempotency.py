"""Idempotency-Key: a call that its caller names is done once, whatever comes between."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.flow import once
from gateway.ports import StoreUnavailable
from gateway.store.once_store import KEPT_MS, RedisOnceStore
from gateway.store.server import Store
from gateway.store.token_register import RedisTokenRegister
from tests.flow.management_port import ISSUER, Answer, Port, management_port, user_jwt

TOKENS = "/api/v1/tokens"
NEW = {"name": "x", "grants": ["worklogs"]}


@pytest.fixture
async def port(store: Store) -> AsyncIterator[Port]:
    async with management_port(store, issuers=[ISSUER]) as running:
        yield running


def is_repeat(answer: Answer, token_id: str | None) -> None:
    assert (answer.status, answer.json["code"]) == (409, "already_done"), answer.body
    assert (answer.json["token"] or {}).get("id") == token_id
    assert "secret" not in answer.json


async def tokens(port: Port) -> list[dict[str, Any]]:
    return list((await port.ask("GET", TOKENS)).json["items"])


async def test_a_repeat_makes_no_second_token_and_is_told_of_the_first_without_its_secret(port: Port) -> None:
    """Seen to fail where the key is not looked at."""
    first = await port.ask("POST", TOKENS, NEW, Idempotency_Key="k 1")
    assert first.status == 201
    for body in (NEW, {**NEW, "name": "another"}):
        repeat = await port.ask("POST", TOKENS, body, Idempotency_Key="k 1")
        is_repeat(repeat, first.json["token"]["id"])
        assert first.json["secret"] not in repeat.body.decode()
        assert repeat.json["token"] == first.json["token"]
    assert len(await tokens(port)) == 1


async def test_another_key_and_no_key_are_other_calls(port: Port) -> None:
    for key in ("a", "b", "", "", "A"):
        assert (await port.ask("POST", TOKENS, NEW, Idempotency_Key=key)).status == 201
    assert len(await tokens(port)) == 5


async def test_a_repeated_regenerate_leaves_the_first_new_secret_alone(port: Port) -> None:
    """Seen to fail where the key is not looked at."""
    token_id = (await port.make())["token"]["id"]
    first = await port.ask("POST", f"{TOKENS}/{token_id}/regenerate", Idempotency_Key="k")
    assert first.status == 200
    is_repeat(await port.ask("POST", f"{TOKENS}/{token_id}/regenerate", {"overlap": "1h"}, Idempotency_Key="k"), token_id)
    assert (await port.ask("GET", f"{TOKENS}/{token_id}")).json["token"]["version"] == 2
    assert (await port.ask("POST", f"{TOKENS}/{token_id}/regenerate", Idempotency_Key="k2")).status == 200


async def test_a_key_that_made_a_token_regenerates_none(port: Port) -> None:
    made = await port.ask("POST", TOKENS, NEW, Idempotency_Key="k")
    other = (await port.make())["token"]["id"]
    is_repeat(await port.ask("POST", f"{TOKENS}/{other}/regenerate", Idempotency_Key="k"), made.json["token"]["id"])
    assert (await port.ask("GET", f"{TOKENS}/{other}")).json["token"]["version"] == 1


async def test_a_key_is_its_callers_own(port: Port) -> None:
    """Seen to fail where the digest is of the key alone: one caller would learn of another's token."""
    callers = [user_jwt("ana"), user_jwt("ben"), user_jwt("cleo"), user_jwt("ana", admin=True)]
    made = [await port.ask("POST", TOKENS, NEW, key=key, Idempotency_Key="k") for key in callers] + [await port.ask("POST", TOKENS, NEW, Idempotency_Key="k")]
    assert [answer.status for answer in made] == [201] * 5
    for key, answer in zip(callers, made, strict=False):
        is_repeat(await port.ask("POST", TOKENS, NEW, key=key, Idempotency_Key="k"), answer.json["token"]["id"])


async def test_of_many_at_once_one_does_it(port: Port) -> None:
    """Seen to fail with a look and a set of the key in two steps."""
    answers = await asyncio.gather(*(port.ask("POST", TOKENS, NEW, Idempotency_Key="k") for _ in range(12)))
    assert Counter(answer.status for answer in answers) == {201: 1, 409: 11}
    (made,) = await tokens(port)
    assert {answer.json["token"]["id"] for answer in answers if answer.json["token"]} == {made["id"]}


@pytest.mark.parametrize("body", [{"name": ""}, {**NEW, "grants": ["nobody"]}, {**NEW, "x": 1}])
async def test_a_call_that_was_refused_leaves_its_key_free(port: Port, body: dict[str, Any]) -> None:
    """Seen to fail where the key is taken before the fields are looked at."""
    assert (await port.ask("POST", TOKENS, body, Idempotency_Key="k")).status == 422
    assert (await port.ask("POST", TOKENS, NEW, Idempotency_Key="k")).status == 201


async def test_a_call_that_the_store_refuses_leaves_its_key_free(port: Port) -> None:
    """Seen to fail where the key is not given back."""
    made = [(await port.make())["token"]["id"] for _ in range(5)]
    assert (await port.ask("POST", TOKENS, NEW, Idempotency_Key="k")).json["code"] == "too_many_tokens"
    await port.ask("DELETE", f"{TOKENS}/{made[0]}")
    assert (await port.ask("POST", f"{TOKENS}/{made[0]}/regenerate", Idempotency_Key="k")).json["code"] == "not_active"
    assert (await port.ask("POST", f"{TOKENS}/{'0' * 12}/regenerate", Idempotency_Key="k")).json["code"] == "not_found"
    assert (await port.ask("POST", TOKENS, NEW, Idempotency_Key="k")).status == 201


@pytest.mark.parametrize("written", [False, True])
async def test_a_call_whose_store_failed_is_done_again_only_where_nothing_was_written(port: Port, written: bool) -> None:
    """Seen to fail where a key is given back whatever was written."""
    real = RedisTokenRegister.create

    async def fail(self: RedisTokenRegister, *arguments: Any, **named: Any) -> Any:
        if written:
            await real(self, *arguments, **named)
        raise StoreUnavailable("gone", written=written)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RedisTokenRegister, "create", fail)
        assert (await port.ask("POST", TOKENS, NEW, Idempotency_Key="k")).status == 503
    again = await port.ask("POST", TOKENS, NEW, Idempotency_Key="k")
    made = await tokens(port)
    assert len(made) == 1
    if written:
        is_repeat(again, made[0]["id"])
    else:
        assert again.status == 201


async def test_a_call_whose_process_died_before_its_change_is_done_by_a_repeat_a_minute_later(
    port: Port, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen to fail where a key that was taken is never taken over."""
    died = once.Once(RedisOnceStore(store), port.issuance, "create", "k")
    await died.begin("0" * 12)
    is_repeat(await port.ask("POST", TOKENS, NEW, Idempotency_Key="k"), None)
    monkeypatch.setattr(once, "_MAKING_MS", 0)
    made = await port.ask("POST", TOKENS, NEW, Idempotency_Key="k")
    assert made.status == 201
    is_repeat(await port.ask("POST", TOKENS, NEW, Idempotency_Key="k"), made.json["token"]["id"])


async def test_a_regenerate_that_died_before_its_change_is_done_by_a_repeat(port: Port, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen to fail where any record of the token counts as the change."""
    token_id = (await port.make())["token"]["id"]
    await once.Once(RedisOnceStore(store), port.issuance, "regenerate", "k").begin(token_id)
    monkeypatch.setattr(once, "_MAKING_MS", 0)
    assert (await port.ask("POST", f"{TOKENS}/{token_id}/regenerate", Idempotency_Key="k")).status == 200


async def test_one_that_wakes_up_late_gives_nothing_back_that_another_has_taken_over(port: Port, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen to fail where the key is given free whoever has it."""
    keys = RedisOnceStore(store)
    slow, _ = await keys.begin(b"k", "create", "0" * 12)
    mine, ours = await keys.begin(b"k", "create", "1" * 12, instead=slow)
    assert ours
    await keys.forget(b"k", slow)
    assert await keys.begin(b"k", "create", "2" * 12) == (mine, False)
    assert await keys.begin(b"k", "create", "2" * 12, instead=slow) == (mine, False)


async def test_a_key_is_kept_for_a_day_as_a_digest(port: Port, store: Store) -> None:
    await port.ask("POST", TOKENS, NEW, Idempotency_Key="a-key-that-says-much")
    async with store.session() as (session, _):
        names = [name.decode() for name in (await session.ask(("KEYS", "*once:*")))[0]]
        (left,) = await session.ask(("PTTL", names[0]))
        values = await session.ask(*(("GET", name) for name in names))
    assert len(names) == 1
    assert "says" not in names[0] + values[0].decode()
    assert KEPT_MS - 60_000 < left <= KEPT_MS == 86_400_000


@pytest.mark.parametrize("key", ["x" * 256, "a\tb", "ü", "\u00a0"])
async def test_a_key_of_a_wrong_form_is_named_with_all_else_that_is_wrong(port: Port, key: str) -> None:
    """Seen to fail where the key is looked at only once the body is right."""
    answer = await port.ask("POST", TOKENS, {"name": "", "grants": ["nobody"], "x": 1}, Idempotency_Key=key)
    assert {fault["field"] for fault in answer.json["errors"]} == {"name", "grants", "x", "Idempotency-Key"}
    token_id = (await port.make())["token"]["id"]
    answer = await port.ask("POST", f"{TOKENS}/{token_id}/regenerate", {"overlap": "8000h", "x": 1}, Idempotency_Key=key)
    assert {fault["field"] for fault in answer.json["errors"]} == {"overlap", "x", "Idempotency-Key"}
    assert (await port.ask("POST", TOKENS, NEW, Idempotency_Key="x" * 255)).status == 201


async def test_two_keys_are_refused(port: Port) -> None:
    data = (
        f"POST {TOKENS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer test-admin-key-0123456789abcdef0123456789\r\nConnection: close\r\n"
        "Idempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"
    )
    assert "is given twice" in (await port.send(data.encode())).body.decode()


async def test_a_replacement_that_fails_at_the_old_token_makes_no_new_one(port: Port, store: Store) -> None:
    """The answer says that nothing was changed, and the key is free again. Seen to fail where the old record is written after the new token is made."""
    old = (await port.make())["token"]["id"]
    async with store.session() as (session, _):
        ((digest,),) = await session.ask(("HMGET", store.keys.info(old), "digest"))
        await session.write(("HDEL", store.keys.info(old), "digest"))  # the script can't go on without it
    body = {**NEW, "name": "new", "replaces": old, "end_replaced": True}
    for _ in range(2):
        failed = await port.ask("POST", TOKENS, body, Idempotency_Key="k")
        assert (failed.status, "Nothing was changed" in failed.json["detail"]) == (503, True)
    async with store.session() as (session, _):
        assert await session.ask(("ZCARD", store.keys.ids), ("HLEN", store.keys.awaited)) == [1, 0]
        await session.write(("HSET", store.keys.info(old), "digest", digest))
    assert [entry["action"] for entry in (await port.ask("GET", "/api/v1/audit")).json["items"]] == ["token.create"]
    made = await port.ask("POST", TOKENS, body, Idempotency_Key="k")
    assert made.status == 201
    assert (await port.ask("GET", f"{TOKENS}/{old}")).json["token"]["replaced_by"] == made.json["token"]["id"]
    assert (await port.ask("GET", "/api/v1/audit")).json["items"][0]["details"]["replaces"] == old
    is_repeat(await port.ask("POST", TOKENS, body, Idempotency_Key="k"), made.json["token"]["id"])
