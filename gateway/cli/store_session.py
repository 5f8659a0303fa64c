"""The configured store for one command, whether or not ``serve`` runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from gateway.flow.issuance import ON_THE_COMMAND_LINE, Issuance
from gateway.settings import Settings
from gateway.settings.load import load_settings
from gateway.store.connection import StoreOptions, store_options
from gateway.store.embedded import EmbeddedStore
from gateway.store.server import Store
from gateway.store.token_register import RedisTokenRegister


def options_of(settings: Settings, embedded: EmbeddedStore | None) -> StoreOptions:
    """How the configured store is reached."""
    return store_options(settings.store, embedded.url if embedded else "", settings.audit.key_file)


@asynccontextmanager
async def open_server(settings: Settings) -> AsyncIterator[Store]:
    """The configured store, not yet started. An embedded server that runs is used; else one is started, and stopped at the end."""
    embedded = EmbeddedStore.configured(settings.store)
    if embedded is not None:
        await asyncio.to_thread(embedded.borrow)
    try:
        # A server that this command started itself has no workers to wait for.
        store = Store(replace(options_of(settings, embedded), alone=embedded is not None and embedded.pid is not None))
        try:
            yield store
        finally:
            await store.close()
    finally:
        if embedded is not None:
            await asyncio.to_thread(embedded.stop)


@asynccontextmanager
async def open_issuance(settings: Settings) -> AsyncIterator[Issuance]:
    """The life cycle of tokens on the configured store. StoreUnavailable where the store refuses."""
    async with open_server(settings) as store:
        await store.start()
        yield Issuance(RedisTokenRegister(store), settings.token_prefix, by=ON_THE_COMMAND_LINE)


@asynccontextmanager
async def open_store(config: Path) -> AsyncIterator[Issuance]:
    """The same by the configuration's path. DocumentFault where it is faulty."""
    async with open_issuance(load_settings(config, os.environ, read_credentials=False)) as issuance:
        yield issuance
