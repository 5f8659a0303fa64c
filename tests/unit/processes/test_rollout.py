"""What is told of a reload. That all use a policy or nobody goes through tests/fault/test_workers.py, on real processes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.flow.reload import load_fitting_policy
from gateway.observe.metrics import Counters, RefusedPolicy
from gateway.policy_file.document import MAX_BYTES
from gateway.processes.control import Prepared, Swapped
from gateway.processes.rollout import LIMIT_S, Rollout
from gateway.processes.slot import Slot
from gateway.settings.load import load_settings

POLICY = "version: 1\nscopes: {a: {title: A}}\nroutes: [{path: /a, scope: a}]\n"


@pytest.fixture
def slot() -> Iterator[Slot]:
    """A place whose process says what the test lets it say."""
    with socket.socket() as listener:
        slot = Slot("worker 0", "", listener)
        slot.pid = os.getpid()
        yield slot


@pytest.fixture
def rollout(tmp_path: Path, slot: Slot) -> Rollout:
    """One whose first step is over."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "gateway.yaml").write_text(f'policy: {tmp_path}/policy.yaml\nupstreams: {{api: {{url: "http://127.0.0.1:9"}}}}\n')
    settings = load_settings(tmp_path / "gateway.yaml", {})
    rollout = Rollout(settings, load_fitting_policy(settings), [slot], Counters())
    rollout.begin()
    rollout.hear(slot, Prepared(1, []))
    return rollout


def test_policy_is_told_by_its_hash_though_the_last_to_use_it_has_died(rollout: Rollout, slot: Slot, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    slot.policy = ""  # another process has just been started there
    rollout.ended(slot)
    assert caplog.messages[-1].endswith(f"hash {load_fitting_policy(rollout._settings).hash[:12]}")
    assert rollout._counters.policy_reloads == 1


def test_policy_that_one_does_not_say_to_use_counts_as_reloaded(rollout: Rollout, slot: Slot, caplog: pytest.LogCaptureFixture) -> None:
    rollout.look_at_clock(rollout._until - LIMIT_S / 2)
    assert rollout.under_way
    rollout.look_at_clock(rollout._until)
    assert not rollout.under_way
    assert "policy reloaded, but worker 0 has not said so" in caplog.messages[-1]
    assert rollout._counters.policy_reloads == 1


@pytest.mark.parametrize(("faults", "lines"), [(10, 10), (11, 11), (200, 11)])
def test_a_policy_with_many_faults_is_told_in_a_few_lines(rollout: Rollout, slot: Slot, faults: int, lines: int, caplog: pytest.LogCaptureFixture) -> None:
    """Seen to fail with a line for each fault: an editor that saves as one types filled the log."""
    file = rollout._settings.policy
    file.write_text(POLICY + "".join(f"unknown{number}: 1\n" for number in range(faults)))
    rollout.hear(slot, Swapped(1, ""))
    rollout.begin(watched=True)
    rollout.begin(watched=True)
    told = [message for message in caplog.messages if "policy not reloaded" in message]
    assert len(told) == lines
    assert f"{file}:4:1: unknown key 'unknown0'" in told[0]
    assert ("and " in told[-1]) == (faults > 10)
    if faults > 10:
        assert told[-1].endswith(f": and {faults - 10} more: scopegate policy check {file} tells them all")
    assert rollout.refused == RefusedPolicy(sha256(file.read_bytes()).hexdigest(), faults)


def test_what_does_not_fit_the_configuration_is_not_said_to_be_found_by_policy_check(rollout: Rollout, slot: Slot, caplog: pytest.LogCaptureFixture) -> None:
    rollout.hear(slot, Swapped(1, ""))
    routes = "".join(f"  - {{path: /{number}, scope: a, upstream: none}}\n" for number in range(100))
    rollout._settings.policy.write_text(f"version: 1\nscopes: {{a: {{title: A}}}}\nroutes:\n{routes}")
    rollout.begin(watched=True)
    told = [message for message in caplog.messages if "policy not reloaded" in message]
    assert len(told) == 11
    assert told[-1] == "policy not reloaded, the one before stays: and 90 more"


def test_a_policy_that_is_too_large_is_refused_once(rollout: Rollout, slot: Slot, caplog: pytest.LogCaptureFixture) -> None:
    with rollout._settings.policy.open("ab") as file:
        file.truncate(MAX_BYTES + 1)
    rollout.hear(slot, Swapped(1, ""))
    rollout.begin(watched=True)
    rollout.begin(watched=True)
    (told,) = [message for message in caplog.messages if "policy not reloaded" in message]
    assert told.endswith("the file is over 1 MiB: make it smaller")
    assert rollout._counters.policy_reloads_refused == 1
