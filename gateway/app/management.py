"""What the management process is made of: the life of tokens on the store, and the API on its own port."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from gateway.core.audit import AuditEntry
from gateway.core.policy import Policy
from gateway.core.principal import NOBODY, ON_ITS_OWN
from gateway.flow.audit_backlog import AuditBacklog
from gateway.flow.holding import Holding
from gateway.flow.issuance import Issuance
from gateway.flow.notices import Notices
from gateway.flow.sign_in import SignIn
from gateway.management.app import build_management
from gateway.management.callers import Callers
from gateway.management.key_sets import KeySets
from gateway.management.oidc import OpenIdProvider
from gateway.management.policy_watch import watch_policy
from gateway.management.server import ManagementServer
from gateway.management.user_tokens import UserTokens
from gateway.management.webhook import WebhookSender
from gateway.observe.metrics import Counters, Overview
from gateway.ports import StoreUnavailable
from gateway.settings import Address, Secret, Settings
from gateway.store.audit_log import RedisAuditLog
from gateway.store.browser_sessions import RedisSessionStore
from gateway.store.connection import StoreOptions
from gateway.store.limit_store import RedisLimitStore
from gateway.store.notice_queue import RedisNoticeQueue
from gateway.store.once_store import RedisOnceStore
from gateway.store.server import Store
from gateway.store.token_register import RedisTokenRegister
from gateway.store.token_store import RedisTokenStore
from gateway.store.usage_ledger import RedisUsageReader
from gateway.ui.pages import Pages
from gateway.ui.sign_in_pages import RETURN, SignInPages

LOG: Final = logging.getLogger("scopegate")
_END_S: Final = 2.0
_LAST_NOTES_S: Final = 0.5
_STORE_WATCH_S: Final = 0.25
_FAILED: Final = 2  # in a row: what the first one tells may be of the connection that broke, the second says why there is no other


class ManagementApp:
    """The management port. ``overview`` asks for the facts of all processes, ``changed`` tells of a new policy file.
    StoreUnavailable where the store's id can't be read."""

    def __init__(
        self,
        settings: Settings,
        policy: Policy,
        options: StoreOptions,
        admin_key: Secret,
        overview: Callable[[], Awaitable[Overview]],
        changed: Callable[[], None],
    ) -> None:
        self.counters = Counters()
        self._policy = policy
        self._overview = overview
        self._store = Store(options)
        self._store.identity.load()  # the supervisor has checked the store
        sign_in = SignIn(RedisSessionStore(self._store))
        audit = RedisAuditLog(self._store)
        self._backlog = AuditBacklog(audit)
        self._keys = KeySets(settings.admin.jwt)
        register = RedisTokenRegister(self._store)
        issuance = Issuance(register, settings.token_prefix, by=NOBODY)
        send = WebhookSender(settings.notices) if settings.notices.url else None
        self._notices = Notices(RedisNoticeQueue(self._store), register, issuance, send=send, days=settings.notices.days, audit=audit)
        users = UserTokens(settings.admin.jwt, self._keys)
        admin = settings.admin
        provider = None if admin.oidc is None else OpenIdProvider(admin.oidc, admin.public_url + RETURN)
        self._reading = [self._keys.run, *((provider.run,) if provider is not None else ())]
        if settings.policy_watch:
            self._reading.append(partial(watch_policy, settings.policy, changed))
        callers = Callers(admin_key, users, sign_in, admin.public_url, admin.embed_origins)
        app = build_management(
            issuance=issuance,
            sign_in=sign_in,
            callers=callers,
            policy=lambda: self._policy,
            counters=self.counters,
            readiness=self._not_ready,
            trail=audit,
            refused=self._backlog.add_refused,
            trusted_proxies=settings.trusted_proxies,
            once=RedisOnceStore(self._store),
            holding=Holding(RedisTokenStore(self._store), settings.token_prefix),
            limits=RedisLimitStore(self._store),
            clients=settings.admin.introspection,
            usage=RedisUsageReader(self._store),
            hosts=settings.admin.hosts,
            own_prefix=settings.own_prefix,
            overview=overview,
        )
        Pages(issuance, callers, lambda: self._policy, settings.public_url or f"http://{_reachable(settings.listen)}").add_to(app)
        SignInPages(sign_in, callers, provider).add_to(app)
        self._server = ManagementServer(app)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, listener: socket.socket) -> None:
        """Take calls from a listening socket."""
        await self._server.start(sock=listener)
        own = (self._tell_of_store(), self._backlog.run(), self._notices.run())
        self._tasks = [asyncio.get_running_loop().create_task(work) for work in (*own, *(read() for read in self._reading))]

    def use(self, policy: Policy) -> None:
        """New tokens follow this policy from now on."""
        self._backlog.add(AuditEntry("policy.reload", ON_ITS_OWN, details={"old": self._policy.hash, "new": policy.hash}))
        self._policy = policy

    def count(self) -> Counters:
        """The counts now."""
        return self.counters

    async def end(self, within_s: float | None = None) -> None:
        """Finish the calls in flight within so many seconds, and close."""
        await self._server.close(_END_S if within_s is None else within_s)
        for task in self._tasks:
            task.cancel()
        await self._backlog.finish(_LAST_NOTES_S)
        await self._store.close()

    async def _not_ready(self) -> Sequence[str]:
        overview = await self._overview()
        if overview.draining:
            return ["the gateway is shutting down"]
        reasons = [f"worker {worker.number} is not up" for worker in overview.workers if not worker.up]
        try:
            await self._store.ping()
        except StoreUnavailable:
            reasons.append("the token store cannot be used: the log says why")
        return reasons

    async def _tell_of_store(self) -> None:
        """One line when the store can't be used any more, and one when it can again: a node says it once, not each of its workers."""
        failed = 0
        while True:
            await asyncio.sleep(_STORE_WATCH_S)
            try:
                await self._store.ping(changes=True)
            except StoreUnavailable as why:
                failed += 1
                if failed == _FAILED:
                    LOG.error("%s; until then requests that need it are answered 503", why)  # noqa: TRY400 - one plain line
            else:
                if failed >= _FAILED:
                    LOG.info("the store can be used again")
                failed = 0


def _reachable(listen: Address) -> Address:
    """An address that a client on this machine can call, where the gateway listens on every one."""
    return Address(listen.host if listen.host not in {"", "0.0.0.0", "::"} else "localhost", listen.port)  # noqa: S104 - compared, not bound
