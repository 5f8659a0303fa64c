"""What is noted in the audit log without anybody waiting for it: a new policy, and refused calls.

A refusal is answered at once, whether or not the store is there, so its entry is written afterwards, and again until the store has taken it. A flood of refused
calls must not fill the store: of each minute some are noted, and then one entry that counts the rest. Each caller that proved who it is is counted by
itself, and all others together, so that neither a flood of strangers nor one of a single user hides anybody.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from gateway.core.audit import AuditEntry
from gateway.core.principal import ON_ITS_OWN, Actor, Principal
from gateway.ports import AuditLog, StoreUnavailable

LOG: Final = logging.getLogger("scopegate")
REFUSED: Final = "call.refused"
A_MINUTE: Final = 30  # refused calls that are noted one by one, of each caller
CALLERS: Final = 24  # that are counted by themselves in a minute, those beyond together: all that is noted in it may wait for the store
_MINUTE_S: Final = 60.0
_WAITING: Final = 1000  # entries that wait for the store
_AGAIN_S: Final = 0.5
_LOOK_S: Final = 1.0


Caller = tuple[str, bool]  # subject, and whether it is an admin: one and a user may have one name
_STRANGERS: Final[Caller] = ("", False)
_BEYOND: Final[Caller] = ("", True)


class _Minute:
    """A caller's: how many refused calls were noted since ``began``, and how many were only counted. ``actor`` is whom the count is told of."""

    def __init__(self, began: float, actor: Actor) -> None:
        self.began = began
        self.actor = actor
        self.noted = 0
        self.more = 0


class AuditBacklog:
    """Entries on their way to the log. ``run`` writes them, until it is cancelled; ``finish`` writes what is left."""

    def __init__(self, log: AuditLog, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock_s = clock_s
        self._entries: deque[AuditEntry] = deque()
        self._some = asyncio.Event()
        self._minutes: dict[Caller, _Minute] = {}
        self._dropped = 0

    def add(self, entry: AuditEntry) -> None:
        """Have an entry written soon. Where the store has been away for too long it is dropped; the log says how many were, once it is back."""
        if len(self._entries) >= _WAITING:
            self._dropped += 1
            return
        self._entries.append(entry)
        self._some.set()

    def add_refused(self, entry: AuditEntry) -> None:
        """The same for a refused call, if not too many have been noted this minute: then it is only counted."""
        self._look()
        minute = self._minute(entry.actor.principal)
        if minute.noted < A_MINUTE:
            minute.noted += 1
            self.add(entry)
        else:
            minute.more += 1

    def _minute(self, principal: Principal) -> _Minute:
        caller = (principal.subject, principal.admin) if principal.subject else _STRANGERS
        if caller not in self._minutes and caller != _STRANGERS and len(self._minutes.keys() - {_STRANGERS, _BEYOND}) >= CALLERS:
            caller = _BEYOND
        if caller not in self._minutes:
            self._minutes[caller] = _Minute(self._clock_s(), Actor(principal) if caller[0] else ON_ITS_OWN)
        return self._minutes[caller]

    async def run(self) -> None:
        """Write entries as they come."""
        while True:
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._some.wait()
            except TimeoutError:
                pass
            self._look()
            try:
                await self._write()
            except StoreUnavailable:
                await asyncio.sleep(_AGAIN_S)  # the management process tells of a store that is away

    async def finish(self, within_s: float) -> None:
        """Write what is left, and what was only counted, if the store takes it within so many seconds. ``run`` has been cancelled before."""
        self._look(at_once=True)
        try:
            async with asyncio.timeout(within_s):
                await self._write()
        except (StoreUnavailable, TimeoutError):
            LOG.error("%d entries of the audit log could not be written before the end", len(self._entries))  # noqa: TRY400 - one plain line

    async def _write(self) -> None:
        self._some.clear()
        while self._entries:
            await self._log.note(self._entries[0])
            self._entries.popleft()
        if self._dropped:
            LOG.error("%d entries of the audit log were dropped while the store was away", self._dropped)
            self._dropped = 0

    def _look(self, *, at_once: bool = False) -> None:
        """Note how many were only counted, once their minute is over."""
        for caller, minute in list(self._minutes.items()):
            is_over = self._clock_s() - minute.began >= _MINUTE_S
            if minute.more and (at_once or is_over):
                self.add(AuditEntry(REFUSED, minute.actor, details={"more": minute.more, "callers": "unknown" if caller == _STRANGERS else "known"}))
                minute.more = 0
            if is_over:
                del self._minutes[caller]
