"""How the answers are made and kept; what they say is held by tests/flow/test_me.py."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.core.decision import Denial
from gateway.core.own_routes import ME, ROUTES
from gateway.core.policy import Policy
from gateway.core.scope import parse_grants
from gateway.core.token_record import ACTIVE, LiveRecord
from gateway.flow import own_answers
from gateway.flow.own_answers import OwnAnswers
from gateway.policy_file.load import parse_policy
from gateway.ports import RecordReader, StoreUnavailable
from gateway.settings.load import load_settings
from tests.harness.gateway import POLICY


class Nowhere:
    """A store that is away."""

    async def record(self, token_id: str) -> Any:
        raise StoreUnavailable("it is away")


class Made:
    """The answers, by a policy that a test may replace."""

    def __init__(self, folder: Path) -> None:
        file = folder / "gateway.yaml"
        file.write_text("upstreams: {api: {url: http://127.0.0.1:9}}\n")
        self.policy: Policy = parse_policy(POLICY, "policy.yaml")
        self.answers = OwnAnswers(load_settings(file, {}), lambda: self.policy, cast("RecordReader", Nowhere()))

    async def routes(self, *grants: str) -> bytes:
        found = await self.answers.make(ROUTES, record(*grants))
        assert isinstance(found, bytes)
        return found


def record(*grants: str) -> LiveRecord:
    return LiveRecord("abcdefghij01", "ana", parse_grants(grants), ACTIVE, 0, 1 << 60, 1, b"d" * 32)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


async def test_tokens_that_hold_the_same_share_one_answer_in_memory(made: Made) -> None:
    first, again, other = await made.routes("worklogs"), await made.routes("worklogs:manage"), await made.routes("teams")
    assert first is again
    assert other != first


async def test_an_answer_does_not_outlive_its_policy(made: Made) -> None:
    first = await made.routes("worklogs")
    made.policy = dataclasses.replace(made.policy, hash="another")
    assert b"another" in await made.routes("worklogs")
    assert first not in made.answers._kept.values()


async def test_what_is_kept_is_bounded(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_answers, "_KEPT", len(await made.routes("worklogs")) + 1)
    await made.routes("teams")
    assert len(made.answers._kept) == 1


async def test_many_who_ask_at_once_wait_for_one_thread(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[object] = []
    plain = asyncio.to_thread

    async def counted(*arguments: Any) -> Any:
        threads.append(arguments)
        return await plain(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", counted)
    await asyncio.gather(*(made.routes("worklogs") for _ in range(20)))
    assert len(threads) == 1


async def test_a_store_that_is_away_is_a_refusal(made: Made) -> None:
    found = await made.answers.make(ME, record("worklogs"))
    assert isinstance(found, Denial)
    assert found.reason.code == "store_unavailable"
