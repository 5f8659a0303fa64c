"""``scopegate doctor`` as its operator runs it: beside a running gateway, without one, on a bad configuration, and with a store that is not there."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from tests.harness.gateway import ADMIN_KEY, ROOT, GatewayProcess
from tests.harness.redis_server import RedisServer


@pytest.fixture
def upstream() -> Iterator[str]:
    """Something that listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def gateway(upstream: str) -> Iterator[GatewayProcess]:
    """One that is not started; the store has time, for a busy machine is no fault of its."""
    made = GatewayProcess(upstream, settings={})
    made.settings["store"]["lease"] = "10s"
    yield made
    made.close()


def lines(gateway: GatewayProcess, code: int) -> dict[str, str]:
    """What doctor says, by what it looked at; nothing of it is a secret or a traceback."""
    done = gateway.cli("doctor")
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr == ""
    assert ADMIN_KEY not in done.stdout
    told = {}
    for line in done.stdout.splitlines():
        level, check = line[:4], line[5:].partition(":")[0]
        assert level in {"ok  ", "warn", "fail"}, line
        told.setdefault(check, line)
    return told


CHECKS = [
    *("configuration", "policy", "data_dir", "disk", "admin key", "listen", "admin.listen", "descriptors", "parser"),
    *("store", "durability", "store memory", "store changes", "store pushes", "store identity", "store pace", "clock", "upstream api"),
]


def test_everything_is_looked_at_where_no_gateway_runs_and_nothing_is_left_afterwards(gateway: GatewayProcess) -> None:
    """Seen to fail with the store started in the folder: made by root, it would keep the gateway's own user out."""
    before = set(gateway.folder.iterdir())
    told = lines(gateway, 0)
    assert set(gateway.folder.iterdir()) - before == {gateway.config_file}
    assert list(told) == CHECKS
    assert told["listen"].endswith("is free")
    assert "the store is new" in told["store identity"]
    assert gateway.store_pid() is None


def test_everything_is_looked_at_beside_a_running_gateway(gateway: GatewayProcess) -> None:
    gateway.start()
    told = lines(gateway, 0)
    at = CHECKS.index("policy") + 1
    assert list(told) == [*CHECKS[:at], "policy in force", *CHECKS[at:]]
    assert told["policy in force"].endswith("runs it in all its workers")
    assert told["listen"].endswith("is served by a running scopegate")
    assert told["admin.listen"].endswith("is served by a running scopegate")
    assert "store.id remembers" in told["store identity"]
    assert gateway.admin("GET", "/readyz")[0] == 200


def test_json_says_the_same(gateway: GatewayProcess) -> None:
    gateway.settings["upstreams"]["api"]["url"] = "http://127.0.0.1:1"
    done = gateway.cli("doctor", "--json")
    assert done.returncode == 1
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["ok"] is False
    assert [each["check"] for each in told["findings"]] == CHECKS
    assert [each["check"] for each in told["findings"] if each["level"] == "fail"] == ["upstream api"]
    assert all(set(each) == {"check", "level", "found", "advice"} for each in told["findings"])
    assert told["findings"][-1]["advice"] == "start it, or mend upstreams.api.url"


def test_faulty_configuration_is_all_that_is_told(gateway: GatewayProcess) -> None:
    gateway.settings |= {"listen": "nowhere", "polciy": "x"}
    done = gateway.cli("doctor")
    assert done.returncode == 1
    assert [line[:20] for line in done.stdout.splitlines()] == ["fail configuration: "] * 2
    assert "did you mean 'policy'?" in done.stdout


def test_missing_configuration_is_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["doctor", "-c", str(tmp_path / "none.yaml")])
    assert done.exit_code == 1
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"fail configuration: {tmp_path / 'none.yaml'}")


def test_policy_that_names_an_unknown_upstream_a_hundred_times_is_told_ten_times(gateway: GatewayProcess) -> None:
    routes = "".join(f"  - {{path: /{number}, scope: a, upstream: none}}\n" for number in range(100))
    gateway.policy_file.write_text(f"version: 1\nscopes: {{a: {{title: A}}}}\nroutes:\n{routes}")
    done = gateway.cli("doctor")
    policy = [line for line in done.stdout.splitlines() if line.startswith("fail policy: ")]
    assert len(policy) == 11
    assert policy[-1] == "fail policy: and 90 more"
    assert "ok   store: " in done.stdout


def test_credential_that_only_the_service_has_is_told_and_the_rest_is_looked_at(gateway: GatewayProcess) -> None:
    gateway.settings["upstreams"]["api"]["credentials"] = {"env": "STRONG_CREDENTIAL_OF_THE_SERVICE"}
    told = lines(gateway, 1)
    assert told["credentials"].endswith("serve needs it: run doctor with the service's environment, as its user")
    assert told["store"].startswith("ok   ")


def test_folder_where_no_store_can_be_is_not_used(gateway: GatewayProcess) -> None:
    gateway.data_dir.write_text("a file")
    told = lines(gateway, 1)
    assert told["data_dir"].startswith("fail data_dir: ")
    assert told["store"] == "fail store: the embedded store was not looked at: mend data_dir first"


def test_store_of_the_operators_own_is_looked_at(gateway: GatewayProcess) -> None:
    with RedisServer(gateway.folder / "redis", requirepass="s3cret-of-the-store", appendonly="yes") as server:
        gateway.settings["store"]["url"] = f"redis://:s3cret-of-the-store@127.0.0.1:{server.port}/1"
        told = lines(gateway, 0)
        assert told["durability"].startswith("warn ")
        assert "s3cret" not in str(told)
    told = lines(gateway, 1)
    assert "nothing listens there" in told["store"]
    assert "s3cret" not in str(told)
    assert told["upstream api"].startswith("ok ")


def test_wrong_use_is_two() -> None:
    assert CliRunner().invoke(app, ["doctor", "--what"]).exit_code == 2


def test_every_line_is_explained_in_the_docs() -> None:
    page = (ROOT / "docs" / "operations.md").read_text().split("## Running\n")[0]
    told = {name for row in re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)}
    assert told == {check.replace("upstream api", "upstream NAME") for check in CHECKS} | {"credentials", "openapi", "store transport"}
