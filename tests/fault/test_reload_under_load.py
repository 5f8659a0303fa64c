"""A policy file that is watched: a new one is taken by all workers, a bad one by none, and no request is lost or misjudged on the way.

``make reloads`` does a hundred, with figures (RELOADS=N: so many).
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, NamedTuple, Self

import pytest

from tests.harness.gateway import POLICY, GatewayProcess
from tests.harness.upstream import ScriptedUpstream
from tests.harness.waiting import eventually
from tests.harness.wire import request

RELOADS = int(os.environ.get("RELOADS", "6"))
CONNECTIONS = 32
WORKERS = 2
WIDER = POLICY.replace('"/4/teams/**", scope: teams', '"/4/teams/**", scope: worklogs').replace(
    "unmapped:", '  - {path: "/4/plans/**", scope: teams}\nunmapped:'
)
FAULTY = WIDER.replace("scope: worklogs, rate", "scope: worklog, rate").replace("public: true", "public: yes")


class Asked(NamedTuple):
    """One request: what for, when it was sent and answered (monotonic), and its status."""

    target: str
    sent: float
    answered: float
    status: int


class Load:
    """Asks on so many kept connections, from ``with`` on to its end; two targets in turn on each."""

    def __init__(self, port: int, secret: str, *targets: str) -> None:
        self.asked: list[Asked] = []
        self.faults: list[str] = []
        self._over = threading.Event()
        self._port = port
        self._requests = [(target, request("GET", target, token=secret)) for target in targets]
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        eventually(lambda: len(self.asked) > 10 * CONNECTIONS, "the load")
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    async def _run(self) -> None:
        await asyncio.gather(*(self._ask() for _ in range(CONNECTIONS)))

    async def _ask(self) -> None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            while not self._over.is_set():
                for target, data in self._requests:
                    sent = time.monotonic()
                    writer.write(data)
                    head = await reader.readuntil(b"\r\n\r\n")
                    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
                    await reader.readexactly(int(fields[b"content-length"]))
                    assert b"connection" not in fields, "the connection was not kept"
                    self.asked.append(Asked(target, sent, time.monotonic(), int(head.split(b" ")[1])))
            writer.close()
        except Exception as error:  # noqa: BLE001 - whatever it is, a request was lost
            self.faults.append(repr(error))


def ready(gateway: GatewayProcess) -> dict[str, Any]:
    status, _, body = gateway.admin("GET", "/readyz")
    assert status == 200
    return dict(json.loads(body))


def in_force(gateway: GatewayProcess, policy: str) -> bool:
    """Whether each worker runs this policy."""
    digest = sha256(policy.encode()).hexdigest()
    told = ready(gateway)
    return [worker["policy"] for worker in told["workers"]] == [digest] * WORKERS and told["policy"]["hash"] == digest


def put(gateway: GatewayProcess, policy: str) -> None:
    """Another file in the policy's place, as an editor saves."""
    new = gateway.policy_file.with_suffix(".new")
    new.write_text(policy)
    new.replace(gateway.policy_file)


@pytest.fixture
def watching(shared_upstream: ScriptedUpstream, upstream: ScriptedUpstream) -> Iterator[GatewayProcess]:
    with GatewayProcess(shared_upstream.url, settings={"policy_watch": True, "workers": WORKERS}) as gateway:
        yield gateway
        assert "Traceback" not in gateway.log()
        assert "report this" not in gateway.log()


def test_reloads_under_load_lose_no_request_and_misjudge_none(watching: GatewayProcess) -> None:
    """A request that was sent after all workers had said so, and answered before the next file was written, is judged by that very policy."""
    expected = {POLICY: 403, WIDER: 200}
    spans: list[tuple[float, float, int]] = []  # from, to, what /4/teams/1 must be answered
    policy, since = POLICY, time.monotonic()
    with Load(watching.port, watching.token("worklogs"), "/4/worklogs/1", "/4/teams/1") as load:
        for _ in range(RELOADS):
            seen = len(load.asked)
            eventually(lambda seen=seen: len(load.asked) > seen + 4 * CONNECTIONS or load.faults, "requests in between")  # type: ignore[misc]
            spans.append((since, time.monotonic(), expected[policy]))
            policy = WIDER if policy is POLICY else POLICY
            put(watching, policy)
            eventually(lambda policy=policy: in_force(watching, policy), "the new policy in all workers", 30)  # type: ignore[misc]
            since = time.monotonic()
    assert not load.faults
    statuses = Counter((asked.target, asked.status) for asked in load.asked)
    assert {status for target, status in statuses if target == "/4/worklogs/1"} == {200}
    assert {status for target, status in statuses if target == "/4/teams/1"} == {200, 403}
    judged = 0
    teams = [asked for asked in load.asked if asked.target == "/4/teams/1"]
    for begin, end, status in spans:
        within = [asked for asked in teams if begin < asked.sent and asked.answered < end]
        assert within
        assert {asked.status for asked in within} == {status}
        judged += len(within)
    assert watching.metric("scopegate_policy_reloads_total") == RELOADS
    print(
        f"\n{RELOADS} reloads beside {len(load.asked):,} requests on {CONNECTIONS} connections: none lost; {judged:,} judged by the policy in force, none wrongly"
    )


def test_a_bad_file_changes_nothing_and_is_told_once(watching: GatewayProcess) -> None:
    assert in_force(watching, POLICY)
    put(watching, FAULTY)
    watching.wait_log("policy not reloaded")
    eventually(lambda: ready(watching)["policy_refused"], "the refusal in /readyz")
    assert ready(watching)["policy_refused"] == {"hash": sha256(FAULTY.encode()).hexdigest(), "faults": 3}
    assert in_force(watching, POLICY)
    assert watching.metric("scopegate_policy_refused") == 1
    assert watching.metric("scopegate_policy_reloads_refused_total") == 1
    told = [line for line in watching.log().splitlines() if "policy not reloaded" in line]
    assert [line.partition("policy.yaml:")[2].partition(":")[0] for line in told] == ["13", "14", "15"]
    put(watching, FAULTY)  # the same again is nothing new; what comes after it shows that it was looked at
    assert watching.ask("GET", "/4/teams/1", token=watching.token("worklogs")).code == "scope_missing"
    done = watching.cli("doctor", "--json")
    assert done.returncode == 1
    findings = json.loads(done.stdout)["findings"]
    assert [finding["level"] for finding in findings if finding["check"] == "policy"] == ["fail"] * 3
    assert any(finding["check"] == "policy in force" and "has refused this file" in finding["found"] for finding in findings)
    put(watching, WIDER)
    eventually(lambda: in_force(watching, WIDER), "the good policy")
    assert watching.ask("GET", "/4/teams/1", token=watching.token("worklogs")).status == 200
    assert ready(watching)["policy_refused"] is None
    assert watching.metric("scopegate_policy_refused") == 0
    assert len([line for line in watching.log().splitlines() if "policy not reloaded" in line]) == 3
