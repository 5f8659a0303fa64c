"""Which calls were begun with which idempotency key: one key of the store each, taken and given back by one script."""

from __future__ import annotations

from typing import Final

from gateway.ports import Begun
from gateway.store.scripts import ONCE
from gateway.store.server import Store

KEPT_MS: Final = 24 * 3_600_000


class RedisOnceStore:
    """ports.OnceStore on a Store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def begin(self, key: bytes, call: str, token_id: str, instead: Begun | None = None) -> tuple[Begun, bool]:
        """Take the key for a call. The call's own change is settled later, and the append-only file holds this one before it."""
        async with self._store.session() as (session, now_ms):
            begun = Begun(call, token_id, now_ms)
            past = _written(instead)
            found = (await session.script(ONCE, (self._key(key),), (past, _written(begun), KEPT_MS))).decode()
        return (begun, True) if found == past else (_read(found) or begun, False)

    async def forget(self, key: bytes, begun: Begun) -> None:
        """Give the key free, if this call still has it."""
        async with self._store.session() as (session, _):
            await session.script(ONCE, (self._key(key),), (_written(begun), "", 0))

    def _key(self, digest: bytes) -> str:
        return self._store.keys.once(digest.hex())


def _written(begun: Begun | None) -> str:
    return "" if begun is None else " ".join(map(str, begun))


def _read(value: str) -> Begun | None:
    """None where the key was free: the call that was to be replaced had been forgotten meanwhile."""
    if not value:
        return None
    call, token_id, since_ms = value.split(" ")
    return Begun(call, token_id, int(since_ms))
