"""A worker's records, and when they may be believed.

Records, never decisions. An entry lives until the store says that its key changed, and is believed while the lease runs: from the
sending of the last heartbeat that was answered, on a clock that goes on while the machine sleeps. The reasoning is in
docs/revocation.md, and tests/fault/model_of_revocation.py checks it against every order of events that it can think of.
"""

from __future__ import annotations

from collections import OrderedDict
from hmac import compare_digest
from time import CLOCK_BOOTTIME, clock_gettime
from typing import Final

from gateway.core.token_record import LiveRecord
from gateway.ports import NOT_AT_HAND, Unknown

ABSENT_LIMIT: Final = 10_000
_MARGIN: Final = 0.95


def boot_s() -> float:
    """Seconds on CLOCK_BOOTTIME."""
    return clock_gettime(CLOCK_BOOTTIME)


class RecordCache:
    """At most ``limit`` live records and 10,000 others (ended, or never there), least used out first. 0: no cache."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._live: OrderedDict[str, LiveRecord] = OrderedDict()
        self._others: OrderedDict[str, LiveRecord | None] = OrderedDict()
        self._believed_until = float("-inf")
        self._ahead_s = 0.0  # the store's clock less ours

    @property
    def held(self) -> tuple[int, int]:
        """How many live records, and how many others."""
        return len(self._live), len(self._others)

    def __repr__(self) -> str:
        return f"RecordCache({len(self._live)} live, {len(self._others)} others)"

    def at_hand(self, token_id: str) -> tuple[LiveRecord | Unknown | None, int]:
        """What is known of a token, NOT_AT_HAND if that may not be believed; and the store's time in Unix milliseconds."""
        now = clock_gettime(CLOCK_BOOTTIME)
        if now < self._believed_until:
            now_ms = int((now + self._ahead_s) * 1000)
            record = self._live.get(token_id)
            if record is not None:
                self._live.move_to_end(token_id)
                return record, now_ms
            if token_id in self._others:
                self._others.move_to_end(token_id)
                return self._others[token_id], now_ms
        return NOT_AT_HAND, 0

    def is_secret_of(self, token_id: str, digest: bytes) -> bool:
        """Whether this is the digest of a secret that the token is remembered to have, believed or not: so its form is known to be good."""
        record = self._live.get(token_id)
        return record is not None and compare_digest(record.digest, digest)

    def keep(self, token_id: str, record: LiveRecord | None, *, live: bool) -> None:
        """Remember what the link has just told. ``live``: from the live key, not the trace that an ended token leaves."""
        if not self._limit:
            return
        if live and record is not None:
            self._live[record.id] = record  # the record's own text: the caller's would be a second one
            if len(self._live) > self._limit:
                self._live.popitem(last=False)
        else:
            self._others[token_id] = record
            if len(self._others) > ABSENT_LIMIT:
                self._others.popitem(last=False)

    def drop(self, token_id: str) -> None:
        """The store says that this changed."""
        self._live.pop(token_id, None)
        self._others.pop(token_id, None)

    def drop_all(self) -> None:
        """Nothing is known any more, and nothing is believed until the next lease."""
        self._live.clear()
        self._others.clear()
        self._believed_until = float("-inf")

    def believe(self, sent_s: float, lease_s: float, store_ms: int) -> None:
        """A heartbeat sent at ``sent_s`` (boot time) was answered: the lease runs from its sending, a little shorter than the store thinks, for
        clocks do not run alike. The store's time is taken for that of the sending: so it is never late, and nothing expired passes.
        """
        self._believed_until = sent_s + lease_s * _MARGIN
        self._ahead_s = store_ms / 1000 - sent_s
