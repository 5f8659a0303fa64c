"""The store of two workers in every bad state while requests flow (G5): answers in time, nothing unchecked goes through, nothing ended is
accepted, no storm of connections, one line in the log, and service again by itself.

The store is the shipped server behind a relay that counts connections; requests come over kept connections to both workers.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import redis

from gateway.core.token_text import make_token
from tests.harness.gateway import GatewayProcess, Made
from tests.harness.pressing import Pressing
from tests.harness.relay import Cable, Relay
from tests.harness.upstream import ScriptedUpstream
from tests.harness.valkey_server import PASSWORD, USER, ValkeyServer
from tests.harness.waiting import eventually

TIMEOUT_S: Final = 0.5
LEASE_S: Final = 1.2
PATIENCE: Final = 3  # times the timeout: a busy machine is no fault of the gateway's
BACK_S: Final = 1.0
OUTAGE_S: Final = 3.0
WAITAOF_S: Final = 1.5
LOOKUPS: Final = "scopegate_store_lookups_total"
UNSURE: Final = "The change may have been made all the same"
SURE: Final = "Nothing was changed."


@dataclass
class Site:
    """A gateway with two workers, its store, and the relay between."""

    server: ValkeyServer
    relay: Relay
    gateway: GatewayProcess
    upstream: ScriptedUpstream
    kept: list[Any] = field(default_factory=list)

    def call(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any], float, str]:
        """A call to the tokens API: status, document, how long it took, Retry-After."""
        begun = time.monotonic()
        status, fields, data = self.gateway.admin(method, f"/api/v1/tokens{path}", body)
        return status, json.loads(data), time.monotonic() - begun, fields.get("retry-after", "")

    def lines(self) -> list[str]:
        """The operator's lines."""
        return [line for line in self.gateway.log().splitlines() if line and not line.startswith("{")]


class OnItsOwnStore(GatewayProcess):
    """A gateway on a server of the operator's own."""

    server: ValkeyServer

    def store(self) -> redis.Redis:
        return self.server.client(text=True)


@pytest.fixture(scope="module")
def site(shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Started once; every test leaves it as good as it was."""
    with ValkeyServer(tmp_path_factory.mktemp("outages") / "store") as server, Relay(server.port) as relay:
        gateway = OnItsOwnStore(shared_upstream.url, settings={"workers": 2})
        gateway.server = server
        gateway.settings["store"] |= {"url": server.url(relay.port), "timeout": f"{TIMEOUT_S * 1000:.0f}ms", "lease": f"{LEASE_S * 1000:.0f}ms"}
        with gateway:
            yield Site(server, relay, gateway, shared_upstream)
            log = gateway.log()
            assert "Traceback" not in log
            assert "report this" not in log
            assert PASSWORD not in log


# -- the states


def go_down(site: Site) -> None:
    site.server.kill()


def come_up(site: Site) -> None:
    site.server.start()
    eventually(site.server.answers, "a server that answers")


def refuse(site: Site) -> None:
    site.server.kill()
    site.relay.refuse()


def admit(site: Site) -> None:
    come_up(site)
    site.relay.admit()


def slow_down(site: Site) -> None:
    def late(data: bytes) -> bytes:
        time.sleep(2 * TIMEOUT_S)
        return data

    site.relay.on_answer = late


def speed_up(site: Site) -> None:
    site.relay.mend()


def become_replica(site: Site) -> None:
    with site.server.client() as client:
        client.replicaof("127.0.0.1", "1")


def become_primary(site: Site) -> None:
    with site.server.client() as client:
        client.replicaof("NO", "ONE")


def fill_up(site: Site) -> None:
    with site.server.client() as client:
        client.config_set("maxmemory", "1mb")


def make_room(site: Site) -> None:
    with site.server.client() as client:
        client.config_set("maxmemory", "0")


def load(site: Site) -> None:
    site.server.load_slowly()


def finish_loading(site: Site) -> None:
    site.server.finish_loading()


def change_password(site: Site) -> None:
    with site.server.client() as client:
        client.acl_setuser(USER, enabled=True, reset_passwords=True, passwords=["+another"])
        client.execute_command("CLIENT", "KILL", "USER", USER)


def change_it_back(site: Site) -> None:
    with site.server.client() as client:
        client.acl_setuser(USER, enabled=True, reset_passwords=True, passwords=[f"+{PASSWORD}"])


def empty(site: Site) -> None:
    site.kept = site.server.dump()
    with site.server.client() as client:
        client.flushall()


def put_back(site: Site) -> None:
    site.server.restore(site.kept)


@dataclass(frozen=True)
class State:
    """How the store comes into a state and out of it, and what the log says. ``asked``: requests go on, each by asking; ``readable``: so do people who
    look at tokens."""

    name: str
    begin: Callable[[Site], None]
    end: Callable[[Site], None]
    said: str
    asked: bool = False
    readable: bool = False


STATES: Final = (
    State("down", go_down, come_up, "cannot be reached"),
    State("not there at all", refuse, admit, "cannot be reached: "),
    State("frozen", lambda site: site.server.freeze(), lambda site: site.server.thaw(), f"did not answer within {TIMEOUT_S * 1000:.0f} ms (store.timeout)"),
    State("slow", slow_down, speed_up, f"did not answer within {TIMEOUT_S * 1000:.0f} ms (store.timeout)"),
    State("read-only", become_replica, become_primary, "is a read-only replica: name its primary in store.url", readable=True),
    State("full", fill_up, make_room, "is full (OOM): raise its maxmemory", asked=True, readable=True),
    State("loading", load, finish_loading, ""),
    State("another password", change_password, change_it_back, "refuses the user or the password of store.url"),
    State("emptied", empty, put_back, "was emptied: it has lost the id"),
)
GOOD: Final = "good"
TWICE: Final = "good, asked by another turn"
EXPIRING: Final = "expiring"
ENDED: Final = {
    "revoked": "token_revoked",
    "regenerated": "token_regenerated",
    "suspended": "token_suspended",
    "foreign": "scope_missing",
    "unknown": "token_unknown",
}


@pytest.fixture(scope="module")
def lives(site: Site) -> dict[str, Made]:
    """Tokens by what is true of them: of these only ``good`` may ever pass."""
    made = {name: site.gateway.make("worklogs") for name in (GOOD, "revoked", "regenerated", "suspended")}
    made["foreign"] = site.gateway.make("teams")
    unknown = make_token("sgt", os.urandom)
    made["unknown"] = Made(unknown.id, unknown.text)
    for name, call in (("revoked", ("DELETE", "")), ("regenerated", ("POST", "/regenerate")), ("suspended", ("POST", "/suspend"))):
        site.gateway.api(call[0], f"/tokens/{made[name].id}{call[1]}", {} if call[0] == "POST" else None)
    return made


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_in_every_state_answers_come_in_time_and_nothing_unchecked_goes_through(
    state: State, site: Site, lives: dict[str, Made], upstream: ScriptedUpstream
) -> None:
    """Seen to fail with: no deadline for questions (frozen, slow), no pause before the next connection (down, another password), records that neither
    the lease bounds nor a lost link drops (down, frozen), the lease alone not read (full), the store's id not looked at (emptied), a replica asked
    (read-only), an unanswered look-up taken for an allow (loading), a clock 5 s late (full), no change tried for the log (full), a line for each
    failure (another password), a link that tries again only after 4 s (another password).
    """
    gateway = site.gateway
    victim, expiring = gateway.make("worklogs", name="victim"), gateway.make("worklogs")
    secrets = {name: made.secret for name, made in lives.items()} | {TWICE: lives[GOOD].secret, EXPIRING: expiring.secret}
    before = site.lines()
    with Pressing(gateway, secrets) as pressing:
        eventually(lambda: served_by_both(pressing, 0, gateway, GOOD, EXPIRING), "service")
        gateway.expire(expiring.id, int(LEASE_S / 2 * 1000))
        expired = time.monotonic() + LEASE_S / 2
        # Answered when all workers have confirmed it: then the expiry, told before on the same links, is known to all too.
        gateway.api("DELETE", f"/tokens/{gateway.make('worklogs').id}")
        try:
            state.begin(site)
            bad, connections, files, asked = time.monotonic(), site.relay.connections, open_files(gateway), gateway.metric(LOOKUPS)
            check_changes(state, site, victim)
            eventually(lambda: time.monotonic() >= bad + OUTAGE_S, "the end of the outage", 2 * OUTAGE_S)
            over, connections, files = time.monotonic(), site.relay.connections - connections, open_files(gateway) - files
            asked = gateway.metric(LOOKUPS) - asked
        finally:
            state.end(site)
        good = time.monotonic()
        eventually(lambda: served_by_both(pressing, good, gateway, GOOD), "service again", 3 * BACK_S)
        eventually(lambda: served_by_both(pressing, good + BACK_S, gateway, GOOD), "service that lasts")
    assert pressing.lost == []
    check_answers(state, pressing, bad, over, good)
    # Without a lease each request asks.
    assert asked >= len([told for told in pressing.since(bad + LEASE_S) if told.sent_s + told.took_s <= over])
    check_ended(pressing, expired)
    check_upstream(pressing, upstream, [lives[GOOD], expiring])
    # Every 100 ms by each worker's link, each second for its notes of use; some by the management process, for itself and for our calls.
    assert connections <= (over - bad) * 2 * (10 + 1) + 30
    assert files <= 10
    check_log(state, site, before)
    # The changes were answered with "nothing was changed".
    assert gateway.api("GET", f"/tokens/{victim.id}")["token"]["version"] == 1
    assert [token for token in gateway.api("GET", "/tokens")["items"] if token["name"] == "in the outage"] == []


def served_by_both(pressing: Pressing, since: float, gateway: GatewayProcess, *whose: str) -> bool:
    """Whether each worker has accepted a request of each of these that was sent after a moment."""
    served = {(told.worker, told.who) for told in pressing.since(since, *whose) if told.status == 200}
    return served == {(worker, who) for worker in gateway.workers() for who in whose}


def open_files(gateway: GatewayProcess) -> int:
    """The descriptors of all workers."""
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in gateway.workers())


def check_changes(state: State, site: Site, victim: Made) -> None:
    """What would change something is refused in time, and says that it was not made: it never reached the store. What only reads does so where it can."""
    for method, path, body in (
        ("POST", "", {"name": "in the outage", "access": "full"}),
        ("DELETE", f"/{victim.id}", None),
        ("POST", f"/{victim.id}/regenerate", {}),
        ("POST", f"/{victim.id}/suspend", None),
        ("PATCH", f"/{victim.id}", {"name": "in the outage"}),
    ):
        status, document, took_s, retry_after = site.call(method, path, body)
        assert (status, document["code"]) == (503, "store_unavailable"), document
        assert SURE in document["detail"], (method, path, document)
        assert int(retry_after) >= 1
        assert took_s < PATIENCE * TIMEOUT_S, (method, path, took_s)
    status, document, took_s, _ = site.call("GET", f"/{victim.id}")
    assert took_s < PATIENCE * TIMEOUT_S
    if state.readable:
        assert (status, document["token"]["state"]) == (200, "active")
    else:
        assert (status, document["code"]) == (503, "store_unavailable")
    assert site.gateway.admin("GET", "/healthz")[0] == 200
    assert site.gateway.admin("GET", "/readyz")[0] == (200 if state.asked else 503)


def check_answers(state: State, pressing: Pressing, bad: float, over: float, good: float) -> None:
    """503 in time and with Retry-After while it lasts, at once by what is known while the lease runs, and nothing but service from a second after it."""
    workers = {told.worker for told in pressing.told}
    assert [told for told in pressing.told if told.took_s > PATIENCE * TIMEOUT_S] == []
    assert {(told.code, told.retry_after) for told in pressing.told if told.status == 503} <= {("store_unavailable", "1")}
    assert {told.status for told in pressing.since(0, GOOD, TWICE)} <= {200, 503}
    after_lease = [told for told in pressing.since(bad + LEASE_S) if told.sent_s + told.took_s <= over]
    if state.asked:
        assert {(told.worker, told.status) for told in after_lease if told.who in {GOOD, TWICE}} == {(worker, 200) for worker in workers}
    else:
        assert {(told.worker, told.status) for told in after_lease} == {(worker, 503) for worker in workers}
    back = pressing.since(good + BACK_S)
    assert {told.worker for told in back} == workers
    assert [told for told in back if told.status == 503] == []


def check_ended(pressing: Pressing, expired: float) -> None:
    """What has ended is told why or 503, never accepted and never told anything else; that which expired meanwhile too."""
    for name, code in ENDED.items():
        assert {told.code for told in pressing.since(0, name)} <= {code, "store_unavailable"}
        assert code in {told.code for told in pressing.since(0, name)}
    late = pressing.since(expired, EXPIRING)
    assert {told.code for told in late} <= {"token_expired", "store_unavailable"}
    assert late[-1].code == "token_expired"


def check_upstream(pressing: Pressing, upstream: ScriptedUpstream, may_pass: list[Made]) -> None:
    """What was answered 200 went up, once, for whom it was; nothing else did."""
    assert sorted(seen.target for seen in upstream.seen) == sorted(told.target for told in pressing.told if told.status == 200)
    assert {seen.one("x-scopegate-token-id") for seen in upstream.seen} == {made.id for made in may_pass}


def check_log(state: State, site: Site, before: list[str]) -> None:
    """One line when it begins, one when it is over, and no other."""
    eventually(lambda: len(site.lines()) >= len(before) + 2, "its end in the log")
    first, *rest = site.lines()[len(before) :]
    assert " ERROR the store" in first
    assert state.said in first
    assert first.endswith("; until then requests that need it are answered 503")
    assert [line.partition(" INFO ")[2] for line in rest] == ["the store can be used again"]


# -- changes whose answer is lost


@pytest.mark.parametrize(
    ("mark", "lost", "made"),
    [(b"EVALSHA", "up", False), (b"EVALSHA", "down", True), (b"WAITAOF", "down", True), (b"\r\nZMSCORE\r\n", "down", True)],
    ids=["the change", "its answer", "that it is kept", "what comes after it"],
)
def test_a_change_whose_answer_is_lost_says_that_it_may_have_been_made(mark: bytes, lost: str, made: bool, site: Site, upstream: ScriptedUpstream) -> None:
    """Seen to fail with a failed question after the change, or the change itself, told as nothing changed (store/session.py)."""

    def lose(cable: Cable, data: bytes) -> None:
        if mark in data:
            getattr(cable, lost).hold()

    gateway = site.gateway
    victim, other = gateway.make("worklogs"), gateway.make("worklogs")
    gateway.api("POST", f"/tokens/{other.id}/suspend")  # the store knows the script from here on
    with Pressing(gateway, {"victim": victim.secret}) as pressing:
        eventually(lambda: served_by_both(pressing, 0, gateway, "victim"), "service")
        site.relay.on_question = lose
        try:
            status, document, took_s, _ = site.call("DELETE", f"/{victim.id}")
        finally:
            site.relay.mend()
        assert (status, document["code"]) == (503, "store_unavailable")
        assert UNSURE in document["detail"]
        assert took_s < WAITAOF_S + PATIENCE * TIMEOUT_S
        assert gateway.api("GET", f"/tokens/{victim.id}")["token"]["state"] == ("revoked" if made else "active")
        told = gateway.api("DELETE", f"/tokens/{victim.id}")
        answered = time.monotonic()
        assert told["nodes"] == told["nodes_confirmed"] == 1
        eventually(lambda: {each.worker for each in pressing.since(answered)} == set(gateway.workers()), "some requests after it")
    assert pressing.lost == []
    assert {each.code for each in pressing.since(answered)} == {"token_revoked"}
    check_upstream(pressing, upstream, [victim])


# -- the embedded one


def test_an_embedded_store_that_dies_is_back_within_a_second_for_both_workers(shared_upstream: ScriptedUpstream, upstream: ScriptedUpstream) -> None:
    """Seen to fail with the supervisor looking at its server only each 30 s."""
    gateway = GatewayProcess(shared_upstream.url, settings={"workers": 2})
    gateway.settings["store"] |= {"timeout": f"{TIMEOUT_S * 1000:.0f}ms", "lease": f"{LEASE_S * 1000:.0f}ms"}
    with gateway:
        good, ended = gateway.make("worklogs"), gateway.make("worklogs")
        gateway.api("DELETE", f"/tokens/{ended.id}")
        with Pressing(gateway, {GOOD: good.secret, "revoked": ended.secret}) as pressing:
            eventually(lambda: served_by_both(pressing, 0, gateway, GOOD), "service")
            gateway.kill_store()
            killed = time.monotonic()
            eventually(lambda: served_by_both(pressing, killed + BACK_S, gateway, GOOD), "service that lasts")
        assert pressing.lost == []
        assert [told for told in pressing.told if told.took_s > PATIENCE * TIMEOUT_S] == []
        assert {told.status for told in pressing.since(0, GOOD)} <= {200, 503}
        assert {told.status for told in pressing.since(killed + BACK_S, GOOD)} == {200}
        assert {told.code for told in pressing.since(0, "revoked")} <= {"token_revoked", "store_unavailable"}
        check_upstream(pressing, upstream, [good])
        assert gateway.log().count("the embedded store had died and was started again") == 1
        assert "Traceback" not in gateway.log()
