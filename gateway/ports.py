"""What the flow of a request asks of the outside world. Adapters live in ``store`` and ``observe``; tests ship fakes of their own.

Every method of a store port may raise StoreUnavailable; the engine turns it into a refusal, never into a 401.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from gateway.core.route import RateLimit
from gateway.core.token_record import LiveRecord, TokenRecord


class StoreUnavailable(Exception):
    """The store is down, slow, read-only, full, or not the one that we know. The text is one line for an operator.

    ``written`` is True where the change may have been made all the same.
    """

    def __init__(self, why: str, *, written: bool = False) -> None:
        super().__init__(why)
        self.written = written


class Lookup(NamedTuple):
    """A look-up's answer: the record (ended ones too, for 90 days), None if there is no such token; and the store's time."""

    record: LiveRecord | None
    now_ms: int


class TokenStore(Protocol):
    """Look-ups of the hot path."""

    async def fetch(self, token_id: str) -> Lookup:
        """One record. Look-ups of one loop turn go to the store together."""

    async def fetch_many(self, token_ids: Sequence[str]) -> tuple[dict[str, LiveRecord], int]:
        """Several records by id, ended ones too, absent ones left out; and the store's time in Unix milliseconds."""


class LimitVerdict(NamedTuple):
    """``allowed``; ``remaining`` requests at once; ``retry_after_ms`` until the next is allowed, 0 if it is now."""

    allowed: bool
    remaining: int
    retry_after_ms: int


class LimitStore(Protocol):
    """Rate limits, counted in the store, so that all workers and nodes share them."""

    async def take(self, key: str, limit: RateLimit) -> LimitVerdict:
        """Count one request under ``key`` (GCRA: generic cell rate algorithm, ITU-T I.371), atomically."""


class UsageLedger(Protocol):
    """Usage of tokens, written in batches. Never fails and never waits."""

    def used(self, token_id: str, now_ms: int) -> None:
        """Note that the token was accepted at that time."""


class TokenPage(NamedTuple):
    """One page of a listing; ``next`` is an opaque cursor, "" at the end."""

    items: list[TokenRecord]
    next: str
