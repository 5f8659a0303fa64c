"""Shared by all tests: one real Valkey server on a unix socket, emptied before each test that uses it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.flow.issuance import ON_THE_COMMAND_LINE, Issuance
from gateway.store.connection import StoreOptions
from gateway.store.embedded import EmbeddedStore
from gateway.store.server import Store
from gateway.store.token_register import RedisTokenRegister
from gateway.store.token_store import RedisTokenStore
from gateway.store.wire import ask


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    """A server of the session."""
    server = EmbeddedStore(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def options(valkey: EmbeddedStore, tmp_path: Path) -> StoreOptions:
    """An empty store on that server, with a data_dir of its own. The limit is wide: a busy machine is no fault of the store."""
    assert ask(valkey.socket, "FLUSHALL", timeout_s=5) == b"+OK"
    return StoreOptions(valkey.url, tmp_path / "data", timeout_s=5, embedded=True)


@pytest.fixture
async def store(options: StoreOptions) -> AsyncIterator[Store]:
    """A started store."""
    store = Store(options)
    await store.start()
    yield store
    await store.close()


@pytest.fixture
def register(store: Store) -> RedisTokenRegister:
    """Whole records on that store."""
    return RedisTokenRegister(store)


@pytest.fixture
def tokens(store: Store) -> RedisTokenStore:
    """Look-ups on that store."""
    return RedisTokenStore(store)


@pytest.fixture
def issuance(register: RedisTokenRegister) -> Issuance:
    """The life cycle of tokens on that store."""
    return Issuance(register, "sgt", by=ON_THE_COMMAND_LINE)
