"""What the gateway does by itself, later: tells of coming ends and of ended secrets that are used, and ends a token that another has replaced.

All of it waits in the store, so that a restart loses nothing and of several nodes one does it. Each is done at least once: a node that dies between
doing and saying so leaves it to another, and the receiver of a webhook can tell by its id.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from gateway.core.audit import AuditEntry
from gateway.core.principal import ON_ITS_OWN, REPLACEMENT, Actor, Principal
from gateway.core.token_record import REVOKED, TokenRecord
from gateway.flow.issuance import DAY_MS, Issuance, IssuanceRefused
from gateway.flow.token_json import rfc3339
from gateway.ports import AuditLog, Notice, NoticeQueue, StoreUnavailable, TokenRegister

LOG: Final = logging.getLogger("scopegate")
ROUND_S: Final = 1.0
_AT_ONCE: Final = 16
_SECOND: Final = 1000
_HOUR: Final = 3600 * _SECOND
# What a failed webhook waits before the next try: three days and a half in all, then it is given up.
DELAYS_MS: Final = (5 * _SECOND, 30 * _SECOND, 120 * _SECOND, 600 * _SECOND, 1800 * _SECOND, _HOUR, 2 * _HOUR, 4 * _HOUR, *(12 * _HOUR,) * 6)

Send = Callable[[str, dict[str, Any]], Awaitable[str]]  # id and content of a message -> "" once it was taken, else why not


class Notices:
    """``send`` delivers a webhook; None where none is configured: then nothing is told of coming ends. ``days`` before an expiry at which to tell of
    it, descending. ``audit`` is None where no trail is kept."""

    def __init__(
        self, queue: NoticeQueue, register: TokenRegister, issuance: Issuance, *, send: Send | None, days: Sequence[int], audit: AuditLog | None = None
    ) -> None:
        self._queue = queue
        self._register = register
        self._issuance = issuance
        self._send = send
        self._days = tuple(sorted(set(days), reverse=True)) if send is not None else ()
        self._audit = audit
        self._failing = False

    async def run(self) -> None:
        """See to what is due, until cancelled. An unavailable store is tried again a second later."""
        while True:
            try:
                while await self.round() == _AT_ONCE:
                    pass
            except StoreUnavailable:
                pass  # the management process tells of it
            except Exception as error:  # noqa: BLE001 - one damaged notice must not keep all others from being seen to
                LOG.error("notices can't be seen to (%s): it is tried again; report this", type(error).__name__)  # noqa: TRY400 - one plain line
            await asyncio.sleep(ROUND_S)

    async def round(self) -> int:
        """See to what is due now; how many there were. StoreUnavailable where that can't be known."""
        await self._queue.sweep(self._days)
        notices, now_ms = await self._queue.claim(_AT_ONCE)
        outcomes = await asyncio.gather(*(self._see_to(notice, now_ms) for notice in notices), return_exceptions=True)
        for fault in outcomes:
            if isinstance(fault, BaseException) and not isinstance(fault, StoreUnavailable):
                LOG.error("a notice can't be seen to (%s): it is tried again; report this", type(fault).__name__)
        return len(notices)

    async def _see_to(self, notice: Notice, now_ms: int) -> None:
        if notice.kind == "replacement":
            await self._end_replaced(notice)
        elif notice.kind == "reuse":
            await self._tell_of_reuse(notice, now_ms)
        elif notice.kind == "expiry":
            await self._tell_of_end(notice, now_ms)
        else:
            LOG.warning("a notice of a kind that this version does not know was dropped: another version of the gateway works on this store")
            await self._queue.done(notice)

    async def _end_replaced(self, notice: Notice) -> None:
        old = str(notice.facts["old"])
        record, _ = await self._register.record(old)
        if record is not None and record.state != REVOKED:
            by = Actor(Principal(record.owner, admin=False, via=REPLACEMENT))
            with contextlib.suppress(IssuanceRefused):  # it has gone meanwhile
                await self._issuance.acting_for(by).revoke(old)
        await self._queue.done(notice)

    async def _tell_of_reuse(self, notice: Notice, now_ms: int) -> None:
        token_id, at, address, how = (notice.facts[name] for name in ("token_id", "at", "from", "how"))
        record, _ = await self._register.record(str(token_id))
        if record is None:
            await self._queue.done(notice)
            return
        if self._audit is not None and not notice.facts.get("noted"):
            actor = Actor(ON_ITS_OWN.principal, str(address))
            await self._audit.note(AuditEntry("token.reuse", actor, record.id, record.owner, {"kind": how, "at": rfc3339(int(at))}))
            # A webhook that fails later must not have it noted again.
            notice = notice._replace(facts={**notice.facts, "noted": 1})
        await self._deliver(notice, "token.reuse", now_ms, {"token": _shown(record, now_ms), "at": rfc3339(int(at)), "from": address, "kind": how})

    async def _tell_of_end(self, notice: Notice, now_ms: int) -> None:
        days = int(notice.facts["days"])
        record, _ = await self._register.record(str(notice.facts["token_id"]))
        nearer = max((other for other in self._days if other < days), default=None)
        if record is None or record.state == REVOKED or (nearer is not None and now_ms >= record.expires_at - nearer * DAY_MS):
            await self._queue.done(notice)  # nothing is left to tell, or the next notice tells more truly
        elif now_ms >= record.expires_at:
            await self._deliver(notice, "token.expired", now_ms, {"token": _shown(record, now_ms)})
        else:
            left = -(-(record.expires_at - now_ms) // DAY_MS)
            await self._deliver(notice, "token.expiring", now_ms, {"token": _shown(record, now_ms), "days_left": left})

    async def _deliver(self, notice: Notice, event: str, now_ms: int, data: dict[str, Any]) -> None:
        why = await self._send(notice.id, {"type": event, "timestamp": rfc3339(now_ms), "data": data}) if self._send is not None else ""
        if not why:
            if self._failing:
                self._failing = False
                LOG.info("the webhook takes notices again")
            await self._queue.done(notice)
        elif notice.tries >= len(DELAYS_MS):
            LOG.error("the notice %s of token %s was given up after %d tries: %s", event, data["token"]["id"], notice.tries + 1, why)
            await self._queue.done(notice)
        else:
            if not self._failing:  # one line when it begins, one when it is over
                self._failing = True
                LOG.error("the webhook does not take notices (%s): they are tried again for three days", why)
            await self._queue.later(notice._replace(tries=notice.tries + 1), DELAYS_MS[notice.tries])


def _shown(record: TokenRecord, now_ms: int) -> dict[str, Any]:
    """What a receiver is told of a token."""
    return {
        "id": record.id,
        "name": record.name,
        "owner": record.owner,
        "state": record.state_at(now_ms),
        "created_at": rfc3339(record.created_at),
        "expires_at": rfc3339(record.expires_at),
        "last_used_at": None if record.last_used_at is None else rfc3339(record.last_used_at),
    }
