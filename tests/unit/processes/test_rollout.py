"""What is told of a reload. That all use a policy or nobody goes through tests/fault/test_workers.py, on real processes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.flow.reload import load_fitting_policy
from gateway.observe.metrics import Counters
from gateway.processes.control import Prepared
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
