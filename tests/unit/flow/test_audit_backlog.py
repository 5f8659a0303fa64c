"""What is noted while nobody waits: through an outage of the store, and without letting a flood fill it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

import pytest

from gateway.core.audit import AuditEntry
from gateway.core.principal import ADMIN_KEY, NOBODY, Actor, Principal
from gateway.flow.audit_backlog import A_MINUTE, CALLERS, AuditBacklog
from gateway.ports import StoreUnavailable

KNOWN = Actor(Principal("ana", admin=False, via=ADMIN_KEY))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


class Log:
    """A log in memory, which can be away."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []
        self.away = False
        self.asked = 0

    async def note(self, entry: AuditEntry) -> None:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("away")
        self.entries.append(entry)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def refused(actor: Actor = NOBODY) -> AuditEntry:
    return AuditEntry("call.refused", actor, details={"code": "admin_key_wrong"})


async def test_a_flood_of_refused_calls_is_one_entry_more_each_minute() -> None:
    """Seen to fail without the bound, and without ``_look``."""
    log, clock = Log(), Clock()
    backlog = AuditBacklog(log, clock)
    for _ in range(500):
        backlog.add_refused(refused())
    clock.now_s = 61.0
    for _ in range(A_MINUTE + 7):
        backlog.add_refused(refused())
    await backlog.finish(1)
    counted = [entry.details["more"] for entry in log.entries if "more" in entry.details]
    assert counted == [500 - A_MINUTE, 7]
    assert len(log.entries) == 2 * A_MINUTE + 2


async def test_the_rest_is_counted_also_where_no_further_call_comes() -> None:
    log, clock = Log(), Clock()
    backlog = AuditBacklog(log, clock)
    for _ in range(A_MINUTE + 3):
        backlog.add_refused(refused())
    task = asyncio.create_task(backlog.run())
    await until(lambda: len(log.entries) == A_MINUTE)
    clock.now_s = 61.0
    await until(lambda: len(log.entries) == A_MINUTE + 1)
    assert log.entries[-1].details == {"more": 3, "callers": "unknown"}
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_flood_of_strangers_hides_nobody_who_is_known() -> None:
    log = Log()
    backlog = AuditBacklog(log, Clock())
    for _ in range(500):
        backlog.add_refused(refused())
    backlog.add_refused(refused(KNOWN))
    await backlog.finish(1)
    assert refused(KNOWN) in log.entries


async def test_a_flood_of_one_user_hides_no_other_and_is_told_by_its_subject() -> None:
    """Seen to fail with one count for all who proved who they are."""
    log, clock = Log(), Clock()
    backlog = AuditBacklog(log, clock)
    ben = Actor(Principal("ben", admin=False, via=ADMIN_KEY), "192.0.2.7", "req-1")
    for _ in range(A_MINUTE + 9):
        backlog.add_refused(refused(ben))
    for _ in range(A_MINUTE + 2):
        backlog.add_refused(refused(KNOWN))
    await backlog.finish(1)
    assert log.entries.count(refused(KNOWN)) == log.entries.count(refused(ben)) == A_MINUTE
    counts = {entry.actor: entry.details for entry in log.entries if "more" in entry.details}
    assert counts == {Actor(ben.principal): {"more": 9, "callers": "known"}, Actor(KNOWN.principal): {"more": 2, "callers": "known"}}


async def test_callers_beyond_some_are_counted_together_until_the_minute_is_over() -> None:
    """Seen to fail without the bound, and where a caller keeps its place for good."""
    log, clock = Log(), Clock()
    backlog = AuditBacklog(log, clock)

    def flood(number: int) -> None:
        for _ in range(A_MINUTE + 1):
            backlog.add_refused(refused(Actor(Principal(f"u{number}", admin=False, via=ADMIN_KEY))))

    for number in range(CALLERS + 3):
        flood(number)
    clock.now_s = 61.0
    flood(CALLERS + 1)
    await backlog.finish(1)
    more = [(entry.actor.principal.subject, entry.details["more"]) for entry in log.entries if "more" in entry.details]
    assert more == [*((f"u{number}", 1) for number in range(CALLERS)), ("gateway", 2 * A_MINUTE + 3), (f"u{CALLERS + 1}", 1)]
    assert len(log.entries) - len(more) == (CALLERS + 2) * A_MINUTE


async def test_entries_wait_in_turn_for_a_store_that_is_away() -> None:
    """Seen to fail with the entry taken from the queue before it is noted."""
    log = Log()
    log.away = True
    backlog = AuditBacklog(log)
    entries = [AuditEntry(f"policy.reload {number}", NOBODY) for number in range(3)]
    for entry in entries:
        backlog.add(entry)
    task = asyncio.create_task(backlog.run())
    await until(lambda: log.asked > 1)
    log.away = False
    await until(lambda: log.entries == entries)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_what_waits_is_bounded_and_what_was_dropped_is_told(caplog: pytest.LogCaptureFixture) -> None:
    log = Log()
    backlog = AuditBacklog(log)
    for _ in range(1005):
        backlog.add(refused())
    with caplog.at_level(logging.ERROR, "scopegate"):
        await backlog.finish(5)
    assert len(log.entries) == 1000
    assert [record.getMessage() for record in caplog.records] == ["5 entries of the audit log were dropped while the store was away"]
