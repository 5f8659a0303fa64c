"""What each stage of a request costs, alone and warm, in nanoseconds of processor time a call: where a slow-down is, is where a figure has grown.

The first line is a whole exchange of a token at hand, through both connections, apart from the kernel; the second the same as one of 32 in a turn of the
loop. The third is its stages one after the other, without what leads from one to the next; then each alone, in the order of a request. Alone, a stage
costs a half or a third of what it costs among others: its code stays in the processor's nearest cache, which does not hold that of all. Each figure is the
best of many short rounds: on a machine that does other things too, the best is the steadiest. The parts are those of a worker, put together as a worker does;
only nothing listens.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from time import perf_counter_ns, process_time_ns, thread_time_ns
from typing import Final, NamedTuple

import msgspec
import uvloop

from bench.ground import ROOT, configured
from bench.interpreter import become, build
from bench.pair import ANSWER, TARGET, Listener, Pair, client_of, exchange_of, parser_of, reader_of, request_bytes, request_of, upstream_of
from bench.plan import SMALL
from bench.processes import CannotMeasure, free_port
from gateway.app.data_plane import DataPlaneApp
from gateway.core.authorize import find_route, plainly_allowed
from gateway.core.credential import read_bearer
from gateway.core.decision import Allow, Denial
from gateway.core.path import CanonicalPath, canonicalise
from gateway.core.policy import Policy
from gateway.core.route import RateLimit, Route
from gateway.core.token_record import LiveRecord
from gateway.core.token_text import digest, parse
from gateway.flow.engine import Credential, Opening
from gateway.flow.issuance import ON_THE_COMMAND_LINE, Issuance
from gateway.flow.reload import load_fitting_policy
from gateway.inbound.downward import AnswerFraming
from gateway.inbound.upward import request_head
from gateway.observe.access_log import AccessLine
from gateway.settings import Settings
from gateway.settings.load import load_settings
from gateway.store.connection import StoreOptions, store_options
from gateway.store.embedded import EmbeddedStore
from gateway.store.limit_store import RedisLimitStore
from gateway.store.server import Store
from gateway.store.token_register import RedisTokenRegister
from gateway.upstream.pool import UpstreamPool

ROUNDS: Final = 200
CALLS: Final = 100  # few, so that some rounds meet nothing else on the machine
ASKED_ROUNDS: Final = 12
QUESTIONS: Final = 200
TOGETHER: Final = 32
WHOLE: Final = "a whole exchange, cached"
CROWD: Final = f"a whole exchange, one of {TOGETHER} in a turn"
ALL: Final = "its stages, one after the other"
_LEASE: Final = "60s"  # no stage gives way to the heartbeat, so one lease lasts for all of a stage's rounds


class Stage(NamedTuple):
    """A stage that needs no waiting. ``apart``: another stage contains it, or it is not on a plain request's way. ``many``: what one call does so
    often."""

    name: str
    call: Callable[[], object]
    apart: bool = False
    many: int = 1


class Question(NamedTuple):
    """A stage that asks the store: ``ask`` does it ``at_once`` times."""

    name: str
    ask: Callable[[], Awaitable[object]]
    at_once: int = 1


class Asked(NamedTuple):
    """Nanoseconds a question: until its answer, and of our own processor time."""

    elapsed: float
    cpu: float


class Worker:
    """A worker's parts and a token that it has at hand; ``asking`` is another one, without a cache."""

    def __init__(self, app: DataPlaneApp, asking: DataPlaneApp, text: str) -> None:
        self.app = app
        self.plane = app._plane
        self.tokens = app._tokens
        self.asking = asking
        self.text = text
        self.token_id = parse(text, self.plane.settings.token_prefix) or ""
        self.pair = Pair(self.plane, self._pool(app), text, prompt=False)
        self.address = ip_address("127.0.0.1")

    @staticmethod
    def _pool(app: DataPlaneApp) -> UpstreamPool:
        return app._plane.upstreams[""].pool

    def settle(self) -> None:
        """Throw away what stages have noted for the access log, which nobody writes here."""
        self.app._log._lines.clear()

    def record(self) -> tuple[LiveRecord, int]:
        """The token's record at hand, and the store's time. CannotMeasure where it is not at hand."""
        record, now_ms = self.tokens.at_hand(self.token_id)
        if not isinstance(record, LiveRecord):
            raise CannotMeasure("the token is not at hand: the machine was too busy for the heartbeat, try again")
        return record, now_ms

    def stages(self) -> list[Stage]:
        """All stages of a request with this token, in their order. CannotMeasure where the sample is refused."""
        plane, engine, tokens, text, address = self.plane, self.plane.engine, self.tokens, self.text, self.address
        head, parser, reader = request_bytes(text), parser_of(plane), reader_of(plane)
        parsed = parser.head(head)
        request = request_of(plane, parsed)
        known = Credential()
        opening, path = engine.open("GET", TARGET, request.authorizations, known), canonicalise(TARGET)
        record, now_ms = self.record()
        if not isinstance(opening, Opening) or isinstance(path, Denial) or not isinstance(opening.match, Route):
            raise CannotMeasure("the sample request is refused")
        verdict = engine.decide_at_hand(opening, "GET", address)
        if not isinstance(verdict, Allow):
            raise CannotMeasure("the sample token is refused")
        route, client, upstream = opening.match, client_of(plane), plane.upstreams[opening.match.upstream]
        forwarded, trusted = plane.forwarded(client, request)
        listener, connection = Listener(), upstream_of(upstream.pool)
        text_bytes, body, id_line = text.encode("ascii"), bytes(SMALL), b"X-Request-Id: 1"

        def answer() -> None:
            connection.begin(listener, "GET")
            connection.request_sent = True
            connection.data_received(ANSWER)
            upstream.pool.answers.run()
            upstream.pool.take()  # it has gone back by itself

        def framing() -> None:
            made = AnswerFraming(listener.head, request, upstream, id_line)
            made.piece(body)
            made.ending([])

        def account() -> None:
            plane.account(exchange)
            plane.finished.run()

        answer()
        exchange = exchange_of(client, request)
        exchange.opening, exchange.verdict, exchange.upstream = opening, verdict, upstream
        exchange.status, exchange.bytes_out = 200, SMALL
        line = self._line(exchange.request_id, path, route, record, upstream.settings.name)
        encoder = msgspec.json.Encoder()
        found = [
            Stage("parser, a request's head", lambda: parser.head(head), apart=True),
            Stage("GatewayRequest, its fields", lambda: request_of(plane, parsed), apart=True),
            Stage("RequestReader, fields that came before", lambda: reader.read(head)),
            Stage("Exchange, made", lambda: exchange_of(client, request)),
            Stage("canonicalise", lambda: canonicalise(TARGET), apart=True),
            Stage("find_route", lambda: find_route(engine.policy, path, "GET"), apart=True),
            Stage("the digest of a known token", lambda: tokens.is_secret_of(self.token_id, sha256(text_bytes).digest()), apart=True),
            Stage("Engine.open, on a connection that has sent it before", lambda: engine.open("GET", TARGET, request.authorizations, known)),
            Stage("Engine.open, the three before", lambda: engine.open("GET", TARGET, request.authorizations, Credential()), apart=True),
            Stage("the record at hand", lambda: tokens.at_hand(self.token_id), apart=True),
            Stage("plainly_allowed", lambda: plainly_allowed(route, record, opening.digest, now_ms, "GET"), apart=True),
            Stage("Engine.decide_at_hand, the two before", lambda: engine.decide_at_hand(opening, "GET", address)),
            Stage("X-Forwarded and identity lines", lambda: (plane.forwarded(client, request), plane.identities.of(record))),
            Stage(
                "request_head, written",
                lambda: connection.write(request_head(request, upstream, path, forwarded, id_line, plane.identities.of(record), peer_trusted=trusted)),
            ),
            Stage("answer, parsed", answer),
            Stage("AnswerFraming, with its body", framing),
            Stage("account", account),
            Stage("access line, encoded", lambda: encoder.encode_lines([line]), apart=True),
            Stage("a new token: its field, form and digest", lambda: (read_bearer(request.authorizations), parse(text, "sgt"), digest(text)), apart=True),
        ]
        calls = [stage.call for stage in found if not stage.apart]
        pairs = [Pair(plane, self.pair.pool, text, prompt=False) for _ in range(TOGETHER)]
        crowd = Stage(CROWD, lambda: Pair.together(pairs), apart=True, many=TOGETHER)
        return [Stage(WHOLE, self.pair.at_once), crowd, Stage(ALL, lambda: [call() for call in calls]), *found]

    def _line(self, request_id: str, path: CanonicalPath, route: Route, record: LiveRecord, upstream: str) -> AccessLine:
        line = AccessLine(round(time.time(), 3), request_id, str(self.address), "GET", 200, 1.25)
        line.path, line.route, line.scope, line.upstream = path.path, route.template, "worklogs", upstream
        line.token_id, line.owner, line.bytes_out = record.id, record.owner, SMALL
        return line

    def questions(self) -> list[Question]:
        """What is asked of the store, each alone and as many requests at once ask it."""
        limits, limit, loop = RedisLimitStore(self.asking._store), RateLimit(requests=10**6, period_ms=1000), self.plane.loop
        engine, tokens = self.asking._engine, self.asking._tokens
        pairs = [Pair(self.asking._plane, self._pool(self.asking), self.text, prompt=True) for _ in range(TOGETHER)]
        opening = engine.open("GET", TARGET, [f"Bearer {self.text}".encode("ascii")], Credential())
        if not isinstance(opening, Opening):
            raise CannotMeasure("the sample request is refused")

        def decision() -> asyncio.Future[object]:
            decided: asyncio.Future[object] = loop.create_future()
            engine.decide_then(opening, "GET", self.address, decided.set_result)
            return decided

        alone: dict[str, Callable[[], Awaitable[object]]] = {
            "a token's record": lambda: tokens.fetch(self.token_id),
            "a decision": decision,
            "a rate limit": lambda: limits.take("bench", limit),
        }
        asked = [
            Question("a whole exchange", pairs[0].ask),
            Question(f"a whole exchange, {TOGETHER} at once", lambda: asyncio.gather(*(each.ask() for each in pairs)), TOGETHER),
        ]
        for name, ask in alone.items():
            asked += [Question(name, ask), Question(f"{name}, {TOGETHER} at once", _together(ask), TOGETHER)]
        return asked


def _together(ask: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
    return lambda: asyncio.gather(*(ask() for _ in range(TOGETHER)))


@asynccontextmanager
async def worker(settings: Settings, options: StoreOptions) -> AsyncIterator[Worker]:
    """A worker's parts with a token at hand."""
    policy = load_fitting_policy(settings)
    text = await _issue(settings, options, policy)
    app, asking = DataPlaneApp(settings, policy, options, "bench/0"), DataPlaneApp(replace(settings, cache_records=0), policy, options, "bench/1")
    heartbeat = asyncio.create_task(app._tokens.run())
    try:
        made = Worker(app, asking, text)
        async with asyncio.timeout(10):
            while not isinstance(app._tokens.at_hand(made.token_id)[0], LiveRecord):
                await app._tokens.fetch(made.token_id)
                await asyncio.sleep(0.01)
        yield made
    finally:
        heartbeat.cancel()
        for each in (app, asking):
            each._log._lines.clear()
            await each.end(0.1)


async def _issue(settings: Settings, options: StoreOptions, policy: Policy) -> str:
    store = Store(options)
    await store.start()
    try:
        issued = await Issuance(RedisTokenRegister(store), settings.token_prefix, by=ON_THE_COMMAND_LINE).create(
            name="bench", grants=["worklogs"], policy=policy
        )
    finally:
        await store.close()
    return issued.secret


def nanoseconds(stage: Stage, settle: Callable[[], None], rounds: int = ROUNDS, calls: int = CALLS) -> float:
    """What one call costs, at best."""
    best, call, turns = float("inf"), stage.call, max(1, calls // stage.many)
    for _ in range(rounds):
        begun = thread_time_ns()
        for _ in range(turns):
            call()
        best = min(best, (thread_time_ns() - begun) / turns / stage.many)
        settle()
    return best


async def asked(question: Question, rounds: int = ASKED_ROUNDS, count: int = QUESTIONS) -> Asked:
    """What one question costs, at best."""
    turns = max(1, count // question.at_once)
    elapsed = cpu = float("inf")
    for _ in range(rounds):
        begun, spent = perf_counter_ns(), process_time_ns()
        for _ in range(turns):
            await question.ask()
        elapsed = min(elapsed, (perf_counter_ns() - begun) / turns / question.at_once)
        cpu = min(cpu, (process_time_ns() - spent) / turns / question.at_once)
    return Asked(elapsed, cpu)


async def measured(settings: Settings, options: StoreOptions, rounds: int = ROUNDS, calls: int = CALLS) -> tuple[dict[str, float], dict[str, Asked]]:
    """Every stage, and every question to the store. CannotMeasure where an exchange was not what it is called."""
    async with worker(settings, options) as parts:
        alone = {}
        for stage in parts.stages():
            alone[stage.name] = nanoseconds(stage, parts.settle, rounds, calls)
            parts.record()
            await asyncio.sleep(0)
        counters = parts.plane.counters
        if parts.pair.answered != rounds * calls or counters.lookups or any(code for *_, code in counters.requests):
            raise CannotMeasure("not every whole exchange was answered from the cache")
        questions = {each.name: await asked(each, min(rounds, ASKED_ROUNDS), QUESTIONS if calls >= CALLS else calls) for each in parts.questions()}
        if not parts.asking.counters.lookups or any(code for *_, code in parts.asking.counters.requests):
            raise CannotMeasure("not every exchange that asks the store was answered")
    return alone, questions


def prepared(stack: ExitStack) -> tuple[Settings, StoreOptions]:
    """Settings as the bench's rows have them, and a store of their own, which is gone with ``stack``."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scopegate-stages-")))
    config = configured("gateway.yaml", folder, PORT=free_port(), ADMIN=free_port(), UPSTREAM=free_port(), POLICY=ROOT / "policies/tempo.yaml")
    settings = load_settings(config, {"SCOPEGATE_STORE__LEASE": _LEASE})
    embedded = stack.enter_context(EmbeddedStore(settings.store.data_dir))
    return settings, store_options(settings.store, embedded.url)


def run(rounds: int = ROUNDS, calls: int = CALLS) -> tuple[dict[str, float], dict[str, Asked]]:
    """All figures. CannotMeasure."""
    with ExitStack() as stack:
        settings, options = prepared(stack)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(measured(settings, options, rounds, calls))


def main() -> int:
    try:
        become("bench.stages")
        alone, store = run()
    except CannotMeasure as fault:
        print(f"bench: {fault}", file=sys.stderr)
        return 2
    print(f"ns a call, {build(sys.executable)}")
    for name, figure in alone.items():
        print(f"{name:<42}{figure:>9,.0f}")
    print(f"\n{'asking the store':<42}{'until answered':>15}{'our own CPU':>13}")
    for name, each in store.items():
        print(f"{name:<42}{each.elapsed:>15,.0f}{each.cpu:>13,.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
