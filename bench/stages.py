"""What each stage of a request costs, alone and warm, in nanoseconds a call: where a slow-down is, is where a figure has grown.

Each figure is the best of several rounds: on a machine that does other things too, the best is the steadiest. Alone and warm, a stage costs about
half of what it costs between others on a real socket, and the calls, attributes and system calls between the stages are in none of them. The parts
are put together as ``serve`` does it, so what is measured is what runs; only nothing listens.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from time import perf_counter_ns, process_time_ns
from typing import Final, NamedTuple

import msgspec
import uvloop

from bench.machine import python_build
from bench.plan import SMALL
from bench.processes import free_port
from bench.rows import ROOT, configured, worklogs
from gateway.app import Gateway
from gateway.core.authorize import check_grant, check_token, find_route
from gateway.core.credential import read_bearer
from gateway.core.decision import Allow
from gateway.core.path import CanonicalPath, canonicalise
from gateway.core.route import RateLimit, Route
from gateway.core.token_text import digest, find_in, parse
from gateway.flow.engine import Opening
from gateway.flow.reload import load_fitting_policy
from gateway.inbound.connection import ClientConnection
from gateway.inbound.downward import AnswerFraming
from gateway.inbound.parser import RequestParser
from gateway.inbound.proxy import Exchange
from gateway.inbound.request import GatewayRequest
from gateway.inbound.upward import request_head
from gateway.observe.access_log import AccessLine
from gateway.ports import LimitStore, Lookup, TokenStore
from gateway.settings import Settings, ensure_admin_key, load_settings
from gateway.store.connection import StoreOptions
from gateway.store.embedded import EmbeddedStore
from gateway.store.limit_store import RedisLimitStore
from gateway.store.server import Store
from gateway.store.token_store import RedisTokenStore
from gateway.upstream.exchange import AnswerHead, UpstreamConnection
from gateway.upstream.failures import UpstreamFailure

ROUNDS: Final = 12
CALLS: Final = 2_000  # a round; all rounds together stay below what the access log lets wait
QUESTIONS: Final = 400
TOGETHER: Final = 32
TARGET: Final = "/4/worklogs?from=2026-11-01"
FIELDS: Final = "Host: api.example.com\r\nAccept: application/json\r\nUser-Agent: tempo-client/1.0\r\n"
ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Wed, 25 Nov 2026 05:00:00 GMT\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    b"Connection: keep-alive\r\n\r\n" % SMALL
) + worklogs(SMALL).encode("ascii")


class Stage(NamedTuple):
    """A stage that needs no waiting."""

    name: str
    call: Callable[[], object]


class Question(NamedTuple):
    """A stage that asks the store: ``ask`` does it ``at_once`` times."""

    name: str
    ask: Callable[[], Awaitable[object]]
    at_once: int = 1


class Asked(NamedTuple):
    """Nanoseconds a question: until its answer, and of our own processor time."""

    elapsed: float
    cpu: float


class Listener:
    """Takes an answer as an exchange does, and keeps its head."""

    head: AnswerHead

    def on_interim(self, status: int, fields: list[tuple[bytes, bytes]]) -> None: ...
    def on_answer(self, head: AnswerHead) -> None:
        self.head = head

    def on_body(self, data: bytes) -> None: ...
    def on_answer_end(self, trailers: list[tuple[bytes, bytes]]) -> None: ...
    def on_switch(self, fields: list[tuple[bytes, bytes]], early: bytes) -> None: ...
    def on_failure(self, failure: UpstreamFailure) -> None:
        raise ValueError(f"the sample answer is not taken: {failure.code}")

    def on_upstream_full(self) -> None: ...
    def on_upstream_drained(self) -> None: ...
    def flush(self) -> None: ...


def stages(gateway: Gateway, text: str, lookup: Lookup) -> list[Stage]:
    """All stages of a request with this token, in their order. ``lookup`` is the store's answer to it."""
    plane, policy = gateway.plane, gateway.plane.engine.policy
    head = f"GET {TARGET} HTTP/1.1\r\n{FIELDS}Authorization: Bearer {text}\r\n\r\n".encode("ascii")
    parser = RequestParser(plane.settings.limits)
    parsed = parser.head(head)
    request = GatewayRequest(parsed, plane.names, http10=False)
    opening = plane.engine.open(request.method, request.target, request.authorizations)
    path = canonicalise(TARGET)
    if not isinstance(opening, Opening) or not isinstance(path, CanonicalPath) or not isinstance(opening.match, Route):
        raise TypeError("the sample request is refused")
    route, address, record, now_ms = opening.match, ip_address("127.0.0.1"), lookup.record, lookup.now_ms
    verdict = plane.engine.judge(opening, record, now_ms, "GET", address)
    if not isinstance(verdict, Allow) or record is None:
        raise TypeError("the sample token is refused")
    client = ClientConnection(plane)
    upstream = plane.upstream_of(route)
    forwarded, trusted = plane.forwarded(client, request)
    listener, connection = Listener(), UpstreamConnection(upstream.pool)

    def answer() -> None:
        connection.begin(listener, "GET")
        connection.data_received(ANSWER)

    answer()
    exchange = Exchange(client, request)
    exchange.opening, exchange.verdict, exchange.upstream = opening, verdict, upstream
    exchange.status, exchange.bytes_out = 200, SMALL
    line = AccessLine(round(time.time(), 3), exchange.request_id, str(address), "GET", 200, 1.25)
    line.path, line.route, line.scope, line.upstream = path.path, route.template, "worklogs", upstream.settings.name
    line.token_id, line.owner, line.bytes_out = record.id, record.owner, SMALL
    encoder = msgspec.json.Encoder()
    return [
        Stage("parser, a request's head", lambda: parser.head(head)),
        Stage("GatewayRequest, its fields", lambda: GatewayRequest(parsed, plane.names, http10=False)),
        Stage("canonicalise", lambda: canonicalise(TARGET)),
        Stage("find_route", lambda: find_route(policy, path, "GET")),
        Stage("find_in, a token in the target", lambda: find_in(TARGET, "sgt")),
        Stage("read_bearer", lambda: read_bearer(request.authorizations)),
        Stage("parse, the token's form", lambda: parse(text, "sgt")),
        Stage("digest", lambda: digest(text)),
        Stage("Engine.open, the six before", lambda: plane.engine.open("GET", TARGET, request.authorizations)),
        Stage("check_token", lambda: check_token(record, opening.digest, now_ms, address)),
        Stage("check_grant", lambda: check_grant(route, record.grants, record.created_at, "GET")),
        Stage("Engine.judge, the two before", lambda: plane.engine.judge(opening, record, now_ms, "GET", address)),
        Stage("Exchange, made", lambda: Exchange(client, request)),
        Stage("request_head, joined", lambda: b"".join(request_head(request, upstream, record, path, "id", forwarded, peer_trusted=trusted))),
        Stage("answer, parsed", answer),
        Stage("AnswerFraming", lambda: AnswerFraming(listener.head, request, upstream, "id")),
        Stage("account", lambda: plane.account(exchange)),
        Stage("access line, encoded", lambda: encoder.encode_lines([line])),
    ]


def questions(tokens: TokenStore, limits: LimitStore, token_id: str) -> list[Question]:
    """What is asked of the store, each alone and as many requests at once ask it."""
    limit = RateLimit(requests=10**6, period_ms=1000)
    return [
        Question("token look-up", lambda: tokens.fetch(token_id)),
        Question(f"token look-up, {TOGETHER} at once", lambda: asyncio.gather(*(tokens.fetch(token_id) for _ in range(TOGETHER))), TOGETHER),
        Question("rate limit", lambda: limits.take("bench", limit)),
        Question(f"rate limit, {TOGETHER} at once", lambda: asyncio.gather(*(limits.take("bench", limit) for _ in range(TOGETHER))), TOGETHER),
    ]


def nanoseconds(stage: Stage, rounds: int = ROUNDS, calls: int = CALLS) -> float:
    """What one call costs, at best."""
    best, call = float("inf"), stage.call
    for _ in range(rounds):
        begun = perf_counter_ns()
        for _ in range(calls):
            call()
        best = min(best, (perf_counter_ns() - begun) / calls)
    return best


async def asked(question: Question, rounds: int = 5, count: int = QUESTIONS) -> Asked:
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


async def measured(settings: Settings, embedded: EmbeddedStore, rounds: int = ROUNDS, calls: int = CALLS) -> tuple[dict[str, float], dict[str, Asked]]:
    """Every stage, and every question to the store."""
    store = Store(StoreOptions(embedded.url, settings.store.data_dir, embedded=True))
    await store.start()
    try:
        policy = load_fitting_policy(settings)
        gateway = Gateway(settings, policy, store, ensure_admin_key(settings), None)
        issued = await gateway.issuance.create(name="bench", owner="operator", grants=["worklogs"], policy=policy)
        tokens = RedisTokenStore(store)
        alone = {stage.name: nanoseconds(stage, rounds, calls) for stage in stages(gateway, issued.secret, await tokens.fetch(issued.token.id))}
        return alone, {
            each.name: await asked(each, min(rounds, 5), min(calls, QUESTIONS)) for each in questions(tokens, RedisLimitStore(store), issued.token.id)
        }
    finally:
        await store.close()


def run(rounds: int = ROUNDS, calls: int = CALLS) -> tuple[dict[str, float], dict[str, Asked]]:
    """All figures, on a store of their own that is gone afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scopegate-stages-")))
        config = configured("gateway.yaml", folder, PORT=free_port(), ADMIN=free_port(), UPSTREAM=free_port(), POLICY=ROOT / "policies/tempo.yaml")
        settings = load_settings(config, {})
        embedded = EmbeddedStore(settings.store.data_dir)
        stack.callback(embedded.stop)
        embedded.start()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(measured(settings, embedded, rounds, calls))


def main() -> None:
    alone, store = run()
    print(f"ns a call, {python_build()}")
    for name, figure in alone.items():
        print(f"{name:<36}{figure:>9,.0f}")
    print(f"\n{'asking the store':<36}{'until answered':>15}{'our own CPU':>13}")
    for name, each in store.items():
        print(f"{name:<36}{each.elapsed:>15,.0f}{each.cpu:>13,.0f}")


if __name__ == "__main__":
    main()
