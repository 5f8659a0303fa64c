"""Inside a worker or the management process: what both do. Started by the supervisor, told everything over the control socket, ended by it.

A process ends in three ways: told to drain; by SIGTERM, which drains it as well (the supervisor puts another in its place, and the listening
socket and its queue stay); or because its supervisor is gone: then what is in flight has one second, since nobody would watch it any more.
SIGINT and SIGHUP reach the whole group of a terminal; here they mean nothing: the supervisor decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, cast

import uvloop

from gateway.core.policy import Policy
from gateway.observe.metrics import Counters, Overview
from gateway.ports import StoreUnavailable
from gateway.processes.control import (
    COUNTS_EVERY_S,
    ORDERS,
    Ask,
    Count,
    Counts,
    Drain,
    Incoming,
    Order,
    Prepare,
    Prepared,
    Ready,
    Refused,
    Report,
    Start,
    Swap,
    Swapped,
    Told,
    packed,
    receive_order,
)
from gateway.processes.listening import CannotServe
from gateway.settings import Secret, Settings
from gateway.store.connection import StoreOptions

LOG: Final = logging.getLogger("scopegate")
ORPHAN_S: Final = 1.0  # for what is in flight when the supervisor is gone
_TOLD_S: Final = 1.0
OURS: Final = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)


class StartParts(NamedTuple):
    """What Start carries pickled. ``admin_key`` goes to the management process alone."""

    settings: Settings
    store: StoreOptions
    admin_key: Secret | None


class Child(Protocol):
    """What runs in a process: one of ``gateway.app``."""

    async def start(self, listener: socket.socket) -> None: ...

    def use(self, policy: Policy) -> None: ...

    def count(self) -> Counters: ...

    async def end(self, within_s: float | None = None) -> None: ...


Compose = Callable[[Start, StartParts, Policy, "ControlLink"], Child]


def main(compose: Compose) -> None:
    """Run a process: ``argv`` holds the descriptors of the control socket and of the listening one."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    control, listener = (socket.socket(fileno=int(text)) for text in sys.argv[1:3])
    listener.setblocking(False)
    start = receive_order(control)
    if not isinstance(start, Start):
        return  # the supervisor has gone meanwhile
    start_log(start.log_level)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(compose, start, control, listener))
    except (CannotServe, StoreUnavailable) as why:
        _refuse(control, str(why))
    except OSError as error:
        _refuse(control, f"{error.filename or 'the system'}: {os.strerror(error.errno or 0)}")


def start_log(level: int = logging.INFO) -> None:
    """Operators' lines go to standard error; the access log has standard output to itself."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", level=level, force=True)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # its texts may quote what a peer sent
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells of each write in a folder, this log's own too


def _refuse(control: socket.socket, why: str) -> None:
    with contextlib.suppress(OSError):
        control.setblocking(True)
        control.sendall(packed(Refused(why)))
    sys.exit(2)


async def _serve(compose: Compose, start: Start, control: socket.socket, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    parts = cast("StartParts", pickle.loads(start.parts))  # noqa: S301 - from our own supervisor, on a socket that nobody else has
    policy = cast("Policy", pickle.loads(start.policy))  # noqa: S301 - the same
    link = ControlLink()
    child = compose(start, parts, policy, link)
    await child.start(listener)
    link.serve(child, policy)
    loop.add_signal_handler(signal.SIGTERM, link.end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, OURS)  # the supervisor blocks them until they have a meaning here
    control.setblocking(False)
    await loop.create_unix_connection(lambda: link, sock=control)
    link.send(Ready(policy.hash))
    counting = loop.create_task(link.count())
    within_s = await link.ended
    if within_s is not None:
        signal.setitimer(signal.ITIMER_REAL, 3 * within_s)  # whatever holds this process up: nobody is left to end it
    await child.end(within_s)
    counting.cancel()
    link.send(Counts(0, child.count()))
    await link.close()


class ControlLink(asyncio.Protocol):
    """The process's own end of the control socket."""

    def __init__(self) -> None:
        self._incoming = Incoming()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._child: Child | None = None
        self._policy: Policy | None = None
        self._prepared: tuple[int, Policy] | None = None
        self._preparing: set[asyncio.Task[None]] = set()
        self._told: asyncio.Future[Overview] | None = None
        self._overview = Overview()
        self._closed = self._loop.create_future()
        self.ended: asyncio.Future[float | None] = self._loop.create_future()

    def serve(self, child: Child, policy: Policy) -> None:
        """Whom the orders are for."""
        self._child, self._policy = child, policy

    def send(self, report: Report) -> None:
        """Tell the supervisor, if it is there."""
        if self._transport is not None:
            self._transport.write(packed(report))

    def end(self, within_s: float | None = None) -> None:
        """Finish what is in flight within so many seconds (else the settings') and end."""
        if not self.ended.done():
            self.ended.set_result(within_s)

    async def count(self) -> None:
        """Tell the counts now and then, until cancelled."""
        while self._child is not None:
            await asyncio.sleep(COUNTS_EVERY_S)
            self.send(Counts(0, self._child.count()))

    async def overview(self) -> Overview:
        """What the supervisor tells of the node's other processes; what it told last, where it does not answer in time."""
        if self._told is None:
            self._told = self._loop.create_future()
            self.send(Ask())
        told = self._told
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TOLD_S):
                await asyncio.shield(told)
        if self._told is told:
            self._told = None
        # A copy: whoever asked adds counts of its own.
        copy = Overview(Counters(), self._overview.workers, self._overview.draining, self._overview.refused)
        copy.counters.add(self._overview.counters)
        return copy

    async def close(self) -> None:
        """Send what waits, and close."""
        if self._transport is not None:
            self._transport.close()
            await self._closed

    # -- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        for order in self._incoming.feed(data, ORDERS):
            self._obey(order)

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        if not self._closed.done():
            self._closed.set_result(None)
        self.end(ORPHAN_S)

    # -- orders

    def _obey(self, order: Order) -> None:
        child = self._child
        if child is None:
            return
        if isinstance(order, Drain):
            self.end()
        elif isinstance(order, Count):
            self.send(Counts(order.serial, child.count()))
        elif isinstance(order, Told):
            self._overview = order.overview
            if self._told is not None and not self._told.done():
                self._told.set_result(order.overview)
        elif isinstance(order, Prepare):
            task = self._loop.create_task(self._prepare(order))
            self._preparing.add(task)
            task.add_done_callback(self._preparing.discard)
        elif isinstance(order, Swap) and self._prepared is not None and self._prepared[0] == order.serial:
            policy, self._prepared = self._prepared[1], None
            child.use(policy)
            self.send(Swapped(order.serial, policy.hash))

    async def _prepare(self, order: Prepare) -> None:
        faults: list[str] = []
        try:
            policy = await asyncio.to_thread(_unpickled, order.policy)
        except Exception as error:  # noqa: BLE001 - the supervisor must not wait for an answer that never comes
            faults = [f"it cannot be used here: {type(error).__name__}; report this"]
        else:
            if self._prepared is None or self._prepared[0] < order.serial:  # who was held up may find two, and end with the former
                self._prepared = (order.serial, policy)
        self.send(Prepared(order.serial, faults))


def _unpickled(policy: bytes) -> Policy:
    """With the collector off: it would look through all that has been read so far again and again, and hold up the requests for most of the time."""
    gc.disable()
    try:
        return cast("Policy", pickle.loads(policy))  # noqa: S301 - from our own supervisor, on a socket that nobody else has
    finally:
        gc.enable()
