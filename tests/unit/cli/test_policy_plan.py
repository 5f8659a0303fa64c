"""``scopegate policy plan`` as a person or a pipeline uses it, on files and on a real embedded store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import app
from gateway.store.embedded import EmbeddedStore
from gateway.store.wire import ask

OLD = """\
version: 1
scopes: {worklogs: {}, teams: {}}
routes:
  - {path: /4/worklogs/**, scope: worklogs}
  - {path: /4/worklogs/search, methods: [POST], scope: worklogs, access: view}
  - {path: /4/teams, methods: [GET], scope: teams}
"""
NEW = """\
version: 1
tokens: {default_expiry_days: 60}
scopes: {worklogs: {}, plans: {}}
routes:
  - {path: /4/worklogs/**, scope: worklogs, timeout: 5s}
  - {path: /4/plans, methods: [GET], scope: plans}
"""
Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, valkey: EmbeddedStore) -> Path:
    """Two policies, and a configuration on the session's server, emptied."""
    ask(valkey.socket, "FLUSHALL", timeout_s=5)
    (tmp_path / "old.yaml").write_text(OLD)
    (tmp_path / "new.yaml").write_text(NEW)
    (tmp_path / "gateway.yaml").write_text(
        f"policy: {tmp_path / 'old.yaml'}\nstore: {{url: 'unix://{valkey.socket}', data_dir: {tmp_path / 'data'}, timeout: 5s}}\n"
        "upstreams: {api: {url: 'http://127.0.0.1:9'}}\n"
    )
    return tmp_path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command beside the files."""
    monkeypatch.setenv("SCOPEGATE_CONFIG", "gateway.yaml")
    monkeypatch.chdir(folder)

    def command(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, list(arguments))
        assert "Traceback" not in result.output
        assert result.exit_code == code, result.output
        return result

    return command


def create(run: Run, name: str, *scopes: str) -> str:
    options = [option for scope in scopes for option in ("--scope", scope)] or ["--full"]
    token_id: str = json.loads(run("token", "create", "--name", name, "--json", *options).stdout)["token"]["id"]
    return token_id


def test_what_differs_is_told_by_rules_scopes_settings_and_requests(run: Run) -> None:
    assert run("policy", "plan", "old.yaml", "new.yaml").stdout.splitlines() == [
        "old.yaml -> new.yaml",
        "Routes",
        "  + GET, HEAD /4/plans: plans, new.yaml:6",
        "  - GET, HEAD /4/teams: teams, old.yaml:6",
        "  ~ GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS /4/worklogs/**: timeout unset -> 5s, new.yaml:5",
        "  - POST /4/worklogs/search: worklogs:view, old.yaml:5",
        "Scopes",
        "  + plans: tokens with full access do not get it, they are frozen",
        "  - teams",
        "Settings",
        "  ~ tokens.default_expiry_days 30 -> 60",
        "Requests decided otherwise",
        "  ~ GET, HEAD /4/plans: refused -> plans:view",
        "  ~ WEBSOCKET /4/plans: refused -> plans:manage",
        "  ~ GET, HEAD /4/teams: teams:view -> refused",
        "  ~ WEBSOCKET /4/teams: teams:manage -> refused",
        "  ~ GET, HEAD, OPTIONS /4/worklogs/**: worklogs:view; timeout unset -> 5s",
        "  ~ POST, PUT, PATCH, DELETE, WEBSOCKET /4/worklogs/**: worklogs:manage; timeout unset -> 5s",
        "  ~ POST /4/worklogs/search: worklogs:view -> worklogs:manage; timeout unset -> 5s",
        "Tokens: not looked at: --store says what each gains and loses",
    ]


def test_a_policy_and_itself_say_the_same(run: Run) -> None:
    assert run("policy", "plan", "old.yaml", "old.yaml").stdout.splitlines()[1] == "The two policies say the same."
    facts = json.loads(run("policy", "plan", "old.yaml", "old.yaml", "--store", "--json").stdout)
    assert facts["empty"] is True
    assert facts["tokens"] == {"living": 0, "ended": 0, "full_access": 0, "losing": 0, "gaining": 0, "groups": [], "listing_removed_scopes": {}}


def test_the_loss_of_a_token_is_exit_1_unless_it_is_allowed(run: Run) -> None:
    viewer, full, ended = create(run, "viewer", "worklogs:view"), create(run, "all"), create(run, "gone", "teams")
    run("token", "revoke", ended)
    out = run("policy", "plan", "old.yaml", "new.yaml", "--store", code=1).stdout.splitlines()
    told = out[out.index("Tokens: 2 living, 1 ended") + 1 :]
    of_full = [f"  1 token: {full} 'all' of operator"]
    of_full += [f"    - loses {methods} /4/teams: teams:{access} -> refused" for methods, access in (("GET, HEAD", "view"), ("WEBSOCKET", "manage"))]
    of_viewer = [f"  1 token: {viewer} 'viewer' of operator", "    - loses POST /4/worklogs/search: worklogs:view -> worklogs:manage"]
    groups = (of_full, of_viewer) if full < viewer else (of_viewer, of_full)
    assert told == [
        *groups[0],
        *groups[1],
        "  2 lose access, 0 gain access",
        "exit 1: an existing token would lose access: --allow-loss accepts it",
    ]
    assert "  + plans: tokens with full access do not get it, they are frozen (1 living)" in out
    assert "  - teams; living tokens that list it: 1" in out
    run("policy", "plan", "old.yaml", "new.yaml", "--store", "--allow-gain", code=1)
    assert "exit 1" not in run("policy", "plan", "old.yaml", "new.yaml", "--store", "--allow-loss").stdout


def test_the_gain_of_a_token_is_exit_1_unless_it_is_allowed(run: Run) -> None:
    token_id = create(run, "viewer", "worklogs:view")
    refused = json.loads(run("policy", "plan", "new.yaml", "old.yaml", "--store", "--json", code=1).stdout)
    assert refused["refused_for"] == ["gain"]
    (group,) = refused["tokens"]["groups"]
    assert group == {
        "loses": [],
        "gains": [{"methods": ["POST"], "path": "/4/worklogs/search", "only": None, "old": "worklogs:manage", "new": "worklogs:view"}],
        "tokens": [{"id": token_id, "name": "viewer", "owner": "operator"}],
    }
    assert json.loads(run("policy", "plan", "new.yaml", "old.yaml", "--store", "--json", "--allow-gain").stdout)["refused_for"] == []


def test_a_scope_id_that_comes_back_is_named_with_what_to_set(run: Run) -> None:
    create(run, "team", "teams")
    out = run("policy", "plan", "new.yaml", "old.yaml", "--store", code=1).stdout
    assert "warning: scope id 'teams' comes back, and 1 living token lists it from before: they would get access that nobody gave them; set since: 20" in out


def test_json_holds_each_part_with_rules_and_their_lines(run: Run) -> None:
    facts = json.loads(run("policy", "plan", "old.yaml", "new.yaml", "--json").stdout)
    assert list(facts) == ["old", "new", "empty", "routes", "scopes", "settings", "requests", "warnings", "tokens", "access_log", "refused_for"]
    assert facts["routes"]["removed"] == [
        {"methods": ["GET", "HEAD"], "route": "/4/teams", "old": {"route": "/4/teams", "line": 6, "asks": "teams"}, "new": None, "settings": []},
        {
            "methods": ["POST"],
            "route": "/4/worklogs/search",
            "old": {"route": "/4/worklogs/search", "line": 5, "asks": "worklogs:view"},
            "new": None,
            "settings": [],
        },
    ]
    assert facts["scopes"] == {"added": [{"id": "plans", "since": None, "was": []}], "removed": [{"id": "teams", "since": None, "was": []}], "changed": []}
    assert facts["settings"] == [{"name": "tokens.default_expiry_days", "old": "30", "new": "60"}]
    assert facts["requests"][-1] == {
        "methods": ["POST"],
        "path": "/4/worklogs/search",
        "only": None,
        "example": "/4/worklogs/search",
        "old": {"route": "/4/worklogs/search", "line": 5, "asks": "worklogs:view"},
        "new": {"route": "/4/worklogs/**", "line": 5, "asks": "worklogs:manage"},
        "settings": [{"name": "timeout", "old": None, "new": "5s"}],
    }
    assert (facts["tokens"], facts["access_log"]) == (None, None)


def lines(*calls: tuple[str, str, str]) -> str:
    return "".join(
        json.dumps({"method": method, "path": path, "status": 200, "request_id": f"r{number}", "token_id": token_id}) + "\n"
        for number, (method, path, token_id) in enumerate(calls)
    )


def test_recorded_calls_are_counted_and_broken_lines_told(run: Run, folder: Path) -> None:
    calls = lines(("GET", "/4/teams", "t1"), ("GET", "/4/worklogs", "t1"), ("GET", "/4/teams", "t1"), ("POST", "/4/worklogs/search", "t1"))
    (folder / "access.log").write_text(calls + "{broken\n" + '{"method": "GET", "status": 401}\n' + "half a li")
    out = run("policy", "plan", "old.yaml", "new.yaml", "--access-log", "access.log", code=1).stdout.splitlines()
    assert out[out.index("Access log") :] == [
        "Access log",
        "  calls judged 4: 2 decided otherwise, 1 the same, 1 open (what their token holds is not known)",
        "  ~ 2 GET /4/teams: allow -> route_unmapped, first r0",
        "  2 lines not judged, not a line of the gateway's access log; the first is line 5",
        "  1 line not judged, without a path: its token was not proved and its route is not public; the first is line 6",
        "exit 1: an existing token would lose access: --allow-loss accepts it",
    ]


def test_recorded_calls_are_judged_by_what_the_store_says_of_their_token(run: Run, folder: Path) -> None:
    token_id = create(run, "viewer", "worklogs:view")
    (folder / "access.log").write_text(lines(("POST", "/4/worklogs/search", token_id), ("GET", "/4/worklogs", token_id)))
    facts = json.loads(run("policy", "plan", "old.yaml", "new.yaml", "--store", "--access-log", "access.log", "--json", code=1).stdout)
    assert facts["access_log"] == {
        "changed": [{"method": "POST", "route": "/4/worklogs/search", "old": "allow", "new": "scope_missing", "calls": 1, "example": "r0"}],
        "same": 1,
        "open": 0,
        "recorded_otherwise": 0,
        "not_judged": [],
    }


def test_the_gateway_s_own_paths_are_those_of_the_configuration_that_is_read(run: Run, folder: Path) -> None:
    """Seen to fail with the default alone."""
    (folder / "access.log").write_text(lines(("GET", "/.scopegate/me", "t1"), ("GET", "/own/me/routes", "t1"), ("GET", "/own/me", "t1")))
    own = "not judged, the gateway answered it itself; the first is line"
    assert f"  1 line {own} 1" in run("policy", "plan", "old.yaml", "new.yaml", "--access-log", "access.log").stdout.splitlines()
    with (folder / "gateway.yaml").open("a") as configuration:
        configuration.write("own_prefix: /own/\n")
    assert f"  2 lines {own} 2" in run("policy", "plan", "old.yaml", "new.yaml", "--store", "--access-log", "access.log").stdout.splitlines()


def test_all_faults_of_both_policies_are_told_and_exit_2(run: Run, folder: Path) -> None:
    (folder / "old.yaml").write_text(OLD.replace("scope: teams", "scope: team"))
    (folder / "new.yaml").write_text(NEW.replace("scope: plans", "scope: plan"))
    result = run("policy", "plan", "old.yaml", "new.yaml", "--json", code=2)
    files = ["old.yaml", "old.yaml", "new.yaml", "new.yaml"]
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == files
    facts = json.loads(result.stdout)
    assert (facts["ok"], [fault["file"] for fault in facts["faults"]]) == (False, files)
    assert run("policy", "plan", "old.yaml", "new.yaml", code=2).stdout == ""


@pytest.mark.parametrize(("log", "why"), [("none.log", "No such file or directory"), (".", "Is a directory")])
def test_an_access_log_that_cannot_be_read_is_one_line_and_exit_2(run: Run, log: str, why: str) -> None:
    result = run("policy", "plan", "old.yaml", "new.yaml", "--access-log", log, code=2)
    assert (result.stdout, result.stderr) == ("", f"{log}: the access log can't be read: {why}\n")
    facts = json.loads(run("policy", "plan", "old.yaml", "new.yaml", "--access-log", log, "--json", code=2).stdout)
    assert facts == {"ok": False, "faults": [{"file": log, "line": 0, "column": 0, "message": f"the access log can't be read: {why}"}]}


def test_a_store_that_is_not_there_is_one_line_and_exit_2(run: Run, folder: Path) -> None:
    (folder / "gateway.yaml").write_text(f"policy: old.yaml\nstore: {{url: 'unix://{folder}/none.sock'}}\nupstreams: {{api: {{url: 'http://127.0.0.1:9'}}}}\n")
    result = run("policy", "plan", "old.yaml", "new.yaml", "--store", code=2)
    assert (result.stdout, len(result.stderr.splitlines())) == ("", 1)
