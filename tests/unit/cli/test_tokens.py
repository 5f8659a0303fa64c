"""``scopegate token`` and ``scopegate store`` as a person or a script uses them, on a real embedded store."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.core.token_text import parse
from gateway.store.embedded import EmbeddedStore
from gateway.store.wire import ask

Run = Callable[..., Result]
POLICY = """\
version: 1
tokens: {max_per_owner: 2}
scopes: {worklogs: {}, teams: {}}
routes: [{path: /worklogs, scope: worklogs}, {path: /teams, scope: teams}]
"""


@pytest.fixture
def folder(tmp_path: Path, valkey: EmbeddedStore) -> Path:
    """A configuration on the session's server, emptied."""
    ask(valkey.socket, "FLUSHALL", timeout_s=5)
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "gateway.yaml").write_text(
        f"policy: {tmp_path / 'policy.yaml'}\nstore: {{url: 'unix://{valkey.socket}', data_dir: {tmp_path / 'data'}, timeout: 5s}}\n"
        "upstreams: {api: {url: 'http://127.0.0.1:9'}}\n"
    )
    return tmp_path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command with that configuration."""
    monkeypatch.setenv("SCOPEGATE_CONFIG", str(folder / "gateway.yaml"))

    def command(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return command


def made(run: Run, *options: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run("token", "create", "--name", "CI", "--json", *(options or ("--full",))).stdout)
    return answer


def test_secret_is_printed_once_alone_on_stdout(run: Run) -> None:
    result = run("token", "create", "--name", "CI", "--scope", "worklogs:view")
    token_id = parse(result.stdout.removesuffix("\n"), "sgt")
    assert token_id
    assert token_id in result.stderr
    assert "worklogs:view" in result.stderr
    secret = result.stdout.strip()
    for arguments in (("list",), ("list", "--json"), ("show", token_id), ("show", token_id, "--json"), ("suspend", token_id), ("resume", token_id, "--json")):
        assert secret not in run("token", *arguments).output


def test_create_as_json_holds_record_and_secret(run: Run) -> None:
    answer = made(
        run, "--owner", "u1", "--scope", "teams:view", "--scope", "worklogs", "--allow-ip", "10.0.0.0/8", "--description", "why", "--expires-in-days", "7"
    )
    assert set(answer) == {"token", "secret"}
    token = answer["token"]
    assert parse(answer["secret"], "sgt") == token["id"]
    assert (token["owner"], token["access"], token["grants"]) == ("u1", "custom", ["worklogs:manage", "teams:view"])
    assert (token["allowed_ips"], token["description"], token["state"]) == (["10.0.0.0/8"], "why", "active")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", token["expires_at"])


def test_every_wrong_option_is_told_at_once_by_its_name(run: Run) -> None:
    result = run(
        "token", "create", "--name", " ", "--owner", "", "--scope", "rates", "--expires-in-days", "5001", "--allow-ip", "here", "--description", "\x1b", code=2
    )
    assert result.stdout == ""
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == [
        "--name",
        "--owner",
        "--scope",
        "--expires-in-days",
        "--allow-ip",
        "--description",
    ]
    assert "it has worklogs, teams" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "--full"),
        ("create", "--name", "x"),
        ("create", "--name", "x", "--full", "--scope", "worklogs"),
        ("create", "--name", "x", "--full", "--expires-in-days", "many"),
        ("create", "--name", "x", "--full", "--expires-in-days", "-3"),
        ("list", "--state", "dead"),
        ("revoke",),
        ("revoke", "000000000000", "--owner", "u1"),
        ("regenerate", "000000000000", "--overlap", "soon"),
        ("regenerate", "000000000000", "--overlap", "169h"),
        ("regenerate", "000000000000", "--overlap", "1ms"),
        ("show",),
        ("destroy",),
    ],
)
def test_wrong_use_is_exit_2_with_a_line(run: Run, arguments: tuple[str, ...]) -> None:
    result = run("token", *arguments, code=2)
    assert result.stderr.strip()
    assert result.stdout == ""


def test_listing_is_plain_where_there_is_no_terminal(run: Run) -> None:
    first, second = made(run, "--owner", "u1", "--full")["token"], made(run, "--owner", "u2", "--scope", "teams")["token"]
    run("token", "suspend", first["id"])
    rows = [line.split("\t") for line in run("token", "list").stdout.splitlines()]
    assert rows[0] == ["ID", "STATE", "OWNER", "NAME", "ACCESS", "EXPIRES", "LAST USED"]
    assert sorted(rows[1:]) == sorted(
        [
            [first["id"], "suspended", "u1", "CI", "full", first["expires_at"], "never"],
            [second["id"], "active", "u2", "CI", "teams:manage", second["expires_at"], "never"],
        ]
    )
    items = json.loads(run("token", "list", "--owner", "u1", "--state", "suspended", "--q", "ci", "--json").stdout)["items"]
    assert [item["id"] for item in items] == [first["id"]]


def test_end_of_a_secret_is_told_as_it_is(run: Run) -> None:
    token_id = made(run)["token"]["id"]
    assert run("token", "regenerate", token_id, "--overlap", "1h").stderr.splitlines()[-1] == (
        "the old secret works until the overlap ends, then nowhere; no node was deciding from memory"
    )
    for command in ("regenerate", "suspend", "revoke"):
        assert run("token", command, token_id).stderr.splitlines()[-1] == "ended everywhere; no node was deciding from memory"
        run("token", "resume", token_id, code=1 if command == "revoke" else 0)


def test_life_of_a_token_with_its_exit_codes(run: Run) -> None:
    token = made(run)["token"]
    again = json.loads(run("token", "regenerate", token["id"], "--overlap", "1h", "--json").stdout)
    assert again["token"]["id"] == token["id"] == parse(again["secret"], "sgt")
    assert json.loads(run("token", "suspend", token["id"], "--json").stdout)["token"]["state"] == "suspended"
    assert "resume it first" in run("token", "regenerate", token["id"], code=1).stderr
    run("token", "resume", token["id"])
    assert json.loads(run("token", "revoke", token["id"], "--json").stdout)["token"]["state"] == "revoked"
    run("token", "revoke", token["id"])
    for command in ("regenerate", "resume", "suspend"):
        assert "revoked for good" in run("token", command, token["id"], code=1).stderr
    for command in ("show", "revoke", "suspend", "resume", "regenerate"):
        assert run("token", command, "000000000000", code=1).stderr == 'There is no token "000000000000".\n'


def test_all_of_one_owner_are_ended(run: Run) -> None:
    mine = {made(run, "--owner", "u1", "--full")["token"]["id"] for _ in range(2)}
    other = made(run, "--owner", "u2", "--full")["token"]["id"]
    assert "as many as the policy lets one owner have" in run("token", "create", "--name", "x", "--full", "--owner", "u1", code=1).stderr
    told = json.loads(run("token", "revoke", "--owner", "u1", "--json").stdout)
    assert {item["id"] for item in told["items"]} == mine
    assert (told["nodes"], told["nodes_confirmed"]) == (0, 0)
    assert run("token", "revoke", "--owner", "u1").stderr == ""
    made(run, "--owner", "u1", "--full")
    assert run("token", "revoke", "--owner", "u1").stderr == "ended everywhere; no node was deciding from memory\n"
    assert json.loads(run("token", "show", other, "--json").stdout)["token"]["state"] == "active"


def test_full_token_tells_how_many_scopes_came_later(run: Run, folder: Path) -> None:
    token = made(run)["token"]
    (folder / "policy.yaml").write_text(POLICY.replace("teams: {}}", "teams: {}, plans: {}}").replace("}]", "}, {path: /p, scope: plans}]"))
    assert json.loads(run("token", "show", token["id"], "--json").stdout)["token"]["scopes_added_since"] == 1
    assert "full, without 1 that came later" in run("token", "list").stdout


def test_token_is_shown_and_ended_while_the_policy_is_broken(run: Run, folder: Path) -> None:
    token = made(run)["token"]
    (folder / "policy.yaml").write_text("version: 1\nscopes: {")
    assert "policy.yaml:" in run("token", "create", "--name", "x", "--full", code=2).stderr
    shown = run("token", "show", token["id"])
    assert "active" in shown.stdout
    assert shown.stderr.startswith("warning: ")
    run("token", "revoke", token["id"])
    assert "revoked" in run("token", "list").stdout


def test_name_cannot_steer_a_terminal(run: Run) -> None:
    run("token", "create", "--name", "a\u202eb", "--full")
    assert "a\\u202eb" in run("token", "list").stdout


def test_faulty_configuration_is_exit_2_with_its_place(run: Run, folder: Path) -> None:
    (folder / "gateway.yaml").write_text("polcy: x\n")
    assert "gateway.yaml:1:1: " in run("token", "list", code=2).stderr
    assert "none.yaml" in run("token", "list", "-c", str(folder / "none.yaml"), code=2).stderr


def test_store_that_is_not_there_is_exit_2_without_its_password(run: Run, folder: Path) -> None:
    text = (folder / "gateway.yaml").read_text()
    (folder / "gateway.yaml").write_text(re.sub(r"url: 'unix://[^']*'", "url: 'redis://u:pass-word@127.0.0.1:1'", text))
    for arguments in (("token", "list"), ("token", "create", "--name", "x", "--full"), ("store", "adopt")):
        said = run(*arguments, code=2).stderr
        assert "redis://127.0.0.1:1 cannot be reached: nothing listens there" in said
        assert "pass-word" not in said


def test_emptied_store_is_refused_until_it_is_adopted(run: Run, valkey: EmbeddedStore) -> None:
    made(run)
    ask(valkey.socket, "FLUSHALL", timeout_s=5)
    assert "was emptied" in run("token", "list", code=2).stderr
    assert "is accepted" in run("store", "adopt").stdout
    assert set(json.loads(run("store", "adopt", "--json").stdout)) == {"store", "remembered_in"}
    assert json.loads(run("token", "list", "--json").stdout)["items"] == []


def test_command_on_an_embedded_store_starts_and_stops_its_server(run: Run, folder: Path) -> None:
    text = (folder / "gateway.yaml").read_text()
    (folder / "gateway.yaml").write_text(re.sub(r"url: 'unix://[^']*'", "url: embedded", text).replace(str(folder / "data"), str(folder / "own")))
    token = made(run)["token"]
    assert not (folder / "own" / "store.sock").exists()
    assert token["id"] in run("token", "list").stdout  # kept over the server's end
    server = EmbeddedStore(folder / "own")
    server.start()
    assert token["id"] in run("token", "list").stdout
    assert ask(server.socket, "PING", timeout_s=5) == b"+PONG"
    server.stop()
