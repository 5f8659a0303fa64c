"""Whole records in the store: the scripts that change them, the indexes beside them, and listings.

A token's two keys are changed by one script, together. The indexes lie in other slots: an id enters them before its token is made
and leaves them, once nothing is found under it, when they are read. So a token is never missing from them.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from gateway.core.token_record import TokenRecord
from gateway.core.token_text import TOKEN_ID
from gateway.ports import Changed, TokenDraft
from gateway.store.channel import Command
from gateway.store.records import Use, draft_fields, read_info, read_use, stored_digest
from gateway.store.scripts import CHANGE, CREATE
from gateway.store.server import Store
from gateway.store.session import Session

_UNBORN_MS: Final = 60_000  # an index entry this young may be of a token that is just being made
_CHUNK: Final = 1000  # ids asked for in one round trip
_CURSOR: Final = re.compile(r"([0-9]{1,16})-([0-9A-Za-z]{12})\Z")

Entry = tuple[str, int]  # token id, time of creation in the index


class RedisTokenRegister:
    """ports.TokenRegister on a Store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys = store.keys
        self._confirmations = store.confirmations

    async def create(self, draft: TokenDraft, *, max_per_owner: int, clock_ms: int, max_skew_ms: int) -> Changed:
        """Make the token. The outcome is done, taken, full or skewed."""
        owned = self._keys.owner(draft.owner)
        async with self._store.session() as (session, now_ms):
            if abs(clock_ms - now_ms) > max_skew_ms:
                return Changed("skewed", None, now_ms)
            entries = (("ZADD", self._keys.ids, "NX", now_ms, draft.id), ("ZADD", owned, "NX", now_ms, draft.id))
            new, _, held = await session.write(*entries, ("ZCARD", owned))
            if not new:
                return Changed("taken", None, now_ms)
            if held > max_per_owner and await self._living(session, owned, draft.id, now_ms) >= max_per_owner:
                await session.write(("ZREM", self._keys.ids, draft.id), ("ZREM", owned, draft.id))
                return Changed("full", None, now_ms)
            changed = _changed(await session.script(CREATE, (*self._both(draft.id), self._keys.ends), (draft.lifetime_ms, *draft_fields(draft))))
            # Once more: a reader may have taken the entries for left-overs.
            await session.write(*entries)
            await session.settle()
            return changed

    async def regenerate(self, token_id: str, digest: bytes, overlap_ms: int) -> Changed:
        """A new secret; the old one works on for ``overlap_ms``, never past the token's expiry."""
        return await self._end(token_id, "regenerate", stored_digest(digest), overlap_ms)

    async def revoke(self, token_id: str) -> Changed:
        """End the token for good."""
        return await self._end(token_id, "revoke")

    async def suspend(self, token_id: str) -> Changed:
        """Stop the token until it is resumed."""
        return await self._end(token_id, "suspend")

    async def resume(self, token_id: str) -> Changed:
        """Let a suspended token work again."""
        return await self._change(token_id, "resume")

    async def rename(self, token_id: str, *, name: str | None, description: str | None) -> Changed:
        """Change what people read of it."""
        fields = {"name": name, "description": description}
        return await self._change(token_id, "rename", *(part for field, value in fields.items() if value is not None for part in (field, value)))

    async def replace(self, token_id: str, by: str, *, end: bool) -> Changed:
        """Say that another token takes this one's place; with ``end`` its first use is worth a notice."""
        if end:
            notice = msgspec.json.encode({"kind": "replacement", "facts": {"old": token_id, "new": by}})
            async with self._store.session() as (session, _):
                await session.write(("HSET", self._keys.awaited, by, notice))
        return await self._change(token_id, "rename", "replaced_by", by)

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
                elif entry[1] < now_ms - _UNBORN_MS:
                    orphans.append(entry[0])
            await self._repair(session, index, orphans, dict(entries), [record for _, record in found])
            return found, _cursor(entries[-1]) if len(entries) == count else "", now_ms

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

    async def _end(self, token_id: str, *arguments: Any) -> Changed:
        """A change after which something must not be accepted any more: it is answered when that holds on every worker (G3)."""
        confirmations = self._confirmations
        with confirmations.expecting(token_id) as expected:
            changed, workers, uptime_s = await self._step(token_id, arguments, first=confirmations.listen)
            if changed.outcome != "done" or changed.record is None:
                return changed
            # A server that has just started may have lost who was registered: whoever it was has stopped deciding after one lease.
            forgetful = uptime_s <= confirmations.lease_s + 1 and not self._store.options.alone
            return changed._replace(reach=await confirmations.wait(expected, changed.record.version, workers, whole_lease=forgetful))

    async def _change(self, token_id: str, *arguments: Any) -> Changed:
        return (await self._step(token_id, arguments))[0]

    async def _step(self, token_id: str, arguments: tuple[Any, ...], first: Callable[[], Awaitable[None]] | None = None) -> tuple[Changed, list[str], int]:
        """A change, the workers that were live when the store took it, and for how many seconds the store's server has been running. ``first`` is done
        before the change, once the store has answered: while it stands still only one of the two takes its time.
        """
        async with self._store.session() as (session, now_ms):
            if not TOKEN_ID.match(token_id):
                return Changed("absent", None, now_ms), [], 0
            if first is not None:
                await first()
            outcome, clock, uptime_s, workers, info = await session.script(CHANGE, (*self._both(token_id), self._keys.workers), arguments)
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

    async def _living(self, session: Session, owned: str, new_id: str, now_ms: int) -> int:
        """How many tokens of an owner have not ended, those included that are just being made; ``new_id`` left out."""
        flat = (await session.ask(("ZRANGE", owned, 0, -1, "WITHSCORES")))[0]
        entries = [entry for entry in _entries(flat) if entry[0] != new_id]
        living = 0
        for start in range(0, len(entries), _CHUNK):
            chunk = entries[start : start + _CHUNK]
            replies = await session.ask(*(("EXISTS", key) for token_id, _ in chunk for key in self._both(token_id)))
            for (_, made_ms), live, info in zip(chunk, replies[::2], replies[1::2], strict=True):
                living += bool(live or (not info and made_ms >= now_ms - _UNBORN_MS))
        return living

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
    while len(found) < count:
        flat = (await session.ask(("ZREVRANGEBYSCORE", index, last[1] if last else "+inf", "-inf", "WITHSCORES", "LIMIT", offset, count)))[0]
        entries = _entries(flat)
        found += [entry for entry in entries if last is None or (entry[1], entry[0]) < (last[1], last[0])]
        offset += count
        if len(entries) < count:
            break
    return found[:count]


def _cursor(entry: Entry) -> str:
    return f"{entry[1]}-{entry[0]}"


def _entry(cursor: str) -> Entry | None:
    if not cursor:
        return None
    match = _CURSOR.match(cursor)
    if match is None:
        raise ValueError("the cursor is not one that a listing gave")
    return match[2], int(match[1])


def _literal(prefix: str) -> str:
    """A key prefix that SCAN's MATCH takes as it stands."""
    return re.sub(r"([*?\[\]\\^])", r"\\\1", prefix)
