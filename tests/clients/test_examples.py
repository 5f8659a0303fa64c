"""The examples run as their README says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gateway.policy_file.load import load_policy
from gateway.settings.fit import check_policy_fits
from gateway.settings.load import load_settings
from tests.clients.through_gateway import assert_all_came_through
from tests.clients.watched_sample import WatchedSample
from tests.harness.gateway import GatewayProcess

_ROOT = Path(__file__).parents[2]


def list_worklogs(gateway: GatewayProcess, secret: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "examples/list_worklogs.py", f"http://127.0.0.1:{gateway.port}"]
    return subprocess.run(command, env={**os.environ, "SCOPEGATE_TOKEN": secret}, cwd=_ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_the_integration_reads_all_pages(tempo_gateway: GatewayProcess, sample: WatchedSample) -> None:
    made = tempo_gateway.make("worklogs:view")
    done = list_worklogs(tempo_gateway, made.secret)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 2520)
    assert len(sample.seen) == 3
    assert_all_came_through(tempo_gateway, sample, made)


def test_the_integration_shows_a_refusal_in_one_line(tempo_gateway: GatewayProcess) -> None:
    done = list_worklogs(tempo_gateway, tempo_gateway.token("teams:view"))
    assert done.returncode == 1
    assert done.stderr.startswith("403 scope_missing: ")
    assert done.stderr.count("\n") == 1


def test_the_configuration_loads_and_fits_its_policy() -> None:
    settings = load_settings(_ROOT / "examples" / "gateway.yaml", {})
    assert check_policy_fits(settings, load_policy(_ROOT / settings.policy)) == []
