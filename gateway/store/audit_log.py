"""ports.AuditLog and ports.AuditTrail on a Store: the stream ``sg:audit``, written to its end, read from either."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, NamedTuple

from gateway.core.audit import AuditEntry, Break, Head, Verifier, Written
from gateway.ports import AuditPage
from gateway.store.audit_chain import read_entry
from gateway.store.scripts import NOTE
from gateway.store.server import Store

_CHUNK: Final = 500  # entries read in one round trip
_SCANNED: Final = 10_000  # entries looked at for one page
_ALWAYS: Final = {"seq": int, "at": str, "action": str}  # what each entry says
_CURSOR: Final = re.compile(r"[0-9]{1,16}-[0-9]{1,16}\Z", re.ASCII)
_AHEAD: Final = 1000  # entries behind a wrong one that are looked at, to say what is wrong


class Verdict(NamedTuple):
    """How many entries there are up to the first that is wrong, the last right one, and what is wrong, None for nothing."""

    entries: int
    head: Head
    fault: Break | None


class Placed(NamedTuple):
    """An entry and its id in the stream."""

    place: str
    entry: Written


class RedisAuditLog:
    """The audit log of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stream = store.keys.audit

    async def note(self, entry: AuditEntry) -> None:
        """Write one entry. StoreUnavailable, with ``written`` where it may have been."""
        async with self._store.session() as (session, now_ms):
            await self._store.chain.run(session, NOTE, (), (), entry, now_ms)
            await session.settle()

    async def page(self, *, cursor: str, limit: int, wanted: Mapping[str, str]) -> AuditPage:
        """Up to ``limit`` entries below ``cursor``, newest first, those whose fields are as ``wanted``."""
        if cursor and (not _CURSOR.match(cursor) or not int(cursor.replace("-", ""))):
            raise ValueError("the cursor is not one that a listing gave")
        items: list[dict[str, Any]] = []
        async with self._store.session() as (session, _):
            for _ in range(_SCANNED // _CHUNK):
                count = _CHUNK if wanted else limit - len(items) + 1
                (replies,) = await session.ask(("XREVRANGE", self._stream, f"({cursor}" if cursor else "+", "-", "COUNT", count))
                for place, flat in replies:
                    if len(items) == limit:
                        return AuditPage(items, cursor)
                    cursor = place.decode()
                    shown = shown_entry(read_entry(flat))
                    if all(shown.get(name) == value for name, value in wanted.items()):
                        items.append(shown)
                if len(replies) < count:
                    return AuditPage(items, "")
        return AuditPage(items, cursor)

    async def last(self, count: int) -> list[Placed]:
        """The newest entries, oldest first."""
        async with self._store.session() as (session, _):
            (replies,) = await session.ask(("XREVRANGE", self._stream, "+", "-", "COUNT", count))
        return [Placed(place.decode(), read_entry(flat)) for place, flat in reversed(replies)]

    async def after(self, place: str = "") -> AsyncIterator[Placed]:
        """All entries behind a place, or from the beginning, oldest first, up to the end as it is when it is reached."""
        async with self._store.session() as (session, _):
            while True:
                (replies,) = await session.ask(("XRANGE", self._stream, f"({place}" if place else "-", "+", "COUNT", _CHUNK))
                for name, flat in replies:
                    place = name.decode()
                    yield Placed(place, read_entry(flat))
                if len(replies) < _CHUNK:
                    return

    async def verify(self) -> Verdict:
        """Look at every entry, with the key and with what this node has seen. StoreUnavailable where key or store can't be read."""
        chain = self._store.chain
        # What is remembered is read first: what is written meanwhile can only be more.
        verifier = Verifier(self._store.identity.id, chain.signer(), chain.remembered())
        wrong: Written | None = None
        following: list[Written] = []
        entries = 0
        async for _, entry in self.after():
            if wrong is not None:
                following.append(entry)
                if len(following) == _AHEAD:
                    break
            elif verifier.take(entry):
                entries += 1
            else:
                wrong = entry
        fault = verifier.explain(wrong, following) if wrong is not None else verifier.end()
        return Verdict(entries, verifier.head, fault)


def shown_entry(entry: Written) -> dict[str, Any]:
    """An entry as people are shown it; one that somebody has spoilt as what can be told of it."""
    try:
        facts = entry.facts()
        if all(isinstance(facts.get(name), kind) for name, kind in _ALWAYS.items()) and isinstance(facts.get("details", {}), dict):
            return facts
    except ValueError:
        pass  # told as the others that are spoilt
    return {"seq": entry.seq, "action": "unreadable", "hash": entry.hash}
