"""The end of the audit log as this process knows it: entries are chained to it, signed, and appended by the script that makes the change.

The newest entry is kept in memory, so that an entry costs no round trip of its own: the script refuses where another is the newest by now, tells
what was written since, and the entry is signed anew. What has been seen last is remembered in ``data_dir/audit.head`` as well: a log that is cut at
its end looks whole to everybody else. What was seen and is gone is kept there until ``store adopt``, and a line in the log says it once.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from gateway.core.audit import AuditEntry, Head, Signer, Written, chained, follow, genesis
from gateway.ports import StoreUnavailable
from gateway.settings.key_file import KeyUnusable, read_key
from gateway.store.connection import StoreOptions
from gateway.store.identity import StoreIdentity
from gateway.store.keys import Keys
from gateway.store.scripts import Script
from gateway.store.session import Session

LOG: Final = logging.getLogger("scopegate")
_ATTEMPTS: Final = 100  # each one lost means that another writer has got on
_LINE: Final = re.compile(r"([0-9a-f]{32}) ([0-9]{1,15}) ([0-9a-f]{64})( gone)?\Z")
_NUMBER: Final = re.compile(r"[0-9]{1,15}\Z", re.ASCII)
_OWN_KEY: Final = "the audit log's key can't be kept here: set audit.key_file, or another store.data_dir"
_SHARED_KEY: Final = "the audit log's key can't be read: mend audit.key_file, or leave it out"


class AuditChain:
    """One for a store, however many write through it."""

    def __init__(self, options: StoreOptions, keys: Keys, identity: StoreIdentity) -> None:
        self._options = options
        self._identity = identity
        self._stream = keys.audit
        self._memory = _Memory(options.data_dir / "audit.head")
        self._lock = asyncio.Lock()
        self._key: bytes | None = None
        self._head: Head | None = None
        self._of = b""  # the store whose head that is

    def load(self) -> None:
        """Read the key, or make it at the first start. StoreUnavailable with one plain line where that fails."""
        if self._key is None:
            shared = self._options.audit_key_file
            try:
                key = read_key(shared or self._options.data_dir / "audit.key", _SHARED_KEY if shared else _OWN_KEY, make=shared is None)
            except KeyUnusable as why:
                raise StoreUnavailable(str(why)) from None
            self._key = key.reveal().encode()

    def signer(self) -> Signer:
        """Who signs the entries of the store that we know."""
        self.load()
        return Signer(self._key or b"", self._identity.id)

    def remembered(self) -> list[Head]:
        """The heads of the store that we know that this node has seen: the newest, and those that were gone at another look."""
        seen, gone = self._memory.read(self._identity.id)
        return [*gone, *([seen] if seen else [])]

    def newest_seen(self) -> Head | None:
        """The newest head that this node has seen, of whatever store."""
        return self._memory.newest()

    def forget(self) -> None:
        """Take the store's log as it is: an operator has accepted the store."""
        self._head = None
        self._memory.clear()

    async def run(self, session: Session, script: Script, keys: Sequence[str], arguments: Iterable[Any], entry: AuditEntry, now_ms: int) -> Any:
        """The answer of a script that begins with audit.lua, which appends the entry with what it changes, or does neither. ``now_ms`` is the store's
        time."""
        signer = self.signer()
        rest = tuple(arguments)
        async with self._lock:
            for _ in range(_ATTEMPTS):
                head = self._known()
                new = follow(head, entry, now_ms, signer)
                told = (head.seq, head.hash, new.seq, new.text, new.hash, new.signature, new.key)
                answer = await session.script(script, (*keys, self._stream), (*told, *rest))
                if answer[0] == b"conflict":
                    self._learn([read_entry(flat) for _, flat in reversed(answer[1])])
                    continue
                if answer[0] == b"1":
                    self._seen(new.head)
                return answer[1]
        raise StoreUnavailable("the audit log is written by so many at once that this one does not get its turn: try again")

    def _known(self) -> Head:
        if self._head is None or self._of != self._identity.id:
            self._of = self._identity.id
            self._head = self._memory.read(self._of)[0] or genesis(self._of)
        return self._head

    def _seen(self, head: Head) -> None:
        self._head = head
        self._memory.seen(self._of, head)

    def _learn(self, newest: list[Written]) -> None:
        """Take over the end of the log as the store has it, oldest first, and say so where what this node has seen is no part of it."""
        known = self._known()
        end = newest[-1].head if newest else genesis(self._of)
        is_long_ago = bool(newest) and end.seq - known.seq >= len(newest)  # too many to be told: `audit verify` looks at all
        if known.seq and not is_long_ago:
            if not newest or newest[0].head != known:
                self._memory.lost(self._of, known)
                LOG.error("entry %d of the audit log, which this node has seen, is gone or another: `scopegate audit verify` says more", known.seq)
            elif any(entry.hash != chained(before.hash, entry.text) for before, entry in pairwise(newest)):
                LOG.error("what follows entry %d of the audit log does not follow from it: `scopegate audit verify` says more", known.seq)
        self._head = end


def read_entry(flat: Sequence[bytes]) -> Written:
    """An entry from the fields that the stream has; what is missing in it is "", or 0."""
    fields = {key: value.decode("utf-8", "replace") for key, value in zip(flat[::2], flat[1::2], strict=False)}
    number = fields.get(b"n", "")
    seq = int(number) if _NUMBER.match(number) else 0
    return Written(seq, fields.get(b"e", ""), fields.get(b"h", ""), fields.get(b"s", ""), fields.get(b"k", ""))


class _Memory:
    """What this node has seen last of each store's log, one a line: STORE NUMBER HASH, and "gone" behind what was no part of it any more. Several processes
    write it, so it is locked and written in place; a file that can't be written is told once, and stops no change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told = False

    def read(self, store_id: bytes) -> tuple[Head | None, list[Head]]:
        """The newest head of a store that was seen, and those that were gone."""
        try:
            lines = list(_parsed(self._path.read_text("ascii", "replace")))
        except OSError:
            return None, []
        here = [(Head(seq, found), gone) for store, seq, found, gone in lines if store == store_id.decode()]
        return max((head for head, gone in here if not gone), default=None), [head for head, gone in here if gone]

    def newest(self) -> Head | None:
        """The newest head of any store."""
        try:
            return max((Head(seq, found) for _, seq, found, _ in _parsed(self._path.read_text("ascii", "replace"))), default=None)
        except OSError:
            return None

    def seen(self, store_id: bytes, head: Head) -> None:
        """Remember a head, unless a newer one is remembered."""
        self._write(store_id, head, gone=False)

    def lost(self, store_id: bytes, head: Head) -> None:
        """Keep a head that is no part of the log any more, whatever comes."""
        self._write(store_id, head, gone=True)

    def clear(self) -> None:
        """Forget all."""
        self._path.unlink(missing_ok=True)

    def _write(self, store_id: bytes, head: Head, *, gone: bool) -> None:
        store = store_id.decode()
        try:
            with os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                lines = list(_parsed((file.read() or b"").decode("ascii", "replace")))
                kept = [line for line in lines if line[0] == store and line[3]]
                newest = [line for line in lines if line[0] == store and not line[3] and (line[1:3] != head if gone else line[1] > head.seq)]
                kept += [(store, *head, True)] if gone and (store, *head, True) not in kept else []
                kept += newest or ([] if gone else [(store, *head, False)])
                data = "".join(f"{each} {seq} {found}{' gone' if lost else ''}\n" for each, seq, found, lost in kept).encode()
                os.pwrite(file.fileno(), data, 0)
                os.ftruncate(file.fileno(), len(data))
        except OSError as error:
            if not self._told:
                self._told = True
                LOG.error("%s cannot be written (%s): a log that is cut at its end would not be found", self._path, error.strerror)  # noqa: TRY400 - one plain line


def _parsed(text: str) -> Iterator[tuple[str, int, str, bool]]:
    for line in text.splitlines():
        found = _LINE.match(line)
        if found:
            yield found[1], int(found[2]), found[3], found[4] is not None
