"""Whole records in the store: the scripts that change them, the indexes beside them, and listings.

A token's two keys are changed by one script, together with its entries in the indexes and the entry of the audit log that tells of the change. So a
token is never missing from them, and no change from the log. An id leaves the indexes, once nothing is found under it, when they are read.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from gateway.core.audit import AuditEntry
from gateway.core.principal import NOBODY, Actor
from gateway.core.token_record import TokenRecord
from gateway.core.token_text import TOKEN_ID
from gateway.ports import CURSOR, Changed, TokenDraft
from gateway.store.audit_log import RedisAuditLog
from gateway.store.channel import Command
from gateway.store.records import PLAIN_FIELDS, Use, draft_fields, read_info, read_plain, read_use, stored_digest
from gateway.store.scripts import CHANGE, CREATE
from gateway.store.server import Store
from gateway.store.session import Session

_DAY_MS: Final = 86_400_000
_NONE: Final[Mapping[str, str | int]] = {}
_CHUNK: Final = 1000  # ids asked for in one round trip

Entry = tuple[str, int]  # token id, time of creation in the index


class RedisTokenRegister:
    """ports.TokenRegister on a Store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys = store.keys
        self._confirmations = store.confirmations

    async def note(self, entry: AuditEntry) -> None:
        """Write an entry of the audit log, of what spans several tokens."""
        await RedisAuditLog(self._store).note(entry)

    async def create(self, draft: TokenDraft, *, max_per_owner: int, clock_ms: int, max_skew_ms: int, by: Actor = NOBODY) -> Changed:
        """Make the token, in three round trips: is it our store, the change, is it in the append-only file. The outcome is done, taken, full or skewed."""
        async with self._store.session() as (session, now_ms):
            if abs(clock_ms - now_ms) > max_skew_ms:
                return Changed("skewed", None, now_ms)
            replaced = self._both(draft.replaces) if draft.replaces else ()
            keys = (*self._both(draft.id), self._keys.ids, self._keys.owner(draft.owner), self._keys.ends, self._keys.awaited, *replaced)
            notice = b""
            if draft.end_replaced:
                notice = msgspec.json.encode({"kind": "replacement", "facts": {"old": draft.replaces, "new": draft.id}})
            arguments = (max_per_owner, self._keys.live_prefix, draft.lifetime_ms, int(bool(replaced)), notice, *draft_fields(draft))
            details: dict[str, str | int] = {"access": draft.access, "days": round(draft.lifetime_ms / _DAY_MS)}
            if draft.access != "full":
                details["grants"] = " ".join(draft.grants)
            if draft.replaces:
                details["replaces"] = draft.replaces
            entry = AuditEntry("token.create", by, draft.id, draft.owner, details)
            changed = _changed(await self._store.chain.run(session, CREATE, keys, arguments, entry, now_ms))
            if changed.outcome == "done":
                await session.settle()
            return changed

    async def regenerate(self, token_id: str, digest: bytes, overlap_ms: int, by: Actor = NOBODY) -> Changed:
        """A new secret; the old one works on for ``overlap_ms``, never past the token's expiry."""
        return await self._end(token_id, "regenerate", stored_digest(digest), overlap_ms, by=by, details={"overlap_s": overlap_ms // 1000})

    async def revoke(self, token_id: str, by: Actor = NOBODY) -> Changed:
        """End the token for good."""
        return await self._end(token_id, "revoke", by=by)

    async def suspend(self, token_id: str, by: Actor = NOBODY) -> Changed:
        """Stop the token until it is resumed."""
        return await self._end(token_id, "suspend", by=by)

    async def resume(self, token_id: str, by: Actor = NOBODY) -> Changed:
        """Let a suspended token work again."""
        return (await self._step(token_id, ("resume",), by))[0]

    async def rename(self, token_id: str, *, name: str | None, description: str | None, by: Actor = NOBODY) -> Changed:
        """Change what people read of it."""
        fields = {field: value for field, value in (("name", name), ("description", description)) if value is not None}
        arguments = ("rename", *(part for pair in fields.items() for part in pair))
        return (await self._step(token_id, arguments, by, details={"fields": " ".join(fields)}))[0]

    async def record(self, token_id: str) -> tuple[TokenRecord | None, int]:
        """One record, ended ones too, and the store's time."""
        async with self._store.session() as (session, now_ms):
            return (await self._records(session, [token_id]))[0], now_ms

    async def page(self, *, owner: str | None, cursor: str, count: int) -> tuple[list[tuple[str, TokenRecord]], str, int]:
        """Records from ``cursor`` on, newest first. ValueError where the cursor is not one of ours."""
        last = _entry(cursor)
        index = self._keys.ids if owner is None else self._keys.owner(owner)
        async with self._store.session() as (session, now_ms):
            await self._rebuild(session)
            entries = await _below(session, index, last, count)
            records = await self._records(session, [token_id for token_id, _ in entries])
            found = []
            orphans = []
            for entry, record in zip(entries, records, strict=True):
                if record is not None:
                    found.append((_cursor(entry), record))
                else:
                    orphans.append(entry[0])
            await self._repair(session, index, orphans, dict(entries), [record for _, record in found])
            return found, _cursor(entries[-1]) if len(entries) == count else "", now_ms

    async def every(self) -> AsyncIterator[tuple[list[TokenRecord], int]]:
        """All records, ended ones too, without what is kept of their use; and the store's time."""
        async with self._store.session() as (session, now_ms):
            await self._rebuild(session)
            last: Entry | None = None
            while entries := await _below(session, self._keys.ids, last, _CHUNK):
                infos = await session.ask(*(("HMGET", self._keys.info(token_id), *PLAIN_FIELDS) for token_id, _ in entries))
                yield [read_plain(info) for info in infos if info[0] is not None], now_ms
                last = entries[-1]

    async def ids_of(self, owner: str) -> list[str]:
        """The ids of all tokens of an owner, ended ones too. Asks every record, so that no lost index entry saves a token from its end."""
        found: dict[str, None] = {}
        last: Entry | None = None
        async with self._store.session() as (session, _):
            await self._rebuild(session)
            while entries := await _below(session, self._keys.ids, last, _CHUNK):
                owners = await session.ask(*(("HGET", self._keys.info(token_id), "owner") for token_id, _ in entries))
                found |= {token_id: None for (token_id, _), value in zip(entries, owners, strict=True) if value == owner.encode()}
                last = entries[-1]
        return list(found)

    def _both(self, token_id: str) -> tuple[str, str]:
        return self._keys.live(token_id), self._keys.info(token_id)

    async def _end(self, token_id: str, *arguments: Any, by: Actor, details: Mapping[str, str | int] = _NONE) -> Changed:
        """A change after which something must not be accepted any more: it is answered when that holds on every worker (G3)."""
        confirmations = self._confirmations
        with confirmations.expecting(token_id) as expected:
            changed, workers, uptime_s = await self._step(token_id, arguments, by, details, first=confirmations.listen)
            if changed.outcome != "done" or changed.record is None:
                return changed
            # A server that has just started may have lost who was registered: whoever it was has stopped deciding after one lease.
            forgetful = uptime_s <= confirmations.lease_s + 1 and not self._store.options.alone
            return changed._replace(reach=await confirmations.wait(expected, changed.record.version, workers, whole_lease=forgetful))

    async def _step(
        self,
        token_id: str,
        arguments: tuple[Any, ...],
        by: Actor,
        details: Mapping[str, str | int] = _NONE,
        first: Callable[[], Awaitable[None]] | None = None,
    ) -> tuple[Changed, list[str], int]:
        """A change, the workers that were live when the store took it, and for how many seconds the store's server has been running. ``first`` is done
        before the change, once the store has answered: while it stands still only one of the two takes its time.
        """
        known = bool(TOKEN_ID.match(token_id))
        whose = (("HGET", self._keys.info(token_id), "owner"),) if known else ()
        async with self._store.asked(*whose) as (session, now_ms, owners):
            if not known:
                return Changed("absent", None, now_ms), [], 0
            if first is not None:
                await first()
            entry = AuditEntry(f"token.{arguments[0]}", by, token_id, (owners[0] or b"").decode(), details)
            keys = (*self._both(token_id), self._keys.workers)
            outcome, clock, uptime_s, workers, info = await self._store.chain.run(session, CHANGE, keys, arguments, entry, now_ms)
            changed = Changed(outcome.decode(), read_info(info), int(clock))
            if changed.outcome == "done":
                await session.settle()
            if changed.record is not None:
                # The script's record, not one read afterwards: of parallel changes each is told its own.
                (use,), _ = await self._uses(session, [token_id])
                changed = changed._replace(record=read_info(info, use))
            return changed, [worker.decode() for worker in workers], int(uptime_s)

    async def _records(self, session: Session, token_ids: list[str]) -> list[TokenRecord | None]:
        if not token_ids:
            return []
        uses, infos = await self._uses(session, token_ids, *(("HGETALL", self._keys.info(token_id)) for token_id in token_ids))
        return [read_info(info, use) for info, use in zip(infos, uses, strict=True)]

    async def _uses(self, session: Session, token_ids: list[str], *besides: Command) -> tuple[list[Use], list[Any]]:
        """What is kept of the tokens' use, and the replies to what is asked in the same round trip."""
        keys = self._keys
        asked = (("ZMSCORE", keys.last_used, *token_ids), ("HMGET", keys.last_used_from, *token_ids), ("HMGET", keys.reuse, *token_ids))
        *replies, scores, addresses, reuses = await session.ask(*besides, *asked)
        return [read_use(*facts) for facts in zip(scores, addresses, reuses, strict=True)], replies

    async def _repair(self, session: Session, index: str, orphans: list[str], made: dict[str, int], records: list[TokenRecord]) -> None:
        """Take out of the index what is gone; give back to the owners' indexes what they lack."""
        if orphans:
            keys = self._keys
            beside = (("HDEL", key, *orphans) for key in (keys.last_used_from, keys.reuse, keys.awaited))
            await session.write(*(("ZREM", key, *orphans) for key in {index, keys.ids, keys.last_used, keys.ends}), *beside)
        if index == self._keys.ids and records:
            scores = await session.ask(*(("ZSCORE", self._keys.owner(record.owner), record.id) for record in records))
            lost = [record for record, score in zip(records, scores, strict=True) if score is None]
            if lost:
                await session.write(*(("ZADD", self._keys.owner(record.owner), "NX", made[record.id], record.id) for record in lost))

    async def _rebuild(self, session: Session) -> None:
        """Make the indexes anew from the records, where the index of all is gone."""
        if (await session.ask(("EXISTS", self._keys.ids)))[0]:
            return
        scan = b"0"
        while True:
            scan, names = (await session.ask(("SCAN", scan, "MATCH", _literal(self._keys.prefix) + "info:{*}", "COUNT", _CHUNK)))[0]
            infos = await session.ask(*(("HMGET", name, "id", "owner", "created_at") for name in names)) if names else []
            for token_id, owner, created_at in infos:
                if token_id is not None:
                    entry = ("NX", created_at, token_id)
                    await session.write(("ZADD", self._keys.ids, *entry), ("ZADD", self._keys.owner(owner.decode()), *entry))
            if scan == b"0":
                return


def _changed(reply: list[bytes]) -> Changed:
    outcome, now_ms, *info = reply
    return Changed(outcome.decode(), read_info(info), int(now_ms))


def _entries(flat: list[bytes]) -> list[Entry]:
    return [(member.decode(), int(score)) for member, score in zip(flat[::2], flat[1::2], strict=True)]


async def _below(session: Session, index: str, last: Entry | None, count: int) -> list[Entry]:
    """Up to ``count`` entries of an index after ``last``: newest first, those of one millisecond by id, downwards."""
    found: list[Entry] = []
    offset = 0
    wanted = count + bool(last)  # the entry that the cursor names is in the range too
    while len(found) < count:
        flat = (await session.ask(("ZREVRANGEBYSCORE", index, last[1] if last else "+inf", "-inf", "WITHSCORES", "LIMIT", offset, wanted)))[0]
        entries = _entries(flat)
        found += [entry for entry in entries if last is None or (entry[1], entry[0]) < (last[1], last[0])]
        offset += wanted
        if len(entries) < wanted:
            break
    return found[:count]


def _cursor(entry: Entry) -> str:
    return f"{entry[1]}-{entry[0]}"


def _entry(cursor: str) -> Entry | None:
    if not cursor:
        return None
    match = CURSOR.match(cursor)
    if match is None:
        raise ValueError("the cursor is not one that a listing gave")
    return match[2], int(match[1])


def _literal(prefix: str) -> str:
    """A key prefix that SCAN's MATCH takes as it stands."""
    return re.sub(r"([*?\[\]\\^])", r"\\\1", prefix)
