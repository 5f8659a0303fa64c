"""G3 where one worker's way to the store is cut, slow or closed, and where the store itself stands still in the middle of a change."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import pytest

from gateway.store.embedded import EmbeddedStore
from tests.harness.clients import lookups
from tests.harness.gateway import GatewayProcess, Made
from tests.harness.nodes import WORKERS, Nodes, Worker
from tests.harness.problems import check_refusal
from tests.harness.relay import Cable, Relay
from tests.harness.upstream import ScriptedUpstream
from tests.harness.waiting import eventually
from tests.harness.wire import request

# store.timeout of the two nodes: one gives its link up while its lease runs, as by default, one waits for it until long after.
HASTY, PATIENT = 0, 1
TIMEOUTS_S = (1.0, 10.0)


class Reach(NamedTuple):
    """Two nodes, a relay between each and the store."""

    nodes: Nodes
    relays: list[Relay]

    def worker(self, node: int) -> Worker:
        """The first worker of a node: the one whose link is cut."""
        return self.nodes.workers[node * WORKERS]

    def link(self, node: int) -> Cable:
        return self.relays[node].link_of(self.worker(node).pid)


@pytest.fixture(scope="module")
def two(shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reach]:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(EmbeddedStore(tmp_path_factory.mktemp("nodes")))
        relays = [stack.enter_context(Relay(server.socket)) for _ in TIMEOUTS_S]
        store_settings = [{"url": f"redis://127.0.0.1:{relay.port}", "timeout": f"{timeout_s:g}s"} for relay, timeout_s in zip(relays, TIMEOUTS_S, strict=True)]
        nodes = stack.enter_context(Nodes(server, shared_upstream.url, store_settings))
        yield Reach(nodes, relays)
        for node in nodes.nodes:
            assert "Traceback" not in node.log()
            assert "report this" not in node.log()


@pytest.fixture
def reach(two: Reach, upstream: ScriptedUpstream) -> Iterator[Reach]:
    """All workers are up and registered; what is cut is mended at the end."""
    two.nodes.await_all()
    yield two
    for relay in two.relays:
        relay.mend()


class Asker:
    """Asks with one token, on one kept connection to each worker."""

    def __init__(self, token: Made, nodes: Nodes, stack: contextlib.ExitStack) -> None:
        self.token = token
        self.wires = {worker: stack.enter_context(worker.wire(timeout=30)) for worker in nodes.workers}

    def send(self, worker: Worker, target: str = "/4/worklogs/1") -> None:
        self.wires[worker].send(request("GET", target, token=self.token.secret))

    def answer(self, worker: Worker) -> str:
        """The code of the refusal, or that it was accepted."""
        answer = self.wires[worker].answer()
        if answer.status != 200:
            check_refusal(answer, answer.code)
        return answer.code or "accepted"

    def ask(self, worker: Worker, target: str = "/4/worklogs/1") -> str:
        self.send(worker, target)
        return self.answer(worker)

    def ask_all(self) -> set[str]:
        for worker in self.wires:
            self.send(worker)
        return {self.answer(worker) for worker in self.wires}


@pytest.fixture
def asker(reach: Reach) -> Iterator[Asker]:
    """All workers have its token in memory."""
    with contextlib.ExitStack() as stack:
        asker = Asker(reach.nodes[HASTY].make("worklogs"), reach.nodes, stack)

        def known() -> bool:
            before = lookups(reach.nodes)
            assert asker.ask_all() == {"accepted"}
            return lookups(reach.nodes) == before

        eventually(known, "all workers to have the token in memory")
        yield asker


def revoke(node: GatewayProcess, token: Made) -> tuple[int, int]:
    """The nodes, and those that have confirmed."""
    told = node.api("DELETE", f"/tokens/{token.id}")
    return told["nodes"], told["nodes_confirmed"]


# -- the link of one worker


@pytest.mark.parametrize("node", [HASTY, PATIENT], ids=["hasty", "patient"])
def test_a_worker_whose_link_is_a_black_hole_accepts_nothing(node: int, reach: Reach, asker: Asker, upstream: ScriptedUpstream) -> None:
    """Seen to fail with the look at the lease taken out of ``RecordCache.at_hand``; the hasty one, which drops all with its link, with that taken out too."""
    deaf, relay = reach.worker(node), reach.relays[node]
    relay.opened = Cable.hold
    reach.link(node).hold()
    assert revoke(reach.nodes[1 - node], asker.token) == (2, 1)
    accepted = len(upstream.seen)
    asker.send(deaf)
    assert {asker.ask(worker) for worker in asker.wires if worker is not deaf} == {"token_revoked"}
    if node == PATIENT:
        relay.mend()  # it would wait for longer than a test may
        assert asker.answer(deaf) in {"token_revoked", "store_unavailable"}
    else:
        assert asker.answer(deaf) == "store_unavailable"
        relay.mend()
    eventually(lambda: asker.ask(deaf) == "token_revoked", "the refusal by a worker that hears again")
    assert len(upstream.seen) == accepted


def test_a_worker_that_hears_of_its_heartbeat_late_does_not_believe_it(reach: Reach, asker: Asker, upstream: ScriptedUpstream) -> None:
    """Only what comes from the store is held back, so that the worker stays registered. It then gets the answer to a heartbeat from before the change,
    and the change itself still later.

    Seen to fail with the lease counted from the receipt (``_beaten`` in store/token_store.py).
    """
    deaf, link = reach.worker(PATIENT), reach.link(PATIENT)
    link.down.hold()
    before = eventually(lambda: len(link.down.held or b""), "the answer to a heartbeat")
    done = reach.nodes[HASTY].cli("token", "revoke", asker.token.id)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "ended everywhere; 1 of 2 nodes confirmed, the other had stopped deciding from memory"
    accepted = len(upstream.seen)
    link.down.release(before)
    asker.send(deaf)
    assert asker.wires[deaf].is_quiet(0.3)  # it asks
    link.down.release()
    assert asker.answer(deaf) == "token_revoked"
    assert asker.ask_all() == {"token_revoked"}
    assert len(upstream.seen) == accepted


def test_a_worker_that_lost_its_link_knows_nothing_when_it_has_another(reach: Reach, asker: Asker, upstream: ScriptedUpstream) -> None:
    """The change is pushed to the old link, of whose end the store does not know; the new one is up before the answer, and with it a lease.

    Seen to fail with ``on_down`` not set (store/token_store.py).
    """
    deaf, relay, link = reach.worker(PATIENT), reach.relays[PATIENT], reach.link(PATIENT)
    relay.opened = Cable.close
    link.hold()
    link.client.shutdown(socket.SHUT_RDWR)
    with reach.nodes.store() as store, ThreadPoolExecutor(1) as pool:
        ending = pool.submit(revoke, reach.nodes[HASTY], asker.token)
        eventually(lambda: store.hget(f"sg:info:{{{asker.token.id}}}", "state") == "revoked", "the store to take the change")
        relay.mend()
        eventually(lambda: reach.link(PATIENT) is not link, "another link")
        assert ending.result() == (2, 1)
    accepted = len(upstream.seen)
    assert asker.ask(deaf) == "token_revoked"
    assert asker.ask_all() == {"token_revoked"}
    assert len(upstream.seen) == accepted


def test_a_look_up_that_is_answered_late_is_not_remembered(reach: Reach, asker: Asker, upstream: ScriptedUpstream) -> None:
    """The request itself arrived before the change was answered, and may finish.

    Seen to fail with look-ups on a link of their own.
    """
    deaf, relay = reach.worker(PATIENT), reach.relays[PATIENT]
    asker.token = reach.nodes[HASTY].make("worklogs")  # one that no worker has asked for
    asking: list[Cable] = []

    def look(cable: Cable, data: bytes) -> None:
        if b"MGET" in data and asker.token.id.encode() in data and not asking:
            cable.down.hold()
            asking.append(cable)

    relay.on_question = look
    asker.send(deaf)
    eventually(lambda: asking and asking[0].down.held, "the store's answer")
    revoke(reach.nodes[HASTY], asker.token)
    asking[0].down.release()
    assert asker.answer(deaf) in {"accepted", "token_revoked"}
    accepted = len(upstream.seen)
    assert [asker.ask(deaf) for _ in range(3)] == ["token_revoked"] * 3
    assert len(upstream.seen) == accepted


def test_a_request_that_waited_for_its_rate_limit_is_decided_again(reach: Reach, asker: Asker, upstream: ScriptedUpstream) -> None:
    """Seen to fail with the verdict from before the wait in ``Exchange._count`` (inbound/proxy.py)."""
    deaf, link = reach.worker(PATIENT), reach.link(PATIENT)
    assert asker.ask(deaf, "/4/limited/before") == "accepted"
    with deaf.wire() as next_to_it:
        link.down.hold()
        asker.send(deaf, "/4/limited/waits")
        next_to_it.send(request("GET", "/.scopegate/healthz"))
        assert next_to_it.answer().status == 200  # so the one before has been read, and is being waited with
    assert revoke(reach.nodes[HASTY], asker.token) == (2, 1)
    link.down.release()
    assert asker.answer(deaf) == "token_revoked"
    assert "/4/limited/waits" not in [seen.target for seen in upstream.seen]


# -- the store stands still


@pytest.mark.parametrize("moment", ["before", "with the change unread", "with the change made"])
def test_a_store_that_stands_still_during_a_revoke_says_in_time_what_may_be(moment: str, reach: Reach, asker: Asker, upstream: ScriptedUpstream) -> None:
    """Once it goes on, workers and records agree: what was made is accepted nowhere, what was not is accepted everywhere.

    Seen to fail with ``written`` not told in ``Session._exchange``, and with pushes that drop nothing.
    """
    node, relay, token = reach.nodes[HASTY], reach.relays[HASTY], asker.token
    assert revoke(node, node.make("worklogs")) == (2, 2)  # so the script is known to the server
    pid = reach.nodes.server.pid
    assert pid is not None
    changing: list[Cable] = []

    def look(cable: Cable, data: bytes) -> None:
        if b"EVALSHA" in data and token.id.encode() in data:
            relay.on_question = lambda *_: None  # the note of the failed call that comes after it must not stop the store once more
            changing.append(cable)
            if moment == "with the change unread":
                os.kill(pid, signal.SIGSTOP)
            else:
                cable.down.hold()

    codes: dict[Worker, list[str]] = {worker: [] for worker in asker.wires}
    with ThreadPoolExecutor(1) as pool:
        try:
            if moment == "before":
                os.kill(pid, signal.SIGSTOP)
            else:
                relay.on_question = look
            begun = time.monotonic()
            ending = pool.submit(node.admin, "DELETE", f"/api/v1/tokens/{token.id}")
            if moment == "with the change made":
                eventually(lambda: changing and changing[0].down.held, "the answer to the change")
                os.kill(pid, signal.SIGSTOP)
            status, fields, body = ending.result()
            assert time.monotonic() - begun < TIMEOUTS_S[HASTY] + 2
            problem = json.loads(body)
            assert (status, problem["code"], fields["retry-after"]) == (503, "store_unavailable", "1")
            assert ("may have been made" in problem["detail"]) == (moment != "before")
            assert ("Nothing was changed" in problem["detail"]) == (moment == "before")
            for worker in asker.wires:
                asker.send(worker)
        finally:
            os.kill(pid, signal.SIGCONT)
    relay.mend()
    for worker in asker.wires:
        codes[worker].append(asker.answer(worker))
    state = reach.nodes[PATIENT].api("GET", f"/tokens/{token.id}")["token"]["state"]
    assert state == ("active" if moment == "before" else "revoked")
    last = "accepted" if moment == "before" else "token_revoked"

    def goes_on(worker: Worker) -> bool:
        codes[worker].append(asker.ask(worker))
        return codes[worker][-1] == last

    for worker, said in codes.items():
        eventually(partial(goes_on, worker), f"{last} by all workers")
        said += [asker.ask(worker) for _ in range(3)]
        assert set(said) <= {"accepted", "store_unavailable", "token_revoked"}
        ended = said.index("token_revoked") if "token_revoked" in said else len(said)
        assert "accepted" not in said[ended:]
    if moment == "with the change made":  # all workers had been told before it stood still
        assert "accepted" not in {code for said in codes.values() for code in said}
