"""ports.DecisionLog on a real server: found by request id, the newest 10,000, nothing lost while the store is away for a moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.ports import Decided
from gateway.store import decision_stream
from gateway.store.connection import StoreOptions
from gateway.store.decision_stream import RedisDecisionStream
from gateway.store.server import Store


def refused(request_id: str, code: str = "scope_missing") -> Decided:
    tried = (("GET, HEAD /4/plans", "is less specific"),)
    return Decided(
        request_id, 1_790_000_000_000, "192.0.2.1", "GET", "/4/plans/1", 403, code, "In a sentence.", "0" * 64, "abc", "ana", "GET /4/plans/1", tried
    )


async def test_a_decision_is_found_by_its_request_id_whole(store: Store) -> None:
    stream = RedisDecisionStream(store)
    for number in range(3):
        stream.add(refused(f"r-{number}"))
    assert await stream.find("r-1") == []
    await stream.flush()
    assert await stream.find("r-1") == [refused("r-1")]
    assert await stream.find("r-9") == []


async def test_of_one_id_that_was_sent_twice_both_are_told_the_newest_first(store: Store) -> None:
    stream = RedisDecisionStream(store)
    stream.add(refused("r"))
    stream.add(refused("r", "token_revoked"))
    await stream.flush()
    assert [decided.code for decided in await stream.find("r")] == ["token_revoked", "scope_missing"]


async def test_the_newest_are_kept_and_all_of_them_are_searched(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen to fail with a search that ends after its first page, and with a stream without bound."""
    monkeypatch.setattr(decision_stream, "KEPT", 50)
    monkeypatch.setattr(decision_stream, "_PAGE", 7)
    stream = RedisDecisionStream(store)
    for number in range(60):
        stream.add(refused(f"r-{number}"))
    await stream.flush()
    assert await stream.find("r-9") == []
    assert [await stream.find(f"r-{number}") for number in (10, 59)] == [[refused("r-10")], [refused("r-59")]]


async def test_while_the_store_is_away_the_newest_wait(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision_stream, "_WAITING", 5)
    away = RedisDecisionStream(Store(StoreOptions("redis://127.0.0.1:1", tmp_path / "away")))
    for number in range(9):
        away.add(refused(f"r-{number}"))
    await away.flush()
    away._store = store
    await away.flush()
    assert await away.find("r-3") == []
    assert [len(await away.find(f"r-{number}")) for number in range(4, 9)] == [1] * 5
