"""The supervisor: starts the workers and the management process, watches them and the embedded store, passes signals on, ends last.

It has no event loop and serves nobody, so that little can go wrong in it. It keeps the listening sockets: a process that dies is replaced at
once and its successor finds the queue as it was. It reaps whatever child ends, its own or (as process 1 of a container) others' orphans.
SIGTERM and SIGINT drain, a second one ends at once; SIGHUP loads the policy anew, in two steps (``processes.control``).
"""

from __future__ import annotations

import logging
import os
import pickle
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from gateway.core.policy import Policy
from gateway.observe.metrics import Counters, Overview, WorkerFacts
from gateway.ports import StoreUnavailable
from gateway.processes.child import StartParts
from gateway.processes.control import Ask, Changed, Count, Counts, Drain, Ready, Refused, Report, Start, Told
from gateway.processes.listening import CannotServe, begin_no_more
from gateway.processes.rollout import Rollout
from gateway.processes.slot import PAUSE_S, Slot, environment
from gateway.settings import NoticeSettings, Secret, Settings
from gateway.store.connection import StoreOptions
from gateway.store.embedded import EmbeddedStore
from gateway.store.token_store import node_name

LOG: Final = logging.getLogger("scopegate")
COLLECT_S: Final = 0.5  # for all workers to tell their counts
SILENT_S: Final = 3.0  # a worker that has said nothing for so long is not up
_START_S: Final = 60.0
_CLOSE_S: Final = 1.0  # beyond drain_timeout, for what comes after the last request: notes of use, the log
_MANAGEMENT_S: Final = 4.0
_TICK_S: Final = 0.1
_QUIET_TICK_S: Final = 0.5
_KILLED_S: Final = 5.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class _Collection:
    """An overview on its way out: whose counts are still awaited."""

    def __init__(self, serial: int, until: float) -> None:
        self.serial = serial
        self.until = until
        self.waiting: set[Slot] = set()


class Supervisor:
    """``run`` returns when all is ended. ``policy`` is the first that is in force."""

    def __init__(
        self,
        settings: Settings,
        policy: Policy,
        store: StoreOptions,
        admin_key: Secret,
        listeners: Sequence[socket.socket],
        admin: socket.socket,
        embedded: EmbeddedStore | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._admin_key = admin_key
        self._embedded = embedded
        self._node = node_name()
        credentials = [upstream.credentials.value.reveal() for upstream in settings.upstreams.values() if upstream.credentials]
        self._environ = environment(os.environ, [admin_key.reveal(), *filter(None, (settings.notices.secret.reveal(),)), *credentials])
        self._workers = [Slot(f"worker {number}", "gateway.processes.worker", listener) for number, listener in enumerate(listeners)]
        self._management = Slot("the management process", "gateway.processes.management", admin)
        self._slots = [*self._workers, self._management]
        self._own = Counters()
        self._policy = Rollout(settings, policy, self._slots, self._own)
        self._serial = 0
        self._hung_up = False
        self._collection: _Collection | None = None
        self._served = False  # all were ready once
        self._ending = False
        self._killing = False
        self._end_by = 0.0
        self._store_due = 0.0
        self._started_by = 0.0
        self._hangup_ends = False

    def run(self, ready: Callable[[], None], *, hangup_ends: bool = False) -> bool:
        """Serve until told to stop; ``ready`` is called once requests are taken. Whether all ended by itself, False after a second signal.

        CannotServe with one plain line where a process can't start. ``hangup_ends``: SIGHUP ends too.
        """
        self._hangup_ends = hangup_ends
        self._started_by = time.monotonic() + _START_S
        with self._signals() as wakeup:
            try:
                for slot in self._slots:
                    self._launch(slot)
                while any(slot.pid or slot.start_at is not None for slot in self._slots):
                    self._turn(wakeup)
                    if not self._served and not self._ending and all(slot.ready for slot in self._slots):
                        self._served = True
                        ready()
                        self._policy.begin(watched=not self._hung_up)
            finally:
                self._kill_all()
        return not self._killing

    # -- one turn

    def _turn(self, wakeup: socket.socket) -> None:
        spoken = [slot for slot in self._slots if slot.control is not None]
        waits = self._policy.under_way or self._collection or self._ending or any(slot.start_at is not None for slot in self._slots)
        to_read: list[Slot | socket.socket] = [wakeup, *spoken]
        readable, writable, _ = select.select(to_read, [slot for slot in spoken if slot.unsent], [], _TICK_S if waits else _QUIET_TICK_S)
        for slot in writable:
            slot.flush()
        for each in readable:
            if isinstance(each, Slot):
                self._listen_to(each)
            else:
                self._heed(wakeup.recv(4096))
        self._reap()
        self._look_at_clock(time.monotonic())

    def _heed(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGHUP and not self._hangup_ends:
                self._hung_up = True
                if self._served and not self._ending:
                    self._policy.begin()
            elif number != signal.SIGCHLD:
                self._end()

    def _listen_to(self, slot: Slot) -> None:
        slot.heard_s = time.monotonic()
        try:
            reports = slot.receive()
        except ValueError:
            LOG.critical("%s said something that is no message: it is ended; report this", slot.name)
            slot.signal(signal.SIGKILL)
            return
        for report in reports:
            self._hear(slot, report)

    def _look_at_clock(self, now: float) -> None:
        for slot in self._slots:
            if slot.start_at is not None and now >= slot.start_at:
                self._launch(slot)
        self._policy.look_at_clock(now)
        if self._collection is not None and now >= self._collection.until:
            self._tell()
        if self._ending and now >= self._end_by:
            self._end_late(now)
        if not self._served and not self._ending and now >= self._started_by:
            late = next(slot for slot in self._slots if not slot.ready)
            raise CannotServe(f"{late.name} was not ready within {_START_S:g} s: the machine is too busy, or see above")
        self._watch_store(now)

    def _watch_store(self, now: float) -> None:
        if self._embedded is None or self._killing or now < self._store_due:
            return
        self._store_due = now + _TICK_S
        try:
            if self._embedded.revive(wait=False):
                self._store_due = now + PAUSE_S
                LOG.error("the embedded store had died and was started again")
        except StoreUnavailable as why:
            self._store_due = now + PAUSE_S
            LOG.error("the embedded store cannot be started again: %s", why)  # noqa: TRY400 - one plain line

    # -- processes

    def _launch(self, slot: Slot) -> None:
        try:
            slot.launch(self._environ, time.monotonic())
        except OSError as error:
            if not self._served:
                raise CannotServe(f"{slot.name} cannot be started: {error.strerror}") from None
            LOG.error("%s cannot be started: %s", slot.name, error.strerror)  # noqa: TRY400 - one plain line
            slot.start_at = time.monotonic() + PAUSE_S
            return
        manages = slot is self._management
        settings = self._settings if manages else replace(self._settings, notices=NoticeSettings())  # workers send none
        parts = StartParts(settings, self._store, self._admin_key if manages else None)
        number = self._slots.index(slot)
        slot.send(Start(pickle.dumps(parts), self._policy.in_force, f"{self._node}/{number}", logging.getLogger().level))
        self._policy.started(slot)
        if self._ending:
            self._drain(slot)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for slot in self._slots:
                if slot.pid == pid:
                    self._ended(slot, os.waitstatus_to_exitcode(status))

    def _ended(self, slot: Slot, code: int) -> None:
        """A process has ended: at once there is another, unless it was meant to."""
        self._listen_to(slot)  # its last words
        now = time.monotonic()
        often = slot.died(now)
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"has ended (exit {code})"
        if slot.draining:
            if code:
                LOG.error("%s %s before it had finished", slot.name, how)
        elif not self._served and not self._ending:
            raise CannotServe(slot.refused or f"{slot.name} {how} before it was ready: see above")
        elif self._ending and not code:
            self._launch(slot)  # a signal to the whole group reached it too: it is needed until the workers have ended
        else:
            self._own.worker_restarts += 1
            pause = often or bool(slot.refused)
            if slot.refused:
                LOG.error("%s cannot start: %s; it is tried again", slot.name, slot.refused)
            else:
                LOG.error("%s %s: another takes its place%s", slot.name, how, " in a second, since this happens again and again" if often else "")
            if pause:
                slot.start_at = now + PAUSE_S
            else:
                self._launch(slot)
        self._policy.ended(slot)
        if self._collection is not None:
            self._collection.waiting.discard(slot)
            if not self._collection.waiting:
                self._tell()
        if self._ending and not any(worker.pid or worker.start_at is not None for worker in self._workers):
            self._drain_management()

    # -- what they say

    def _hear(self, slot: Slot, report: Report) -> None:
        if isinstance(report, Ready):
            slot.ready, slot.policy = True, report.policy
        elif isinstance(report, Refused):
            slot.refused = report.why
        elif isinstance(report, Counts):
            slot.last = report.counters
            if self._collection is not None and report.serial == self._collection.serial:
                self._collection.waiting.discard(slot)
                if not self._collection.waiting:
                    self._tell()
        elif isinstance(report, Ask):
            self._collect()
        elif isinstance(report, Changed):
            if self._served and not self._ending:
                self._policy.begin(watched=True)
        else:
            self._policy.hear(slot, report)

    def _collect(self) -> None:
        """Ask all workers for their counts."""
        self._serial += 1
        self._collection = _Collection(self._serial, time.monotonic() + COLLECT_S)
        for worker in self._workers:
            if worker.ready and not worker.unsent:  # one that does not read is not asked again and again
                worker.send(Count(self._serial))
                self._collection.waiting.add(worker)
        if not self._collection.waiting:
            self._tell()

    def _tell(self) -> None:
        """Tell the management process what is known: of a worker that has not answered, what it said last."""
        self._collection = None
        if not self._management.ready:
            return
        total, now = Counters(), time.monotonic()
        for counted in (self._own, self._management.past, *(part for worker in self._workers for part in (worker.past, worker.last))):
            total.add(counted)
        facts = [WorkerFacts(number, worker.ready and now - worker.heard_s < SILENT_S, worker.policy) for number, worker in enumerate(self._workers)]
        self._management.send(Told(Overview(total, facts, self._ending, self._policy.refused)))

    # -- the end

    def _end(self) -> None:
        """The first time: drain. The second time: end at once."""
        if self._ending:
            self._killing = True
            self._kill_all()
            return
        self._ending = True
        self._end_by = time.monotonic() + self._settings.drain_timeout_s + _CLOSE_S
        for worker in self._workers:
            # What waits in the queue of a worker that has just died is answered by another, if that is quick.
            if worker.pid:
                self._drain(worker)
            elif worker.start_at is not None:
                self._launch(worker)
        if not any(worker.pid for worker in self._workers):
            self._drain_management()

    def _drain(self, slot: Slot) -> None:
        slot.draining = True
        if slot is not self._management:
            begin_no_more(slot.listener)
        slot.send(Drain())
        slot.listener.close()  # the process's own is the last, and closes it

    def _drain_management(self) -> None:
        self._end_by = time.monotonic() + _MANAGEMENT_S
        if self._management.pid and not self._management.draining:
            self._drain(self._management)
        self._management.start_at = None

    def _end_late(self, now: float) -> None:
        """The time is over: who is not through by now hangs."""
        for slot in self._slots:
            if slot.pid and slot.draining:
                LOG.error("%s has not ended in time: it is killed", slot.name)
                slot.signal(signal.SIGKILL)
            slot.start_at = None
        self._end_by = now + _KILLED_S

    def _kill_all(self) -> None:
        for slot in self._slots:
            slot.start_at = None
            slot.signal(signal.SIGKILL)
        for slot in self._slots:
            if slot.pid:
                os.waitpid(slot.pid, 0)
                slot.pid = 0
            if slot.control is not None:
                slot.control.close()
                slot.control = None

    @contextmanager
    def _signals(self) -> Iterator[socket.socket]:
        """Signals become bytes on a socket that wakes the selector."""
        read, write = socket.socketpair()
        with read, write:
            read.setblocking(False)
            write.setblocking(False)
            handlers = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
            fd = signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
            try:
                yield read
            finally:
                signal.set_wakeup_fd(fd)
                for number, handler in handlers.items():
                    signal.signal(number, handler)
