"""A new policy on its way to all processes: it is read and checked here; then, in two steps, all prepare, and once all have
said that they can, all swap.

Until the first step is over the policy before is in force, and a process that is started gets that one, and prepares with the others. From the
second step on it gets the new one. If one process can't use the policy, or does not answer, nobody does.
"""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Sequence
from typing import Final

from gateway.core.policy import Policy
from gateway.flow.reload import digest_of, load_fitting_policy
from gateway.observe.metrics import Counters, RefusedPolicy
from gateway.policy_file.document import DocumentFault
from gateway.processes.control import Prepare, Prepared, Swap, Swapped
from gateway.processes.slot import Slot
from gateway.settings import Settings
from gateway.settings.fit import what_is_open

LOG: Final = logging.getLogger("scopegate")
LIMIT_S: Final = 30.0
_TOLD: Final = 10  # faults of one file that are in the log


class Rollout:
    """The policy in force, pickled, and the one on its way, if there is one. ``counters`` get the outcomes."""

    def __init__(self, settings: Settings, in_force: Policy, slots: Sequence[Slot], counters: Counters) -> None:
        self.in_force = pickle.dumps(in_force)
        self.refused: RefusedPolicy | None = None
        self._read = in_force.hash  # of the file that was read last, whatever came of it
        self._settings = settings
        self._slots = slots
        self._counters = counters
        self._serial = 0
        self._coming: bytes | None = None  # in its first step
        self._hash = ""  # of the one on its way
        self._open: list[str] = []  # what that one lets through
        self._swapping = False
        self._waiting: set[Slot] = set()
        self._until = 0.0
        self._again: bool | None = None  # with or without ``watched``

    @property
    def under_way(self) -> bool:
        return self._coming is not None or self._swapping

    def begin(self, *, watched: bool = False) -> None:
        """Read the file and let all prepare; after the present one, if one is under way. ``watched``: only if it is another than was read last."""
        if self.under_way:
            self._again = watched and self._again is not False
            return
        digest = digest_of(self._settings.policy)
        if watched and digest == self._read:
            return
        self._read = digest
        try:
            policy = load_fitting_policy(self._settings)
            self._coming, self._hash, self._open = pickle.dumps(policy), policy.hash, what_is_open(self._settings, policy)
        except DocumentFault as fault:
            self._refuse([str(each) for each in fault.faults], of_file=any(each.line for each in fault.faults))
            return
        except Exception as error:  # noqa: BLE001 - no file may end the supervisor
            self._refuse([f"it cannot be read: {type(error).__name__}; report this"])
            return
        self._serial += 1
        self._until = time.monotonic() + LIMIT_S
        for slot in self._slots:
            self.started(slot)

    def started(self, slot: Slot) -> None:
        """A process has got the policy in force: it prepares too."""
        if slot.pid and self._coming is not None:
            slot.send(Prepare(self._serial, self._coming))
            self._waiting.add(slot)

    def ended(self, slot: Slot) -> None:
        """A process has ended; whoever sits in its place now has been ``started``."""
        if self._swapping or not slot.pid:
            self._answered(slot)

    def hear(self, slot: Slot, report: Prepared | Swapped) -> None:
        """A process has answered."""
        if isinstance(report, Swapped):
            slot.policy = report.policy
        step = self._swapping if isinstance(report, Swapped) else self._coming is not None
        if report.serial != self._serial or not step:
            return
        if isinstance(report, Prepared) and report.faults:
            self._refuse(report.faults)
        else:
            self._answered(slot)

    def look_at_clock(self, now: float) -> None:
        """Give up where one does not answer in time."""
        if not self.under_way or now < self._until:
            return
        silent = ", ".join(slot.name for slot in self._slots if slot in self._waiting)
        if self._swapping:
            self._in_force()
            LOG.error("policy reloaded, but %s has not said so within %g s: see /readyz, and end it if it hangs", silent, LIMIT_S)
            self._done()
        else:
            self._refuse([f"{silent} did not answer within {LIMIT_S:g} s: end it if it hangs"])

    def _answered(self, slot: Slot) -> None:
        if not self.under_way:
            return
        self._waiting.discard(slot)
        if not self._waiting and self._coming is not None:
            self.in_force, self._coming = self._coming, None
            self._swapping = True
            self._waiting = {slot for slot in self._slots if slot.pid}
            for each in self._waiting:
                each.send(Swap(self._serial))
        if not self._waiting:
            self._in_force()
            LOG.info("policy reloaded: %s, hash %s", self._settings.policy, self._hash[:12])
            for line in self._open:
                LOG.warning("%s", line)
            self._done()

    def _in_force(self) -> None:
        self._counters.policy_reloads += 1
        self._counters.policy_refused = 0
        self.refused = None

    def _refuse(self, faults: Sequence[str], *, of_file: bool = False) -> None:
        """``of_file``: they are of the file alone, so that ``policy check`` finds them; what does not fit the configuration it does not know."""
        self._counters.policy_reloads_refused += 1
        self._counters.policy_refused = 1
        self.refused = RefusedPolicy(self._read, len(faults))
        told = list(faults[:_TOLD])
        if len(faults) > _TOLD:
            where = f": scopegate policy check {self._settings.policy} tells them all" if of_file else ""
            told.append(f"and {len(faults) - _TOLD} more{where}")
        for fault in told:
            LOG.error("policy not reloaded, the one before stays: %s", fault)
        self._done()

    def _done(self) -> None:
        self._coming, self._swapping = None, False
        self._waiting = set()
        again, self._again = self._again, None
        if again is not None:
            self.begin(watched=again)
