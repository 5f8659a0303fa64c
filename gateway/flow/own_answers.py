"""What a bearer is told of his own token: its record, the routes that it may call, and the OpenAPI document cut down to them.

Who asks was judged before, and is again once the answer is made. An answer that many routes or operations go into is made in a thread, one at a time, so that
no bearer holds up the requests of others; the last ones are kept for whoever holds just the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from gateway.core.callable import access_held, callable_routes, may_call
from gateway.core.decision import Denial, denied
from gateway.core.own_routes import ME, ROUTES
from gateway.core.policy import Policy
from gateway.core.route import Route
from gateway.core.token_record import LiveRecord
from gateway.flow.engine import STORE_UNAVAILABLE
from gateway.flow.token_json import record_json
from gateway.openapi.cut import cut
from gateway.openapi.document_file import DocumentFile
from gateway.openapi.pieces import Pieces
from gateway.ports import RecordReader, StoreUnavailable
from gateway.settings import Settings

_KEPT: Final = 16 * 1024 * 1024  # bytes of answers
_NO_DOCUMENT: Final = denied("route_unmapped", "No OpenAPI document is configured here.")
_NOT_NOW: Final = denied("route_unmapped", "The OpenAPI document cannot be read now; the gateway's log says why.")

_Held = tuple[Policy, Pieces | None, tuple[int, ...]]


class OwnAnswers:
    """Makes the answers. ``policy`` gives the one in force."""

    def __init__(self, settings: Settings, policy: Callable[[], Policy], records: RecordReader) -> None:
        self._policy = policy
        self._records = records
        self._prefix = settings.own_prefix
        self._public_url = settings.public_url
        self._document = DocumentFile(settings.openapi) if settings.openapi is not None else None
        self._one_makes = asyncio.Lock()
        self._kept: dict[_Held, bytes] = {}  # oldest first

    async def make(self, name: str, record: LiveRecord) -> bytes | Denial:
        """The JSON of one of the three (``core.own_routes``) for the holder of this token, or why there is none."""
        if name == ME:
            return await self._me(record)
        pieces = None
        if name != ROUTES:
            if self._document is None:
                return _NO_DOCUMENT
            pieces = await self._document.pieces()
            if pieces is None:
                return _NOT_NOW
        policy = self._policy()
        held = (policy, pieces, access_held(policy, record.grants, record.created_at))
        found = self._kept.get(held)
        if found is None:
            async with self._one_makes:
                found = self._kept.get(held)
                if found is None:
                    found = await asyncio.to_thread(self._made, policy, pieces, record)
                    self._keep(held, found)
        return found

    async def _me(self, record: LiveRecord) -> bytes | Denial:
        try:
            whole, now_ms = await self._records.record(record.id)
        except StoreUnavailable:
            return STORE_UNAVAILABLE
        if whole is None:  # it went between the decision and this: the next decision says so
            return STORE_UNAVAILABLE
        return msgspec.json.encode({"token": record_json(whole, now_ms, self._policy())})

    def _made(self, policy: Policy, pieces: Pieces | None, record: LiveRecord) -> bytes:
        if pieces is None:
            return msgspec.json.encode({"policy": policy.hash, "routes": callable_routes(policy, record.grants, record.created_at)})

        def judge(path: str, method: str) -> Route | None:
            return None if path.startswith(self._prefix) else may_call(policy, path, method, record.grants, record.created_at)

        return cut(pieces, judge, self._public_url)

    def _keep(self, held: _Held, answer: bytes) -> None:
        """Keep an answer, and drop those of another policy or document, then the oldest beyond the bound."""
        policy, pieces, _ = held
        for key in list(self._kept):
            if key[0] is not policy or (pieces is not None and key[1] not in {None, pieces}):
                del self._kept[key]
        self._kept[held] = answer
        while sum(map(len, self._kept.values())) > _KEPT:
            del self._kept[next(iter(self._kept))]
