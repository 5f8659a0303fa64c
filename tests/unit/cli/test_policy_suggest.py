"""``scopegate policy suggest`` on logs as a gateway writes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from gateway.cli.main import app
from gateway.policy_file.load import parse_policy

LOG = [
    {"method": "GET", "status": 200, "path": "/4/teams/7", "reported": "token_missing"},
    {"method": "GET", "status": 200, "path": "/4/teams/8", "reported": "token_missing"},
    {"method": "POST", "status": 200, "path": "/4/teams/search", "reported": "token_missing"},
    {"method": "GET", "status": 404, "path": "/favicon.ico", "reported": "token_missing"},
    {"method": "GET", "status": 401, "code": "token_missing"},
    "no JSON",
    {"method": "GET", "status": 200, "path": "/", "reported": "token_missing"},
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "access.log"
    file.write_text("".join(f"{json.dumps(line) if isinstance(line, dict) else line}\n" for line in LOG))
    (tmp_path / "policy.yaml").write_text("version: 1\nenforcement: report\nscopes: {}\nroutes: []\n")
    return file


def run(log: Path, *arguments: str) -> Result:
    result = CliRunner().invoke(app, ["policy", "suggest", "--access-log", str(log), "--policy", str(log.parent / "policy.yaml"), *arguments])
    assert "Traceback" not in result.output
    return result


def test_what_it_prints_is_a_policy_with_its_reasons(log: Path) -> None:
    result = run(log)
    assert result.exit_code == 0
    policy = parse_policy(result.stdout, "p.yaml")
    assert policy.report
    assert [(route.template, route.methods, route.scope.id if route.scope else "", route.access) for route in policy.routes] == [
        ("/", ("GET",), "other", 0),
        ("/4/teams/search", ("POST",), "teams", 1),
        ("/4/teams/{teamId}", ("GET",), "teams", 0),
    ]
    assert "# 2 calls, such as GET /4/teams/7" in result.stdout
    assert "# decide: is this a search, which changes nothing? If not, remove access: view" in result.stdout
    assert "# decide: which scope? other stands in its place" in result.stdout


def test_lines_that_can_not_be_used_are_counted_with_the_first_of_their_kind(log: Path) -> None:
    told = run(log).stderr.splitlines()
    assert [line.partition("access.log: ")[2] for line in told] == [
        "passed over 1: the API itself does not have it (404, 405, 501); the first is line 4",
        "passed over 1: without a path: its token was not proved and its route is not public; the first is line 5",
        "passed over 1: not a line of the gateway's access log; the first is line 6",
    ]


def test_json_says_the_same(log: Path) -> None:
    facts = json.loads(run(log, "--json").stdout)
    assert (facts["unmapped_calls"], facts["mapped_calls"], facts["scopes"]) == (4, 0, ["other", "teams"])
    assert [(route["path"], route["calls"], route["access"]) for route in facts["routes"]] == [
        ("/", 1, None),
        ("/4/teams/search", 1, "view"),
        ("/4/teams/{teamId}", 2, None),
    ]
    assert sum(each["lines"] for each in facts["skipped"]) == 3


HOSTILE = [
    ("GET], public: true} #", "/4/teams/7"),
    ("GET\n  - {path: /**, public: true}", "/4/teams/7"),
    ("", "/4/teams/7"),
    ("get", "/4/teams/7"),
    ("BREW", "/4/teams/7"),
    ("GET", '/4/x",methods:[GET],public:true}/7'),
    ("GET", "/4/x\n  - {path: /**, public: true}"),
    ("GET", "/4/x #\u2028public: true"),
]


@pytest.mark.parametrize(("method", "path"), HOSTILE)
def test_whatever_a_log_says_opens_nothing(method: str, path: str, log: Path) -> None:
    """Seen to fail with methods and templates printed as they stand in the log."""
    log.write_text(json.dumps({"method": method, "status": 200, "path": path}) + '\n{"method": "GET", "status": 200, "path": "/4/plans"}\n')
    policy = parse_policy(run(log).stdout, "p.yaml")
    assert not any(route.public for route in policy.routes)
    assert "/4/plans" in {route.template for route in policy.routes}
    assert {route.methods for route in policy.routes} == {("GET",)}


def test_the_name_of_a_log_stays_in_its_comment(log: Path) -> None:
    odd = log.with_name("a\npublic: true.log")
    odd.write_bytes(log.read_bytes())
    parse_policy(run(odd).stdout, "p.yaml")


@pytest.mark.parametrize("word", ["null", "true", "no", "on", "y", "~", "1e3", "12a", "0x1f"])
def test_a_word_that_yaml_readers_change_names_its_scope_all_the_same(word: str, log: Path) -> None:
    """Seen to fail with scopes printed plain."""
    log.write_text(json.dumps({"method": "GET", "status": 200, "path": f"/{word}/1"}) + "\n")
    printed = run(log).stdout
    (route,) = parse_policy(printed, "p.yaml").routes
    scope = word if word != "~" else "other"
    assert (route.scope.id if route.scope else None) == scope
    assert list(yaml.safe_load(printed)["scopes"]) == [scope]


def test_the_gateway_s_own_paths_are_those_of_the_configuration_that_is_read(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen to fail with the default alone."""
    log.write_text("".join(json.dumps({"method": "GET", "status": 200, "path": path}) + "\n" for path in ("/.scopegate/me", "/own/me")))
    assert [route["path"] for route in json.loads(run(log, "--json").stdout)["routes"]] == ["/own/me"]
    monkeypatch.chdir(log.parent)
    Path("gateway.yaml").write_text("policy: policy.yaml\nown_prefix: /own/\nupstreams: {api: {url: 'http://127.0.0.1:9'}}\n")
    result = CliRunner().invoke(app, ["policy", "suggest", "--access-log", str(log), "--config", "gateway.yaml"])
    assert 'path: "/.scopegate/me"' in result.stdout
    assert "/own/me" not in result.stdout
    assert "passed over 1: the gateway answered it itself; the first is line 2" in result.stderr


def test_seldom_called_routes_can_be_left_out_and_with_none_left_it_says_so(log: Path) -> None:
    assert "search" not in run(log, "--min", "2").stdout
    assert "# Nothing to propose." in run(log, "--min", "9").stdout


@pytest.mark.parametrize(("name", "what"), [("absent.log", "No such file or directory"), (".", "Is a directory")])
def test_a_log_that_can_not_be_read_is_one_line_and_exit_2(name: str, what: str, log: Path) -> None:
    arguments = ["policy", "suggest", "--access-log", str(log.parent / name), "--policy", str(log.parent / "policy.yaml")]
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"the access log can't be read: {what}" in result.stderr
    facts = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert (facts["ok"], [fault["message"] for fault in facts["faults"]]) == (False, [f"the access log can't be read: {what}"])
