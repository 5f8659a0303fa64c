"""G3 and G4 on real processes: three nodes of two workers each on one Valkey. What a change has ended is accepted nowhere once it is answered.

Nothing here says how fast it is; ``make revocation`` does, on many more changes. What a cut link does is in test_revocation_by_cut_links.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, Self

import pytest

from gateway.store.embedded import EmbeddedStore
from tests.harness.clients import Asked, Clients, from_memory
from tests.harness.gateway import GatewayProcess, Made
from tests.harness.nodes import LEASE_S, Nodes, Worker, stopped
from tests.harness.problems import check_refusal
from tests.harness.upstream import CLOSE, PLAIN, Peer, ScriptedUpstream, Seen
from tests.harness.waiting import eventually
from tests.harness.websocket import ASKS, SWITCH, echo
from tests.harness.wire import Wire, request

ROUNDS = int(os.environ.get("REVOKES", "20"))
BY_COMMAND = 10  # of so many changes one is made on the command line
IN_USE = 4  # connections to the upstream that a worker may have
ENDS_WITHIN_S = 2.0  # the guarantee's second, and one for a busy machine


@pytest.fixture(scope="module")
def three(shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with EmbeddedStore(tmp_path_factory.mktemp("nodes")) as server, Nodes(server, shared_upstream.url, upstream={"max_connections": IN_USE}) as nodes:
        yield nodes
        for node in nodes.nodes:
            assert "Traceback" not in node.log()
            assert "report this" not in node.log()


@pytest.fixture
def nodes(three: Nodes, upstream: ScriptedUpstream) -> Nodes:
    """All workers are up and registered."""
    three.await_all()
    return three


class Gate:
    """An upstream's answer that waits: ``come`` counts those that wait, ``opened`` lets all through."""

    def __init__(self) -> None:
        self.come = threading.Semaphore(0)
        self.opened = threading.Event()

    def __call__(self, *_: object) -> None:
        self.come.release()
        assert self.opened.wait(30)


@pytest.fixture
def gate(upstream: ScriptedUpstream) -> Iterator[Gate]:
    """The answer to paths that end in ``/gate``; those that end in ``/lost`` are not answered."""
    gate = Gate()
    upstream.script("gate", gate, PLAIN)
    upstream.script("lost", gate, CLOSE)
    yield gate
    gate.opened.set()


# -- ways to end a token


class Ended(NamedTuple):
    """A change: what it was, the refusal of the old secret from then on, the new one where there is one, and how it was answered."""

    kind: str
    code: str
    secret: str
    nodes: int
    nodes_confirmed: int
    asked: float
    answered: float

    def __repr__(self) -> str:
        return f"Ended({self.kind}, {self.nodes_confirmed} of {self.nodes} nodes)"


CALLS = {
    "revoke": ("DELETE", "", "token_revoked"),
    "regenerate": ("POST", "/regenerate", "token_regenerated"),
    "suspend": ("POST", "/suspend", "token_suspended"),
}


def end(kind: str, node: GatewayProcess, token: Made) -> Ended:
    """By the API of a node."""
    method, path, code = CALLS[kind]
    asked = time.monotonic()
    told = node.api(method, f"/tokens/{token.id}{path}", {} if path else None)
    return Ended(kind, code, told.get("secret", ""), told["nodes"], told["nodes_confirmed"], asked, time.monotonic())


def end_by_command(kind: str, node: GatewayProcess, token: Made) -> Ended:
    """By the command line of a node."""
    asked = time.monotonic()
    done = node.cli("token", kind, token.id, "--json")
    answered = time.monotonic()
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    return Ended(kind, CALLS[kind][2], told.get("secret", ""), told["nodes"], told["nodes_confirmed"], asked, answered)


# -- load


class Watch:
    """What the store does, by its own clock: when it takes a change, and when each worker says that it has dropped what was before."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._seen: list[tuple[float, str]] = []
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        with self._nodes.store() as store:
            store.echo("the watch is over")
        self._thread.join(10)

    def _listen(self) -> None:
        with self._nodes.store() as store, store.monitor() as monitor:
            self._listening.set()
            for seen in monitor.listen():
                self._seen.append((seen["time"], seen["command"]))
                if "the watch is over" in seen["command"]:
                    return

    def said(self, token: Made, workers: int) -> list[float]:
        """Once so many workers have confirmed the token's second version: when each did, in seconds since the store took it."""
        seen = list(self._seen)
        taken = max((at for at, command in seen if command.startswith(f"HSET sg:info:{{{token.id}}}")), default=0.0)
        words = [(at, command.split()) for at, command in seen if command.startswith(f"PUBLISH sg:confirmed {token.id} 2 ")]
        said = {word[4]: at - taken for at, word in words}
        return list(said.values()) if len(said) == workers else []

    def forget(self) -> None:
        """Begin anew."""
        self._seen.clear()


def figures(what: str, values: list[float]) -> str:
    """Three quantiles of values in seconds, in ms."""
    ordered = sorted(values)
    p50, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * part))] for part in (0.5, 0.99))
    return f"{what}, ms: p50 {p50 * 1000:.2f}, p99 {p99 * 1000:.2f}, max {ordered[-1] * 1000:.2f}"


@pytest.mark.parametrize("load", [True, False], ids=["under load", "at rest"])
def test_nothing_is_accepted_once_an_end_is_answered(load: bool, nodes: Nodes, upstream: ScriptedUpstream) -> None:
    """Every worker has the token in memory when another node ends it; what is let through is exactly what the upstream has got.

    Seen to fail with pushes that drop nothing (both ``drop`` of store/token_store.py).
    """
    answered_in: list[float] = []
    dropped_in: list[float] = []
    late: list[tuple[Ended, Asked]] = []
    requests = 0
    with contextlib.ExitStack() as stack:
        at_once, kept = ({worker: stack.enter_context(worker.wire(timeout=20)) for worker in nodes.workers} for _ in range(2))
        watch = stack.enter_context(Watch(nodes))
        upstream.clear()
        for number in range(ROUNDS):
            kind = list(CALLS)[number % len(CALLS)]
            by_command = load and number % BY_COMMAND == BY_COMMAND - 1
            token = nodes[number % 3].make("worklogs")
            clients = Clients(f"round{number}", token, at_once, kept)
            with clients if load else contextlib.nullcontext():
                eventually(clients.are_running, "answers to all clients")
                eventually(partial(from_memory, nodes, clients), "all workers to have the token in memory")
                ended = (end_by_command if by_command else end)(kind, nodes[(number + 1) % 3], token)
                clients.ask()
                if ended.secret:
                    clients.know(ended.secret)
                    clients.ask("new")
                eventually(partial(clients.are_running, ended.answered), "answers to all clients again")
            late += [(ended, asked) for asked in clients.log if asked.secret == "old" and asked.status == 200 and asked.sent > ended.answered]
            assert (ended.nodes, ended.nodes_confirmed) == (3, 3)
            verdicts = {(asked.secret, asked.status, asked.code) for asked in clients.log}
            assert verdicts == {("old", 200, ""), ("old", 401, ended.code)} | ({("new", 200, "")} if ended.secret else set())
            assert sorted(asked.target for asked in clients.log if asked.status == 200) == sorted(seen.target for seen in upstream.seen)
            said = eventually(partial(watch.said, token, len(nodes.workers)), "a word of every worker")
            if not by_command:
                answered_in.append(ended.answered - ended.asked)
            dropped_in.append(max(said))
            requests += len(clients.log)
            assert not upstream.faults
            upstream.clear()
            watch.forget()
    print(f"\n{ROUNDS} revokes, regenerates and suspends on 3 nodes, 6 workers, with {requests} requests {'all the time' if load else 'before and after'}")
    print(figures("asked to answered", answered_in))
    print(figures("taken by the store to the last worker's word that it has dropped it", dropped_in))
    print(f"accepted after the answer: {len(late)}")
    assert not late


def test_a_worker_that_dozes_for_less_than_its_lease_is_waited_for(nodes: Nodes, upstream: ScriptedUpstream) -> None:
    """Seen to fail with ``Confirmations.wait`` that does not wait (store/confirmations.py)."""
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        wires = {worker: stack.enter_context(worker.wire(timeout=20)) for worker in nodes.workers}
        for number, dozer in enumerate(nodes.workers):
            token = nodes[0].make("worklogs")
            clients = Clients(f"doze{number}", token, wires, {})
            eventually(partial(from_memory, nodes, clients), "all workers to have the token in memory")
            with stopped(dozer.pid):
                ending = pool.submit(end, list(CALLS)[number % len(CALLS)], nodes[number % 3], token)
                for worker in (worker for worker in wires if worker is not dozer):
                    eventually(lambda: is_refused(wires[worker], token), "a refusal by those that are awake")  # noqa: B023
                assert not ending.done()
            ended = ending.result()
            assert (ended.nodes, ended.nodes_confirmed) == (3, 3)
            clients.ask()
            assert {(asked.status, asked.code) for asked in clients.log if asked.sent > ended.answered} == {(401, ended.code)}


def test_a_worker_that_slept_through_a_revoke_accepts_nothing_when_it_wakes(nodes: Nodes, upstream: ScriptedUpstream, gate: Gate) -> None:
    """What was sent before the answer and lies unread has waited before its first byte upstream: it is decided after the wait, like what came later.
    Only what was upstream already may finish.

    Seen to fail with the look at the lease taken out of ``RecordCache.at_hand``: what comes behind on a socket is decided before the push is read.
    """
    sleeper, *awake = nodes.workers
    token = nodes[1].make("worklogs")
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        wires = {worker: stack.enter_context(worker.wire(timeout=20)) for worker in nodes.workers}
        under_way, early, behind = (stack.enter_context(sleeper.wire(timeout=20)) for _ in range(3))
        under_way.send(request("GET", "/4/worklogs/gate", token=token.secret))
        assert gate.come.acquire(timeout=10)
        clients = Clients("known", token, wires, {})  # and all have an idle connection to the upstream: what is allowed need not wait
        eventually(partial(from_memory, nodes, clients), "all workers to have the token in memory")
        upstream.seen.clear()
        with stopped(sleeper.pid):
            early.send(request("GET", "/4/worklogs/early", token=token.secret))
            behind.send(request("GET", "/.scopegate/healthz"))  # so that it reads this socket before it hears of the revoke
            begun = time.monotonic()
            ending = pool.submit(end, "revoke", nodes[1], token)
            for worker in awake:
                eventually(lambda: is_refused(wires[worker], token), "a refusal by those that are awake")  # noqa: B023
            assert not ending.done()
            ended = ending.result()
            assert 0.9 * LEASE_S < ended.answered - begun < LEASE_S + 3
            assert (ended.nodes, ended.nodes_confirmed) == (3, 2)
            assert all(is_refused(wires[worker], token) for worker in awake)
            allowed = [seen.target for seen in upstream.seen]
            # Of the new connections some will be dealt to it.
            anew = [stack.enter_context(sleeper.node.wire(timeout=20)) for _ in range(12)]
            for wire in (behind, wires[sleeper], *anew):
                wire.send(request("GET", "/4/worklogs/late", token=token.secret))
        assert behind.answer().status == 200
        for wire in (early, behind, wires[sleeper], *anew):
            check_refusal(wire.answer(), "token_revoked")
        gate.opened.set()
        assert under_way.answer().status == 200
    assert [seen.target for seen in upstream.seen] == allowed


def is_refused(wire: Wire, token: Made) -> bool:
    wire.send(request("GET", "/4/worklogs/1", token=token.secret))
    answer = wire.answer()
    assert answer.status in {200, 401}, answer.body
    return answer.status == 401


# -- G4


EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n8\r\ndata: 1\n\r\n"


def silent(peer: Peer, _seen: Seen) -> None:
    """Say nothing until the gateway goes away."""
    peer.socket.recv(1)
    raise EOFError


def opened(worker: Worker, token: Made, kind: str) -> Wire:
    wire = worker.wire(timeout=20)
    wire.send(request("GET", f"/4/worklogs/{kind}", *(ASKS if kind == "tunnel" else ()), token=token.secret))
    assert wire.head().status == (101 if kind == "tunnel" else 200)
    return wire


@pytest.mark.parametrize("kind", CALLS)
def test_streams_and_tunnels_on_every_worker_end_with_their_token(kind: str, nodes: Nodes, upstream: ScriptedUpstream) -> None:
    """Seen to fail with ``on_change`` not set and ``watch_streams`` not run (app/data_plane.py)."""
    upstream.script("events", EVENTS, silent)
    upstream.script("tunnel", SWITCH, echo)
    token, other = nodes[0].make("worklogs"), nodes[0].make("worklogs")
    with contextlib.ExitStack() as stack:
        ending = [stack.enter_context(opened(worker, token, each)) for worker in nodes.workers for each in ("events", "tunnel")]
        untouched = [stack.enter_context(opened(worker, other, "tunnel")) for worker in nodes.workers]
        ended = end(kind, nodes[2], token)
        for wire in ending:
            assert not wire.wait_closed().endswith(b"0\r\n\r\n")  # seen to be broken off
        assert time.monotonic() - ended.answered < ENDS_WITHIN_S
        for wire in untouched:
            wire.send(b"still here")
            assert wire.take(10) == b"still here"


# -- waiting before the first byte upstream


@pytest.mark.parametrize("fields", [(), ("Expect: 100-continue",)], ids=["at once", "with 100-continue"])
def test_a_request_that_waited_for_a_connection_is_decided_again(fields: tuple[str, ...], nodes: Nodes, upstream: ScriptedUpstream, gate: Gate) -> None:
    """Seen to fail with the verdict from before the wait in ``Exchange._connect`` (inbound/proxy.py)."""
    worker = nodes.workers[0]
    token, other = nodes[0].make("worklogs"), nodes[0].make("worklogs")
    with contextlib.ExitStack() as stack:
        waiting, next_to_it = (stack.enter_context(worker.wire(timeout=20)) for _ in range(2))
        users = [stack.enter_context(worker.wire(timeout=20)) for _ in range(IN_USE)]
        assert not is_refused(waiting, token)
        for wire in users:
            wire.send(request("GET", "/4/worklogs/gate", token=other.secret))
            assert gate.come.acquire(timeout=10)
        upstream.seen.clear()
        waiting.send(request("POST", "/4/worklogs/waited", *fields, "Content-Length: 5", token=token.secret), b"" if fields else b"hello")
        # What came after it is answered: so it is being waited with.
        next_to_it.send(request("GET", "/4/teams/1", token=token.secret))
        check_refusal(next_to_it.answer(), "scope_missing")
        ended = end("revoke", nodes[1], token)
        assert (ended.nodes, ended.nodes_confirmed) == (3, 3)
        assert waiting.is_quiet(0.1)
        gate.opened.set()
        answer = waiting.answer()
        check_refusal(answer, "token_revoked")
        assert answer.interim == []
        assert [wire.answer().status for wire in users] == [200] * IN_USE
    assert upstream.seen == []


def test_a_request_that_is_sent_again_is_decided_again(nodes: Nodes, upstream: ScriptedUpstream, gate: Gate) -> None:
    """A kept connection that ends without an answer. Seen to fail with the verdict from before in ``Exchange._connect``."""
    worker = nodes.workers[0]
    token = nodes[0].make("worklogs")
    with worker.wire(timeout=20) as wire:
        assert not is_refused(wire, token)  # there is a kept connection now, and on such a one it is sent again
        wire.send(request("GET", "/4/worklogs/lost", token=token.secret))
        assert gate.come.acquire(timeout=10)
        ended = end("revoke", nodes[1], token)
        assert (ended.nodes, ended.nodes_confirmed) == (3, 3)
        gate.opened.set()
        check_refusal(wire.answer(), "token_revoked")
    assert [seen.target for seen in upstream.seen] == ["/4/worklogs/1", "/4/worklogs/lost"]
