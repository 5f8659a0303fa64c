"""The data plane: what all connections share, the listener, the sweep, the drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import socket
from collections.abc import Callable, Coroutine, Sequence
from itertools import count
from typing import Any, Final

from gateway.core.client_address import Address, client_address, is_trusted
from gateway.core.decision import Allow, Denial
from gateway.core.forwarding import CLAIM, RequestNames, fold, safe_request_id
from gateway.core.route import METHODS
from gateway.core.turn import Turn
from gateway.flow.engine import Engine
from gateway.flow.own_answers import OwnAnswers
from gateway.inbound.account import Account
from gateway.inbound.connection import ClientConnection
from gateway.inbound.ending import Ending
from gateway.inbound.live import LiveStreams
from gateway.inbound.proxy import Exchange
from gateway.inbound.request import GatewayRequest
from gateway.inbound.upward import IdentityBlocks, UpstreamRoute, forwarded_block
from gateway.ports import TokenStore
from gateway.settings import Settings
from gateway.upstream.pool import UpstreamPool

LOG: Final = logging.getLogger("scopegate")
SWEEP_S: Final = 0.5
HANDSHAKE_S: Final = 0.1  # in a drain, for connections that are being made
QUIET_S: Final = 0.5  # in a drain, for requests that are on their way on kept connections
BACKLOG: Final = 1024
ACCEPTED_AT_ONCE: Final = 64


class DataPlane:
    """Serves requests on one or more listening sockets. ``now`` is loop time as of the last sweep: deadlines are that coarse."""

    seven_methods = METHODS

    def __init__(
        self, settings: Settings, engine: Engine, tokens: TokenStore, account: Account, loop: asyncio.AbstractEventLoop, own: OwnAnswers | None = None
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.own = own
        self.loop = loop
        self.clock = loop.time
        self.now = loop.time()
        self.trusted = settings.trusted_proxies
        self.body_limit = settings.limits.body
        self.keepalive_s = settings.limits.keepalive_s
        self.request_line_limit = settings.limits.request_line
        self.draining = False
        self.connections: set[ClientConnection] = set()
        self.live = LiveStreams(engine, tokens, loop)
        self.identities = IdentityBlocks()
        self.names = RequestNames(upstream.credentials.header for upstream in settings.upstreams.values() if upstream.credentials)
        self.token_mark = settings.token_prefix.encode("ascii") + b"_"
        self.token_form = re.compile(self.token_mark + rb"[0-9A-Za-z]{12}_[0-9A-Za-z]{38}")
        self._account = account
        self.arrived: Turn[ClientConnection] = Turn(loop.call_soon, self._take_requests)
        self.finished: Turn[Ending] = Turn(loop.call_soon, self._account_all)
        self.counters = account.counters
        self.upstreams = {name: UpstreamRoute(upstream, UpstreamPool(upstream), settings.public_url) for name, upstream in settings.upstreams.items()}
        self._pools = [upstream.pool for upstream in self.upstreams.values()]
        if settings.default_upstream:
            self.upstreams[""] = self.upstreams[settings.default_upstream]  # of a route that names none; start-up has checked the others
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: list[tuple[asyncio.Server, socket.socket]] = []
        self._accepting = False  # the queues are looked at again in the loop's next turn
        self._ids = count(1)
        self._id_prefix = secrets.token_hex(8)

    # -- what connections and exchanges ask

    def spawn(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        """Run a part of an exchange that has to wait."""
        task = self.loop.create_task(self._guarded(exchange, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001
            self._broken(exchange, error)

    def guard(self, exchange: Exchange, then: Callable[[Allow | Denial], None], verdict: Allow | Denial) -> None:
        """Go on with an exchange from a read of the store: its fault is not the link's."""
        try:
            then(verdict)
        except Exception as error:  # noqa: BLE001
            self._broken(exchange, error)

    def _broken(self, exchange: Ending, error: Exception) -> None:
        """A fault of ours must not leave a client waiting; its text may quote a request, so only its type is told."""
        LOG.critical("request %s was broken off by %s: report this", exchange.request_id, type(error).__name__)
        exchange.broken()

    def request_id(self, told: bytes) -> str:
        """The client's X-Request-Id if it is safe to repeat, else one of ours."""
        if told and safe_request_id(told):
            return told.decode("ascii")
        return f"{self._id_prefix}{next(self._ids):08x}"

    def client_address(self, peer: Address, request: GatewayRequest) -> Address:
        """Whose request it is: told by trusted proxies, else the peer."""
        chain = [value for kind, name, value in request.conditional if kind == CLAIM and fold(name) == b"x-forwarded-for"]
        return client_address(peer, chain, self.trusted)

    def forwarded(self, client: ClientConnection, request: GatewayRequest) -> tuple[bytes, bool]:
        """The X-Forwarded and Via lines for a request, and whether its peer's own claims pass."""
        if self.trusted and is_trusted(client.peer, self.trusted):
            return forwarded_block(client.peer, request.host, request, self.trusted), True
        if client.forwarded_for_host != request.host or not client.forwarded:
            client.forwarded_for_host = request.host
            client.forwarded = forwarded_block(client.peer, request.host, request, ())
        return client.forwarded, False

    def account(self, exchange: Ending) -> None:
        """An exchange has ended."""
        self.finished.add(exchange)

    def _account_all(self, finished: Sequence[Ending]) -> None:
        now = self.loop.time()
        for exchange in finished:
            try:
                self._account(exchange, now)
            except Exception as error:  # noqa: BLE001
                self._broken(exchange, error)

    # -- the steps of a turn (core.turn)

    def _take_requests(self, clients: Sequence[ClientConnection]) -> None:
        """What clients have sent in one turn of the loop. From decision to first byte upstream nothing else happens (G3)."""
        begun: list[Exchange] = []
        for client in clients:
            try:
                exchange = client.begin()
            except Exception as error:  # noqa: BLE001
                self._fault(client, error)
            else:
                if exchange is not None and exchange.is_new:
                    begun.append(exchange)
        for step in (Exchange.decide, Exchange.proceed):
            for exchange in begun:
                try:
                    step(exchange)
                except Exception as error:  # noqa: BLE001
                    self._broken(exchange, error)
        for client in clients:
            try:
                client.go_on()
            except Exception as error:  # noqa: BLE001
                self._fault(client, error)

    def _fault(self, client: ClientConnection, error: Exception) -> None:
        """A fault of ours costs its connection, not the others of its turn."""
        LOG.critical("a connection was broken off by %s: report this", type(error).__name__)
        client.abort()

    # -- life

    async def listen(self, sock: socket.socket) -> None:
        """Serve a bound socket."""
        server = await self.loop.create_server(lambda: ClientConnection(self), sock=sock, backlog=BACKLOG)
        self._listeners.append((server, sock))

    def joined(self, client: ClientConnection) -> None:
        """A client has connected. The loop accepts one a turn, and a busy turn is long: those that came with it are accepted in the next."""
        self.connections.add(client)
        self.counters.connections += 1
        self.counters.connections_open += 1
        if not self._accepting:
            self._accepting = True
            self.loop.call_soon(self._accept_waiting)

    def _accept_waiting(self) -> None:
        self._accepting = False
        for _, sock in self._listeners:
            with contextlib.suppress(OSError):  # nobody waits, or no descriptor is left for them
                for _ in range(ACCEPTED_AT_ONCE):
                    waiting, _peer = sock.accept()
                    waiting.setblocking(False)
                    task = self.loop.create_task(self._admit(waiting))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)

    async def _admit(self, waiting: socket.socket) -> None:
        try:
            await self.loop.connect_accepted_socket(lambda: ClientConnection(self), waiting)
        except OSError:
            waiting.close()  # it has gone already
        except asyncio.CancelledError:
            waiting.close()
            raise

    async def run(self) -> None:
        """The sweep, until cancelled: deadlines and idle upstream connections."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep()

    def sweep(self) -> None:
        """One round over all connections."""
        now = self.now = self.loop.time()
        for connection in list(self.connections):
            connection.check(now)
        for pool in self._pools:
            pool.sweep(now)

    async def watch_streams(self) -> None:
        """End the open streams of ended tokens, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            await self.live.round()

    async def drain(self, within_s: float | None = None) -> None:
        """Stop listening, let what is in flight finish, close idle connections last: all within so many seconds, else ``drain_timeout`` (G10).

        What waits in the queue is accepted first. A connection that is idle may be one whose request is on its way: it gets a moment.
        """
        self.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.drain_timeout_s if within_s is None else within_s):
                await asyncio.sleep(HANDSHAKE_S)
                await self._close_listeners()
                quiet_at = self.loop.time() + QUIET_S
                while any(not connection.idle for connection in self.connections) or (self.connections and self.loop.time() < quiet_at):  # noqa: ASYNC110 - as seldom as a drain
                    await asyncio.sleep(0.02)
        await self._close_listeners()
        for connection in list(self.connections):
            if connection.idle:
                connection.close()
            else:
                connection.abort()
        for pool in self._pools:
            pool.close()
        while self.connections or self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.sleep(0.01)
        self.finished.run()

    async def _close_listeners(self) -> None:
        """Accept what waits, then close: a connection in the queue of a socket that closes is reset."""
        listeners, self._listeners = self._listeners, []
        for server, sock in listeners:
            with contextlib.suppress(OSError):  # nobody waits, or no descriptor is left for them
                for _ in range(BACKLOG):
                    waiting, _peer = sock.accept()
                    waiting.setblocking(False)
                    await self._admit(waiting)
            server.close()
