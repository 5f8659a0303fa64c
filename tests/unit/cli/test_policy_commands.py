from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import app
from gateway.cli.store_session import open_store
from gateway.policy_file.load import load_policy
from gateway.policy_file.schema import policy_schema
from gateway.store.connection import StoreOptions

GOOD = """\
version: 1
scopes: {worklogs: {title: Worklogs, resources: [Entries]}, teams: {}}
routes:
  - {path: /4/worklogs/**, scope: worklogs, resource: Entries}
  - {path: /4/worklogs/search, methods: [POST], scope: worklogs, access: view}
  - {path: /4/teams, scope: teams}
  - {path: /4/status, methods: [GET], public: true}
unmapped: [GET /4/skills]
tests:
  - {request: GET /4/worklogs/1, grants: ["worklogs:view"], expect: allow}
"""
BAD = GOOD.replace("scope: teams", "scope: team").replace("public: true", "public: yes")
FAILING = GOOD + "  - {request: GET /4/teams, grants: [worklogs], expect: allow}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "p.yaml"
    path.write_text(GOOD)
    return path


def run(*arguments: object, **environ: str) -> Result:
    result = CliRunner().invoke(app, ["policy", *map(str, arguments)], env={"SCOPEGATE_CONFIG": "", "COLUMNS": "80", **environ})
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result


def told(result: Result) -> tuple[int, list[str], list[str]]:
    return result.exit_code, result.stdout.splitlines(), result.stderr.splitlines()


def test_check_of_a_good_policy_says_what_is_in_it(file: Path) -> None:
    assert told(run("check", file)) == (0, [f"{file}: good: scopes 2, routes 4, left out 1, tests 1"], [])


def test_check_tells_every_fault_with_its_place_and_exits_2(file: Path) -> None:
    file.write_text(BAD)
    code, out, err = told(run("check", file))
    assert (code, out) == (2, [])
    assert [line.removeprefix(f"{file}:") for line in err] == [
        "2:61: scope 'teams' has no route: map one to it, or remove it",
        "6:29: scope: 'team' is no scope of this policy: did you mean 'teams'?",
        "7:47: public: 'yes' is neither true nor false",
    ]


def test_check_of_a_policy_that_fails_its_own_tests_exits_2(file: Path) -> None:
    file.write_text(FAILING)
    assert told(run("check", file)) == (2, [], [f"{file}:11:5: GET /4/teams with worklogs: expected allow, got scope_missing"])


def test_check_warns_of_a_carve_out_and_exits_0(file: Path) -> None:
    file.write_text(GOOD.replace("GET /4/skills", "GET /4/worklogs/secret"))
    code, out, err = told(run("check", file))
    assert (code, len(out), len(err)) == (0, 1, 2)
    assert all(line.startswith(f"{file}:8:1: warning: GET /4/worklogs/secret is left out, but ") for line in err)


def test_check_as_json_has_faults_and_counts(file: Path) -> None:
    facts = json.loads(run("check", file, "--json").stdout)
    assert facts == {
        "file": str(file),
        "ok": True,
        "faults": [],
        "warnings": [],
        "hash": load_policy(file).hash,
        "scopes": 2,
        "routes": 4,
        "unmapped": 1,
        "tests": 1,
    }
    file.write_text(FAILING)
    result = run("check", file, "--json")
    assert (result.exit_code, result.stderr) == (2, "")
    assert json.loads(result.stdout)["faults"] == [
        {"file": str(file), "line": 11, "column": 5, "message": "GET /4/teams with worklogs: expected allow, got scope_missing"}
    ]


def test_file_that_is_not_there_is_one_plain_line(tmp_path: Path) -> None:
    for command in (["check"], ["test"], ["explain", "GET", "/", "--policy"]):
        assert told(run(*command, tmp_path / "none.yaml")) == (2, [], [f"{tmp_path}/none.yaml: there is no such file"])


def test_file_name_can_not_steer_the_terminal(tmp_path: Path) -> None:
    assert told(run("check", tmp_path / "\x1b[31m")) == (2, [], [f"{tmp_path}/\\x1b[31m: there is no such file"])


def test_own_tests_that_hold_exit_0_and_one_that_fails_exits_1(file: Path) -> None:
    assert told(run("test", file)) == (0, [f"{file}: tests 1, failed 0"], [])
    file.write_text(FAILING)
    assert told(run("test", file)) == (1, [f"{file}: tests 2, failed 1"], [f"{file}:11:5: GET /4/teams with worklogs: expected allow, got scope_missing"])
    facts = json.loads(run("test", file, "--json").stdout)
    assert (facts["ok"], facts["tests"], len(facts["failed"])) == (False, 2, 1)
    file.write_text(BAD)
    assert run("test", file).exit_code == 2
    assert (run("test", file, "--json").exit_code, len(json.loads(run("test", file, "--json").stdout)["faults"])) == (2, 3)
    file.write_text(GOOD[: GOOD.index("tests:")])
    assert told(run("test", file)) == (0, [f"{file}: has no tests"], [])


def test_explain_of_an_allowed_request_exits_0_and_says_by_which_rule(file: Path) -> None:
    assert told(run("explain", "GET", "/4/worklogs/1?x=y", "--policy", file, "--grant", "worklogs:view", "--grant", "teams")) == (
        0,
        [
            "GET /4/worklogs/1?x=y",
            "allow. The token holds worklogs:view.",
            f"  matched   GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS /4/worklogs/**, {file}:4",
            "  scope     worklogs (Worklogs), Entries",
            "  needs     worklogs:view",
            "  held      worklogs:view, teams:manage",
        ],
        [],
    )


def test_explain_of_a_refused_request_exits_1_and_says_what_is_missing(file: Path) -> None:
    assert told(run("explain", "delete", "/4/worklogs/search", "--policy", file, "--grant", "worklogs:view")) == (
        1,
        [
            "DELETE /4/worklogs/search",
            "deny: scope_missing. The route needs worklogs:manage; the token holds worklogs:view.",
            f"  matched   GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS /4/worklogs/**, {file}:4",
            "  scope     worklogs (Worklogs), Entries",
            "  needs     worklogs:manage",
            "  held      worklogs:view",
            "  missing   worklogs:manage",
            f"  not taken POST /4/worklogs/search, {file}:5: takes only POST",
        ],
        [],
    )
    assert run("explain", "GET", "/4/skills", "--policy", file).stdout.splitlines()[1:3] == [
        "deny: route_unmapped. The policy leaves /4/skills out on purpose.",
        f"  matched   GET, HEAD /4/skills (left out), {file}:8",
    ]


def test_explain_as_json_has_the_keys_of_the_contract_and_its_reasons(file: Path) -> None:
    result = run("explain", "POST", "/4/worklogs/1", "--policy", file, "--grant", "worklogs:view", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (
        1,
        {
            "decision": "deny",
            "code": "scope_missing",
            "route": "/4/worklogs/**",
            "scope": "worklogs",
            "access": "manage",
            "granted": ["worklogs:view"],
            "missing": ["worklogs:manage"],
            "detail": "The route needs worklogs:manage; the token holds worklogs:view.",
            "forwarded": False,
            "rule": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS /4/worklogs/**",
            "tried": [],
        },
    )
    result = run("explain", "GET", "/4/status", "--policy", file, "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (
        0,
        {
            "decision": "allow",
            "code": None,
            "route": "/4/status",
            "scope": None,
            "access": None,
            "granted": [],
            "missing": [],
            "detail": "The route is public: no token is asked for.",
            "forwarded": True,
            "rule": "GET, HEAD /4/status (public)",
            "tried": [],
        },
    )


def test_explain_of_the_target_as_sent_shows_no_control_on_the_terminal(file: Path) -> None:
    code, out, _ = told(run("explain", "GET", "/4/\x1b[31m\udcff", "--policy", file))
    assert (code, out[0]) == (1, "GET /4/\\x1b[31m\\udcff")
    assert out[1].startswith("deny: path_ambiguous.")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["GTE", "/4"], "'GTE' is no method that the gateway knows: write METHOD, then PATH, as in GET /4/worklogs"),
        (["/4", "GET"], "'/4' is no method that the gateway knows: write METHOD, then PATH, as in GET /4/worklogs"),
        (["GET", "/4", "--grant", "worklogs:veiw"], "--grant: 'worklogs:veiw' is no grant: after the colon comes view or manage"),
        (["GET", "/4", "--grant", "a", "--token", "b"], "--grant and --token together: say one of them"),
    ],
)
def test_wrong_use_of_explain_is_one_plain_line_and_exit_2(file: Path, arguments: list[str], line: str) -> None:
    assert told(run("explain", *arguments, "--policy", file)) == (2, [], [line])


@pytest.mark.parametrize("arguments", [["check"], ["explain", "GET"], ["check", "a", "b"], ["nothing"], ["check", "a", "--nothing"]])
def test_wrong_arguments_exit_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_grant_of_no_scope_is_told_and_counts_for_nothing(file: Path) -> None:
    code, _, err = told(run("explain", "GET", "/4/teams", "--policy", file, "--grant", "team"))
    assert (code, err) == (1, ["warning: 'team' is no scope of this policy: known are worklogs, teams"])


def test_explain_uses_the_configured_policy(tmp_path: Path, file: Path) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(f"policy: {file}\nupstreams: {{api: {{url: 'http://127.0.0.1:9'}}}}\n")
    assert run("explain", "GET", "/4/status", "-c", config).exit_code == 0
    assert run("explain", "GET", "/4/status", SCOPEGATE_CONFIG=str(config)).exit_code == 0
    assert told(run("explain", "GET", "/4/status", "-c", tmp_path / "none.yaml")) == (2, [], [f"{tmp_path}/none.yaml: there is no such file"])
    file.write_text(BAD)
    assert len(told(run("explain", "GET", "/4/status", "-c", config))[2]) == 3


def test_explain_by_a_token_takes_its_grants_and_says_when_it_has_ended(tmp_path: Path, file: Path, options: StoreOptions) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(
        f"policy: {file}\nstore: {{url: '{options.url}', data_dir: '{tmp_path}/data', timeout: 5s}}\nupstreams: {{api: {{url: 'http://127.0.0.1:9'}}}}\n"
    )

    async def create() -> str:
        async with open_store(config) as issuance:
            issued = await issuance.create(name="n", owner="u1", grants=["worklogs:view"], policy=load_policy(file))
            return issued.token.id

    async def revoke(token_id: str) -> None:
        async with open_store(config) as issuance:
            await issuance.revoke(token_id)

    def code(method: str, path: str) -> tuple[int, str | None]:
        result = run("explain", method, path, "--token", token_id, "-c", config, "--json")
        return result.exit_code, json.loads(result.stdout)["code"]

    token_id = asyncio.run(create())
    assert code("GET", "/4/worklogs/1") == (0, None)
    assert code("PUT", "/4/worklogs/1") == (1, "scope_missing")
    asyncio.run(revoke(token_id))
    assert code("GET", "/4/worklogs/1") == (1, "token_revoked")
    assert code("GET", "/4/status") == (0, None)
    unknown = run("explain", "GET", "/4/teams", "--token", "A" * 12, "-c", config)
    assert (unknown.exit_code, unknown.stdout, len(unknown.stderr.splitlines())) == (1, "", 1)


def test_store_that_is_not_there_is_one_plain_line_and_exit_2(tmp_path: Path, file: Path) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(
        f"policy: {file}\nstore: {{url: 'unix://{tmp_path}/none.sock', data_dir: '{tmp_path}/data'}}\nupstreams: {{api: {{url: 'http://127.0.0.1:9'}}}}\n"
    )
    code, out, err = told(run("explain", "GET", "/4/teams", "--token", "A" * 12, "-c", config))
    assert (code, out, len(err)) == (2, [], 1)


def test_schema_is_printed(tmp_path: Path) -> None:
    result = run("schema")
    assert (result.exit_code, result.stdout) == (0, policy_schema())
