"""Look-ups of the hot path: from the cache while it may be believed, else by the link; those of one loop turn as one MGET.

The same round trip asks for the store's id, so that an emptied store is never taken for one without that token. A token whose live key
is gone has ended, or never was: its info key tells, in a second round trip.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import hiredis

from gateway.core.token_record import LiveRecord
from gateway.ports import Lookup, StoreUnavailable, Unknown
from gateway.store.channel import Command
from gateway.store.connection import unavailable
from gateway.store.link import settle
from gateway.store.record_cache import RecordCache, boot_s
from gateway.store.records import LiveReader
from gateway.store.scripts import HEARTBEAT
from gateway.store.server import Store, is_read_only, milliseconds, trial

Found = Callable[[Lookup | StoreUnavailable], None]
BEATS: Final = 4  # heartbeats a lease


class RedisTokenStore:
    """ports.TokenStore on a Store. ``worker`` is NODE/NUMBER, to which something random is added.
    ``on_change`` is called with each id that the store says has changed."""

    def __init__(self, store: Store, *, records: int = 0, lease_s: float = 2.0, worker: str = "") -> None:
        # One process, never a place that a successor inherits: it would confirm for the other.
        self.worker = f"{worker or node_name() + '/0'}-{secrets.token_hex(4)}"
        self.on_change: Callable[[str], None] = lambda _: None
        self._store = store
        self._lease_s = lease_s
        self._reader = LiveReader()
        self._cache = RecordCache(records)
        self.at_hand = self._cache.at_hand
        self.is_secret_of = self._cache.is_secret_of
        self._waiting: dict[str, list[Found]] = {}
        self._prefix = store.keys.live_prefix.encode()
        self._caching = bool(records)
        self._closed = False
        if records:
            store.link.greeting = (("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", store.keys.live_prefix),)
            store.link.on_push = self._pushed
            store.link.on_up = self._beat
            store.link.on_down = self._cache.drop_all

    @property
    def held(self) -> tuple[int, int]:
        """How many records of live tokens are remembered, and how many negative entries: ended, or never there."""
        return self._cache.held

    # -- asking

    def call(self, token_id: str, found: Found) -> None:
        """Look a token up; ``found`` is called inside the read of the answer. Look-ups of one loop turn go to the store together."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._send)
        self._waiting.setdefault(token_id, []).append(found)

    async def fetch(self, token_id: str) -> Lookup:
        """As ``call``, for a coroutine."""
        # Each caller has a future of its own, so that one who is cancelled takes nothing from the others.
        answer: asyncio.Future[Lookup] = asyncio.get_running_loop().create_future()
        self.call(token_id, partial(settle, answer))
        return await answer

    async def fetch_many(self, token_ids: Sequence[str]) -> tuple[dict[str, LiveRecord], int]:
        """Several records by id, ended ones too, absent ones left out; and the store's time in Unix milliseconds."""
        records: dict[str, LiveRecord] = {}
        now_ms = 0
        for token_id, found in zip(token_ids, await asyncio.gather(*(self._either(token_id) for token_id in token_ids)), strict=True):
            now_ms = found.now_ms
            if found.record is not None:
                records[token_id] = found.record
        return records, now_ms

    async def _either(self, token_id: str) -> Lookup:
        known, now_ms = self._cache.at_hand(token_id)
        return await self.fetch(token_id) if isinstance(known, Unknown) else Lookup(known, now_ms)

    async def close(self) -> None:
        """End all connections to the store, and say that this worker is gone."""
        self._closed = True
        self._caching, caching = False, self._caching
        if caching and self._store.link.up:
            self._cache.drop_all()
            with contextlib.suppress(StoreUnavailable):
                await self._store.link.ask([("ZREM", self._store.keys.workers, self.worker)])
        await self._store.close()

    async def run(self) -> None:
        """The heartbeat, until cancelled: it keeps the link up, and to a primary, this worker registered and the lease running."""
        while not self._closed:
            self._store.link.keep_up()
            self._beat()
            await asyncio.sleep(self._lease_s / BEATS)

    # -- the look-up

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, {}
        keys = self._store.keys
        self._store.link.call([("MGET", keys.meta, *map(keys.live, waiting)), ("TIME",)], partial(self._answer_live, waiting))

    def _answer_live(self, waiting: dict[str, list[Found]], replies: list[Any] | StoreUnavailable) -> None:
        checked = self._checked(replies)
        if isinstance(checked, StoreUnavailable):
            _fail(waiting, checked)
            return
        (values, _), now_ms = checked
        absent: dict[str, list[Found]] = {}
        for (token_id, founds), value in zip(waiting.items(), values[1:], strict=True):
            if value is None:
                absent[token_id] = founds
            else:
                self._tell(token_id, value, now_ms, founds, live=True)
        if absent:
            keys = self._store.keys
            asked = [("HGET", keys.info(token_id), "live") for token_id in absent]
            self._store.link.call([("GET", keys.meta), *asked, ("TIME",)], partial(self._answer_ended, absent))

    def _answer_ended(self, waiting: dict[str, list[Found]], replies: list[Any] | StoreUnavailable) -> None:
        checked = self._checked(replies)
        if isinstance(checked, StoreUnavailable):
            _fail(waiting, checked)
            return
        (_, *values, _), now_ms = checked
        for (token_id, founds), value in zip(waiting.items(), values, strict=True):
            self._tell(token_id, value, now_ms, founds, live=False)

    def _checked(self, replies: list[Any] | StoreUnavailable) -> tuple[list[Any], int] | StoreUnavailable:
        """The replies and the store's time, once it is known that the store answered and is ours."""
        if isinstance(replies, StoreUnavailable):
            return replies
        first, clock = replies[0], replies[-1]
        for reply in (*replies, *(first if isinstance(first, list) else ())):
            if isinstance(reply, hiredis.ReplyError):
                return unavailable(reply, self._store.options)
        try:
            self._store.identity.confirm(first[0] if isinstance(first, list) else first)
        except StoreUnavailable as why:
            self._cache.drop_all()
            return why
        return replies, milliseconds(clock)

    def _tell(self, token_id: str, value: bytes | None, now_ms: int, founds: list[Found], *, live: bool) -> None:
        """The record, or why there is none: the fault of one is not the others'."""
        answer: Lookup | StoreUnavailable
        try:
            record = None if value is None else self._reader.read(value)
        except ValueError:
            answer = StoreUnavailable(f"the record of token {token_id} in the store is damaged: restore it")
        else:
            if record is not None and record.id != token_id:
                answer = StoreUnavailable(f"the store answered with another record than that of token {token_id}")
            else:
                self._cache.keep(token_id, record, live=live)
                answer = Lookup(record, now_ms)
        for found in founds:
            found(answer)

    # -- pushes and heartbeat

    def _pushed(self, push: list[Any]) -> None:
        if push[0] != b"invalidate":
            return
        if push[1] is None:  # FLUSHALL
            self._cache.drop_all()
            return
        for key in push[1]:
            token_id = key[len(self._prefix) + 1 : -1].decode("ascii", "replace")
            self._cache.drop(token_id)
            self._store.link.call([("HGET", self._store.keys.info(token_id), "version")], partial(self._confirm, token_id))
            self.on_change(token_id)

    def _confirm(self, token_id: str, replies: list[Any] | StoreUnavailable) -> None:
        """Say up to which version this worker has forgotten a token: the one that it has read itself, so that the word stays true however
        late it is heard. A reply of the same turn of the store may stand before its push, so what came since the push goes too.
        """
        self._cache.drop(token_id)
        if isinstance(replies, list) and isinstance(replies[0], bytes) and replies[0] != b"1":  # nobody waits for the first
            keys = self._store.keys
            self._store.link.call([("PUBLISH", keys.confirmed, f"{token_id} {int(replies[0])} {self.worker}")], _ignore)

    def _beat(self) -> None:
        link = self._store.link
        if link.up and not self._closed:
            keys = self._store.keys
            commands: list[Command] = [trial(keys)]
            if self._caching:
                commands.append(("EVAL", HEARTBEAT.text, 2, keys.workers, keys.meta, self.worker, int(self._lease_s * 1000)))
            link.call(commands, partial(self._beaten, boot_s()))

    def _beaten(self, sent_s: float, replies: list[Any] | StoreUnavailable) -> None:
        if isinstance(replies, StoreUnavailable):
            return
        if is_read_only(replies[0]):
            # The server has become a replica, and may not hear of the latest changes: asking it is no check.
            self._store.link.give_up(unavailable(replies[0], self._store.options))
            return
        beat = replies[-1]
        if not isinstance(beat, list):
            return  # no lease: each request asks, until a heartbeat gets through
        store_id, store_ms, registered = beat
        try:
            self._store.identity.confirm(store_id)
        except StoreUnavailable:
            self._cache.drop_all()
            return
        if not registered:
            self._cache.drop_all()  # a change may have been answered without us since
        if self._caching:
            self._cache.believe(sent_s, self._lease_s, int(store_ms))


def node_name() -> str:
    """A name for this node that no other has: the host's, and something random."""
    return f"{socket.gethostname()}-{secrets.token_hex(4)}"


def _fail(waiting: dict[str, list[Found]], why: StoreUnavailable) -> None:
    for founds in waiting.values():
        for found in founds:
            found(StoreUnavailable(str(why)))


def _ignore(_: object) -> None:
    pass
