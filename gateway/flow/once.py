"""Calls that are done once, however often they arrive: the caller names each with a key of its own (``Idempotency-Key``).

The key is taken before the change is made, with the id of the token that it is about. So a repeat can tell what became of the first: the change
stands on the token's record, or it is still being made, or its process died with it, and then the repeat does it.
"""

from __future__ import annotations

import contextlib
from hashlib import sha256
from types import TracebackType
from typing import Final, Self

import msgspec

from gateway.core.token_record import TokenRecord
from gateway.flow.issuance import Issuance, IssuanceRefused
from gateway.ports import Begun, OnceStore, StoreUnavailable

LONGEST: Final = 255
_MAKING_MS: Final = 60_000  # longer than any call lasts


class AlreadyDone(Exception):
    """A call with this key has made its change; ``token`` is what it changed, None where it is still at it."""

    def __init__(self, token: TokenRecord | None) -> None:
        super().__init__("already done")
        self.token: Final = token


class Once:
    """One attempt at a call, as a context around it: a call that was refused, or did not reach the store, gives its key back. Without a key it does nothing."""

    def __init__(self, store: OnceStore, issuance: Issuance, call: str, key: str) -> None:
        self._store = store
        self._issuance = issuance
        self._call = call
        who = issuance.by.principal
        # An admin and a user may have one name.
        self._key = sha256(msgspec.json.encode((who.subject, who.admin, key))).digest() if key else b""
        self._begun: Begun | None = None

    async def begin(self, token_id: str) -> None:
        """Called before the change of this token is made. AlreadyDone."""
        if not self._key:
            return
        begun, ours = await self._store.begin(self._key, self._call, token_id, instead=self._begun)
        if not ours:
            record = await self._changed_by(begun)
            if record is not None or self._issuance.now_ms() - begun.since_ms < _MAKING_MS:
                raise AlreadyDone(record)
            begun, ours = await self._store.begin(self._key, self._call, token_id, instead=begun)
            if not ours:
                raise AlreadyDone(await self._changed_by(begun))
        self._begun = begun

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        undone = isinstance(error, IssuanceRefused) or (isinstance(error, StoreUnavailable) and not error.written)
        if undone and self._begun is not None:
            # Where the store fails here too the key is free again a minute later.
            with contextlib.suppress(StoreUnavailable):
                await self._store.forget(self._key, self._begun)

    async def _changed_by(self, begun: Begun) -> TokenRecord | None:
        """The token, once this call has changed it."""
        try:
            record = await self._issuance.get(begun.token_id)
        except IssuanceRefused:
            return None
        if begun.call == "create" or (record.regenerated_at or 0) >= begun.since_ms:
            return record
        return None
