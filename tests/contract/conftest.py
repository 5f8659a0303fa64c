"""For tests of the store: a token in it, and a server of a test's own, to be broken."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from gateway.core.token_text import TokenText, digest, make_token
from gateway.ports import TokenDraft
from gateway.store.embedded import EmbeddedStore
from gateway.store.token_register import RedisTokenRegister

Make = Callable[..., Awaitable[TokenText]]


def draft(
    token: TokenText, *, owner: str = "u1", grants: tuple[str, ...] = ("worklogs:view",), lifetime_ms: int = 86_400_000, ips: tuple[str, ...] = ()
) -> TokenDraft:
    return TokenDraft(token.id, digest(token.text), "CI", owner, "custom", grants, ("worklogs", "teams"), lifetime_ms, ips, "")


@pytest.fixture
def make(register: RedisTokenRegister) -> Make:
    """Makes a token in the store."""

    async def made(**facts: object) -> TokenText:
        token = make_token("sgt", os.urandom)
        changed = await register.create(draft(token, **facts), max_per_owner=10_000, clock_ms=time.time_ns() // 1_000_000, max_skew_ms=60_000)  # type: ignore[arg-type]
        assert changed.outcome == "done"
        return token

    return made


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedStore]:
    """A running server of this test alone."""
    server = EmbeddedStore(tmp_path / "own")
    server.start()
    yield server
    server.stop()
