"""``scopegate audit`` and ``scopegate report`` as an auditor uses them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from click.testing import Result
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.store.embedded import EmbeddedStore
from gateway.store.wire import ask

Run = Callable[..., Result]
POLICY = """\
version: 1
scopes: {worklogs: {}, teams: {}}
routes: [{path: /worklogs, scope: worklogs}, {path: /teams, scope: teams}]
"""


@pytest.fixture
def config(tmp_path: Path, valkey: EmbeddedStore) -> Path:
    """A configuration on the session's server, emptied."""
    ask(valkey.socket, "FLUSHALL", timeout_s=5)
    (tmp_path / "policy.yaml").write_text(POLICY)
    file = tmp_path / "gateway.yaml"
    file.write_text(
        f"policy: {tmp_path / 'policy.yaml'}\nstore: {{url: 'unix://{valkey.socket}', data_dir: {tmp_path / 'data'}, timeout: 5s}}\n"
        "upstreams: {api: {url: 'http://127.0.0.1:9'}}\n"
    )
    return file


@pytest.fixture
def run(config: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("SCOPEGATE_CONFIG", str(config))

    def command(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return command


def delete(valkey: EmbeddedStore, number: int) -> None:
    """What somebody does who has the store."""
    with redis.Redis(unix_socket_path=str(valkey.socket), protocol=2) as client:
        places = [place for place, fields in client.xrange("sg:audit") if fields[b"n"] == str(number).encode()]
        assert client.xdel("sg:audit", *places) == 1


@pytest.fixture
def token_id(run: Run) -> str:
    """A token with three entries: made, renewed, ended."""
    made = json.loads(run("token", "create", "--name", "CI", "--owner", "ana", "--full", "--json").stdout)["token"]
    run("token", "regenerate", made["id"])
    run("token", "revoke", made["id"])
    return str(made["id"])


def test_verify_says_that_the_log_is_whole(run: Run, token_id: str) -> None:
    assert run("audit", "verify").stdout.startswith("whole: 3 entries, the newest 3 with hash ")
    facts = json.loads(run("audit", "verify", "--json").stdout)
    assert (facts["whole"], facts["entries"], facts["head"]["seq"], facts["broken"]) == (True, 3, 3, None)


def test_verify_ends_with_1_and_the_place_where_the_log_is_broken(run: Run, token_id: str, valkey: EmbeddedStore) -> None:
    delete(valkey, 2)
    assert run("audit", "verify", code=1).stdout == "broken at entry 2 (deleted): entry 2 is gone\n"
    assert json.loads(run("audit", "verify", "--json", code=1).stdout)["broken"] == {"kind": "deleted", "seq": 2, "message": "entry 2 is gone"}


def test_verify_misses_what_was_cut_off_until_the_store_is_adopted(run: Run, token_id: str, valkey: EmbeddedStore) -> None:
    delete(valkey, 3)
    assert "broken at entry 3 (truncated): entry 3, which this node has seen, is gone" in run("audit", "verify", code=1).stdout
    run("store", "adopt")
    assert run("audit", "verify").stdout.startswith("whole: 3 entries")
    newest = run("audit", "tail", "-n", "1").stdout
    assert "store.adopt" in newest
    assert "seen=3" in newest


def test_tail_shows_the_newest_entries_oldest_first(run: Run, token_id: str) -> None:
    lines = run("audit", "tail", "-n", "2").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["2", "3"]
    assert f"token.revoke       operator (command)  token {token_id}  owner ana" in lines[1]
    assert [json.loads(line)["action"] for line in run("audit", "tail", "--json").stdout.splitlines()] == ["token.create", "token.regenerate", "token.revoke"]
    assert run("audit", "tail", "-n", "0").stdout == ""


def test_an_entry_that_somebody_has_put_in_is_shown_as_unreadable_and_the_rest_with_it(run: Run, token_id: str, valkey: EmbeddedStore) -> None:
    """Seen to fail (a traceback) where only the form is looked at."""
    for number, text in enumerate(('{"seq": "<script>"}', '{"seq": 5, "at": "x", "action": "y", "details": []}', "[]", "x"), 4):
        assert ask(valkey.socket, "XADD", "sg:audit", "*", "e", text, "n", str(number), timeout_s=5).startswith(b"$")
    lines = run("audit", "tail").stdout.splitlines()
    assert ["unreadable" in line for line in lines] == [False] * 3 + [True] * 4


def test_export_is_the_whole_log_as_lines_of_json(run: Run, token_id: str) -> None:
    entries = [json.loads(line) for line in run("audit", "export").stdout.splitlines()]
    assert [(each["seq"], each["action"], each["token_id"]) for each in entries] == [
        (1, "token.create", token_id),
        (2, "token.regenerate", token_id),
        (3, "token.revoke", token_id),
    ]
    assert all(len(each["hash"]) == 64 for each in entries)


def test_tail_follows(run: Run, token_id: str, config: Path) -> None:
    """Seen to fail without ``after``: nothing came any more."""
    command = [sys.executable, "-m", "gateway", "audit", "tail", "-n", "1", "--follow", "-c", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout
        assert "token.revoke" in following.stdout.readline()
        run("token", "create", "--name", "new", "--full")
        assert "token.create" in following.stdout.readline()
        following.terminate()


def test_no_secret_is_in_any_output(run: Run) -> None:
    made = json.loads(run("token", "create", "--name", "CI", "--full", "--json").stdout)
    again = json.loads(run("token", "regenerate", made["token"]["id"], "--json").stdout)
    for words in (("audit", "tail"), ("audit", "export"), ("audit", "verify"), ("report",), ("report", "--json")):
        output = run(*words).output
        assert made["secret"] not in output
        assert again["secret"] not in output


def test_the_report_is_one_page(run: Run, token_id: str, valkey: EmbeddedStore) -> None:
    run("token", "create", "--name", "all", "--owner", "ben", "--full")
    run("token", "create", "--name", "some", "--owner", "ben", "--scope", "teams:view")
    page = run("report").stdout
    assert "audit log  whole, 5 entries" in page
    assert "tokens     2 active, 0 suspended, 1 revoked, 0 expired" in page
    assert "ben\t2\t1\t0\n" in page
    assert "teams\t1\t1\n" in page
    assert "\nFull access: 1\n" in page
    assert "\nUnused for 90 days: 0\n" in page
    facts = json.loads(run("report", "--json").stdout)
    assert set(facts) == {"at", "policy", "audit", "states", "owners", "scopes", "ages", "last_used", "unused", "full"}
    assert facts["policy"]["hash"] in page
    assert facts["audit"]["whole"]
    delete(valkey, 1)
    assert "audit log  BROKEN: entry 1 is gone" in run("report").stdout


def test_the_report_is_made_also_where_the_policy_is_faulty(run: Run, config: Path, token_id: str) -> None:
    (config.parent / "policy.yaml").write_text("version: 2\n")
    assert "hash none: the file is faulty" in run("report").stdout
