"""tempo-jira-cli works through the gateway: a command line that reads worklogs by POST search and pages by offset."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

import pytest

from gateway.sample.data import ACCOUNT_IDS
from tests.clients.through_gateway import assert_all_came_through
from tests.clients.watched_sample import WatchedSample
from tests.harness.gateway import GatewayProcess, Made

_YEAR = ("--from", "2026-01-01", "--to", "2026-12-31")


class Cli(Protocol):
    def __call__(self, made: Made, *arguments: str, exits: int = 0) -> Any: ...


@pytest.fixture
def cli(tempo_gateway: GatewayProcess, tmp_path: Path) -> Cli:
    """One command of the installed program, with its own environment variables for address and token; its JSON."""

    def run(made: Made, *arguments: str, exits: int = 0) -> Any:
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("TEMPO_", "JIRA_"))},
            "HOME": str(tmp_path),
            "TEMPO_CONFIG_DIR": str(tmp_path),
            "TEMPO_BASE_URL": f"http://127.0.0.1:{tempo_gateway.port}/4",
            "TEMPO_API_TOKEN": made.secret,
            "TEMPO_ACCOUNT_ID": ACCOUNT_IDS[0],
            "TEMPO_ALLOW_FUTURE_DATES": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", "tempo_cli", "--format", "json", *arguments],
            env=environ,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == exits, done.stderr[-2000:]
        return json.loads(done.stderr if exits else done.stdout or "null")

    return run


def test_view_lists_all_worklogs_by_posted_searches(tempo_gateway: GatewayProcess, sample: WatchedSample, cli: Cli) -> None:
    made = tempo_gateway.make("worklogs:view")
    listed = cli(made, "worklogs", "list", *_YEAR, "--user", "all", "--all")
    assert listed["count"] == len(listed["worklogs"]) == 2520
    assert [(seen.method, seen.target) for seen in sample.seen] == [("POST", f"/4/worklogs/search?offset={n}&limit=1000") for n in (0, 1000, 2000)]
    assert_all_came_through(tempo_gateway, sample, made)


def test_a_limited_list_tells_that_there_is_more(tempo_gateway: GatewayProcess, sample: WatchedSample, cli: Cli) -> None:
    made = tempo_gateway.make("accounts:view")
    listed = cli(made, "accounts", "list", "--status", "all", "--limit", "30")
    assert len(listed["accounts"]) == 30
    assert listed["truncated"] is True
    assert_all_came_through(tempo_gateway, sample, made)


def test_view_is_not_enough_to_log_time(tempo_gateway: GatewayProcess, sample: WatchedSample, cli: Cli) -> None:
    told = cli(tempo_gateway.make("worklogs:view"), "log", "10001", "1h", "--date", "2026-11-02", "--yes", exits=1)
    assert (told["error"]["httpStatus"], told["error"]["reason"]) == (403, "forbidden")
    assert "worklogs:manage" in told["error"]["message"]
    assert [seen.target.partition("?")[0] for seen in sample.seen] == ["/4/worklogs/search"]  # it looks for a duplicate first


def test_manage_logs_and_removes_time(tempo_gateway: GatewayProcess, sample: WatchedSample, cli: Cli) -> None:
    made = tempo_gateway.make("worklogs:manage")
    logged = cli(made, "log", "10001", "1h30m", "--date", "2026-11-02", "-m", "Café", "--yes")
    assert (logged["seconds"], logged["description"]) == (5400, "Café")
    assert cli(made, "worklogs", "delete", str(logged["id"]), "--yes") == {"deleted": logged["id"]}
    assert_all_came_through(tempo_gateway, sample, made)


def test_a_summary_reads_two_scopes(tempo_gateway: GatewayProcess, sample: WatchedSample, cli: Cli) -> None:
    made = tempo_gateway.make("worklogs:view", "schemes:view")
    summary = cli(made, "summary", "--from", "2026-03-02", "--to", "2026-03-08")
    assert summary["requiredSeconds"] == 5 * 8 * 3600
    assert summary["loggedSeconds"] > 0
    assert_all_came_through(tempo_gateway, sample, made)


def test_a_timesheet_is_submitted_with_manage(tempo_gateway: GatewayProcess, sample: WatchedSample, cli: Cli) -> None:
    viewer, manager = tempo_gateway.make("approvals:view"), tempo_gateway.make("approvals:manage")
    assert cli(viewer, "approvals", "status", "--date", "2026-03-02")["status"] == "OPEN"
    assert cli(viewer, "approvals", "submit", "--date", "2026-03-02", "--yes", exits=1)["error"]["httpStatus"] == 403
    sample.seen.clear()
    assert cli(manager, "approvals", "submit", "--date", "2026-03-02", "--yes")["status"] == "IN_REVIEW"
    assert cli(manager, "api", "POST", f"timesheet-approvals/user/{ACCOUNT_IDS[0]}/reopen", "--yes")["status"] == {"key": "OPEN"}
    assert_all_came_through(tempo_gateway, sample, manager)


def test_an_ended_token_is_told_as_unauthorised(tempo_gateway: GatewayProcess, sample: WatchedSample, cli: Cli) -> None:
    made = tempo_gateway.make("worklogs:view")
    tempo_gateway.api("DELETE", f"/tokens/{made.id}")
    told = cli(made, "worklogs", "list", *_YEAR, "--user", "all", exits=1)
    assert (told["error"]["httpStatus"], told["error"]["reason"]) == (401, "unauthorized")
    assert "token_revoked" in told["error"]["message"]
    assert sample.seen == []
