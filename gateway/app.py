"""The composition root: settings -> adapters -> engine -> entry points. It knows all parts and decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from gateway.core.policy import Policy
from gateway.flow.engine import Engine
from gateway.flow.issuance import Issuance
from gateway.flow.reload import load_fitting_policy
from gateway.inbound.account import Account
from gateway.inbound.parser import check_parser
from gateway.inbound.plane import DataPlane
from gateway.management.app import build_management
from gateway.management.server import ManagementServer
from gateway.observe.access_log import AccessLog
from gateway.observe.metrics import Counters
from gateway.observe.redaction import Redaction
from gateway.policy_file.document import DocumentFault
from gateway.ports import StoreUnavailable
from gateway.settings import Address, Secret, Settings
from gateway.store.embedded import EmbeddedStore
from gateway.store.limit_store import RedisLimitStore
from gateway.store.server import Store
from gateway.store.token_register import RedisTokenRegister
from gateway.store.token_store import RedisTokenStore
from gateway.store.usage_ledger import RedisUsageLedger

LOG: Final = logging.getLogger("scopegate")
_STORE_WATCH_S: Final = 0.5


class CannotServe(Exception):
    """The gateway can't start. The text says what is wrong and what to do."""


def bind(address: Address, key: str) -> socket.socket:
    """A bound socket. CannotServe where the address is taken, not ours, or not allowed; ``key`` names the setting."""
    family = socket.AF_INET6 if ":" in address.host or not address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if not address.host else 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address.host, address.port))
        sock.listen(1024)  # a second program that binds with SO_REUSEADDR is refused only by a socket that listens
    except OSError as error:
        sock.close()
        why = {
            98: "is in use by another program: stop it, or set another",
            99: "is no address of this machine: set another",
            13: "may not be used by this user: set another",
        }
        raise CannotServe(f"{address} {why.get(error.errno or 0, f'cannot be listened on ({error.strerror}): set another')} {key}") from None
    sock.setblocking(False)
    return sock


class Gateway:
    """One process that serves both ports. ``embedded`` is the store's server, where it is ours to watch."""

    def __init__(self, settings: Settings, policy: Policy, store: Store, admin_key: Secret, embedded: EmbeddedStore | None) -> None:
        loop = asyncio.get_running_loop()
        self.settings = settings
        self.store = store
        self._embedded = embedded
        tokens = RedisTokenStore(store)
        self._tokens = tokens
        self._usage = RedisUsageLedger(store)
        self._counters = Counters()
        try:
            self._log = AccessLog(settings.access_log)
        except OSError as error:
            raise CannotServe(f"access_log: {settings.access_log} can't be written ({error.strerror}): name another file, stdout or off") from None
        self._engine = Engine(policy, tokens, RedisLimitStore(store), settings.token_prefix)
        self.plane = DataPlane(settings, self._engine, tokens, Account(self._counters, self._log, self._usage, Redaction(settings.token_prefix)), loop)
        self.issuance = Issuance(RedisTokenRegister(store), settings.token_prefix)
        app = build_management(
            issuance=self.issuance,
            policy=lambda: self._engine.policy,
            counters=self._counters,
            readiness=self._not_ready,
            admin_key=admin_key,
            hosts=settings.admin.hosts,
        )
        self._management = ManagementServer(app)
        self._ended = asyncio.Event()
        self._hung_up = asyncio.Event()

    async def _not_ready(self) -> Sequence[str]:
        if self.plane.draining:
            return ["the gateway is shutting down"]
        try:
            await self._tokens.ping()
        except StoreUnavailable:
            return ["the token store cannot be used: the log says why"]
        return []

    async def reload(self) -> None:
        """Load the policy file anew and swap it in; a faulty one changes nothing and is told in the log."""
        try:
            policy = await asyncio.to_thread(load_fitting_policy, self.settings)
        except DocumentFault as fault:
            self._counters.policy_reloads_refused += 1
            for each in fault.faults:
                LOG.error("policy not reloaded, the one before stays: %s", each)  # noqa: TRY400 - one plain line
            return
        self._engine.policy = policy
        self._counters.policy_reloads += 1
        LOG.info("policy reloaded: %s, hash %s, %d routes", policy.name, policy.hash[:12], len(policy.routes))

    async def _reload_when_told(self) -> None:
        """One reload at a time, and one more if a signal came meanwhile: so the newest file is the one that stays."""
        while True:
            await self._hung_up.wait()
            self._hung_up.clear()
            await self.reload()

    async def _tell_of_store(self) -> None:
        """One line when the store can't be used any more, and one when it can again."""
        usable = True
        while True:
            await asyncio.sleep(_STORE_WATCH_S)
            try:
                await self._tokens.ping()
            except StoreUnavailable as why:
                if usable:
                    LOG.error("%s; until then requests that need it are answered 503", why)  # noqa: TRY400 - one plain line
                usable = False
            else:
                if not usable:
                    LOG.info("the store can be used again")
                usable = True

    def end(self) -> None:
        """Ask the gateway to finish what is in flight and stop."""
        self._ended.set()

    async def run(self, data: socket.socket, admin: socket.socket, ready: Callable[[], Any]) -> None:
        """Serve until ``end`` or SIGTERM; drain; close. SIGHUP reloads."""
        loop = asyncio.get_running_loop()
        await self._management.start(sock=admin)
        await self.plane.listen(data)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.end)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up.set)
        background = [self._reload_when_told(), self._tell_of_store(), self.plane.run(), self.plane.watch_streams(), self._log.run(), self._usage.run()]
        if self._embedded is not None:
            background.append(self._watch_store(self._embedded))
        tasks = [loop.create_task(keep_running(work)) for work in background]
        ready()
        await self._ended.wait()
        await self.plane.drain()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(StoreUnavailable):
            await self._usage.close()
        await self._log.close()
        await self._management.close()
        await self._tokens.close()
        await self.store.close()

    async def _watch_store(self, embedded: EmbeddedStore) -> None:
        """The embedded server is ours: if it dies, it is started again."""
        while True:
            await asyncio.sleep(_STORE_WATCH_S)
            try:
                if await asyncio.to_thread(embedded.revive):
                    LOG.error("the embedded store had died and was started again")
            except StoreUnavailable as why:
                LOG.error("the embedded store cannot be started again: %s", why)  # noqa: TRY400 - one plain line


async def keep_running(work: Awaitable[None]) -> None:
    """A background task whose end is a fault: told in one line, by its type alone, since texts may quote requests."""
    try:
        await work
    except Exception as error:  # noqa: BLE001
        LOG.critical("a background task has ended by %s: restart the gateway and report this", type(error).__name__)


async def serve(
    settings: Settings,
    policy: Policy,
    store: Store,
    admin_key: Secret,
    embedded: EmbeddedStore | None,
    sockets: tuple[socket.socket, socket.socket],
    ready: Callable[[Gateway], Any],
) -> None:
    """Check what must hold before the first request, then serve until told to stop. CannotServe, StoreUnavailable."""
    why = check_parser(settings.limits, asyncio.get_running_loop())
    if why:
        raise CannotServe(why)
    await store.start()
    gateway = Gateway(settings, policy, store, admin_key, embedded)
    await gateway.run(*sockets, lambda: ready(gateway))
