from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import app
from tests.shape.tree import ROOT

CUTS = ROOT / "tests" / "vectors" / "openapi"
SHOP = CUTS / "shop-3.1.yml"


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, ["policy", *map(str, arguments)], env={"SCOPEGATE_CONFIG": "", "COLUMNS": "80"})
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "shop.yaml"
    assert run("import-openapi", SHOP, "--output", path).exit_code == 0
    return path


@pytest.mark.parametrize("spec", sorted(CUTS.iterdir()), ids=lambda path: path.name)
def test_an_imported_policy_passes_check_and_covers_its_document(spec: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    made = run("import-openapi", spec, "-o", path)
    assert (made.exit_code, made.stdout) == (0, "")
    assert made.stderr.startswith(f"{spec}: operations ")
    assert run("check", path).exit_code == 0
    covered = run("coverage", spec, path)
    assert (covered.exit_code, covered.stdout.splitlines()[-1][-11:]) == (0, "all covered")


def test_without_a_file_the_policy_goes_to_stdout_and_the_rest_to_stderr(policy: Path) -> None:
    made = run("import-openapi", SHOP)
    assert made.stdout == policy.read_text("utf-8")
    assert made.stderr.splitlines() == [
        f"{SHOP}: operations 15: scopes 4, routes 8, left out 1, decide 10",
        f"{SHOP}: TRACE /v2/health is not in the policy: TRACE is never forwarded",
        f"{SHOP}: GET /v2/carts//items is not in the policy: no request can match this: the path holds an empty segment (two slashes)",
    ]


def test_a_file_that_is_there_is_replaced_only_by_force(policy: Path) -> None:
    policy.write_text("mine")
    refused = run("import-openapi", SHOP, "-o", policy)
    assert (refused.exit_code, refused.stderr) == (2, f"{policy} is there already: --force replaces it\n")
    assert policy.read_text() == "mine"
    assert run("import-openapi", SHOP, "-o", policy, "--force").exit_code == 0
    assert policy.read_text().startswith("# A first policy for Shop")
    assert [path.name for path in policy.parent.iterdir()] == [policy.name]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    refused = run("import-openapi", SHOP, "-o", tmp_path / "none" / "p.yaml")
    assert (refused.exit_code, refused.stderr) == (2, f"{tmp_path / 'none' / 'p.yaml'} can't be written: No such file or directory\n")


def test_a_folder_in_the_files_place_is_told_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").mkdir()
    refused = run("import-openapi", SHOP, "-o", tmp_path / "p.yaml", "--force")
    assert (refused.exit_code, refused.stderr) == (2, f"{tmp_path / 'p.yaml'} can't be written: Is a directory\n")
    assert [path.name for path in tmp_path.iterdir()] == ["p.yaml"]


def test_import_as_json_says_what_was_made(tmp_path: Path) -> None:
    facts = json.loads(run("import-openapi", SHOP, "-o", tmp_path / "p.yaml", "--json").stdout)
    never = facts.pop("never")
    assert facts == {"spec": str(SHOP), "policy": str(tmp_path / "p.yaml"), "operations": 15, "scopes": 4, "routes": 8, "unmapped": 1, "decide": 10}
    assert [item["request"] for item in never] == ["TRACE /v2/health", "GET /v2/carts//items"]
    refused = run("import-openapi", SHOP, "--json")
    assert (refused.exit_code, refused.stderr) == (2, "--json tells what was made, so the policy needs --output FILE\n")


def test_a_prefix_stands_in_place_of_the_servers_paths() -> None:
    assert "path: /shop/orders," in run("import-openapi", SHOP, "--prefix", "/shop/").stdout
    assert "path: /orders," in run("import-openapi", SHOP, "--prefix", "/").stdout
    refused = run("import-openapi", SHOP, "--prefix", "shop")
    assert (refused.exit_code, refused.stderr) == (2, "--prefix: 'shop' must begin with a slash, as in /v2; / alone stands for nothing\n")


CHANGES = {
    '"/v2/stock/{sku}", methods: [GET, PUT], scope: stock-items': '"/v2/stock/{sku}", methods: [PUT], public: true',
    "path: /v2/orders, methods": "path: /v2/ordering, methods",
    'path: "/v2/files/**", methods: [GET], scope: stock-items': 'path: "/v2/files/**", methods: [GET], scope: orders',
    "/v2/health, methods: [GET], public: true": "/v2/health, methods: [GET], scope: stock-items",
}


def test_coverage_tells_each_kind_of_gap_with_its_place_and_exits_1(policy: Path) -> None:
    text = policy.read_text("utf-8").partition("\ntests:")[0] + "\n"
    for before, after in CHANGES.items():
        assert before in text
        text = text.replace(before, after)
    policy.write_text(text)
    line = {part: next(number for number, line in enumerate(text.splitlines(), 1) if part in line) for part in ("ordering", "{sku}", "files")}
    found = run("coverage", SHOP, policy)
    assert found.exit_code == 1
    assert found.stdout.splitlines() == [
        "without a route: 3",
        "  GET /v2/orders",
        "  POST /v2/orders",
        "  GET /v2/stock/{sku}",
        "routes without an operation: 1",
        f"  GET, HEAD, POST /v2/ordering, {policy}:{line['ordering']}",
        "reached by the scope of another tag: 1",
        f"  GET /v2/files/{{path*}} by orders, GET, HEAD /v2/files/**, {policy}:{line['files']}; Stock Items has stock-items",
        "public, though the document asks for a credential: 1",
        f"  PUT /v2/stock/{{sku}} by all, PUT /v2/stock/{{sku}}, {policy}:{line['{sku}']}",
        "left out on purpose: 1",
        "  GET /v2/reports/report-{year}",
        "never reached, whatever a policy says: 2",
        "  TRACE /v2/health: TRACE is never forwarded",
        "  GET /v2/carts//items: no request can match this: the path holds an empty segment (two slashes)",
        f"{SHOP} and {policy}: operations 15, not all covered",
    ]


def test_coverage_as_json_has_every_list(policy: Path) -> None:
    policy.write_text(policy.read_text("utf-8").partition("\ntests:")[0].replace("path: /v2/orders, ", "path: /v2/ordering, ") + "\n")
    found = run("coverage", SHOP, policy, "--json")
    facts = json.loads(found.stdout)
    assert found.exit_code == 1
    assert (facts["ok"], facts["operations"], facts["broader"], facts["public"]) == (False, 15, [], [])
    assert facts["without_route"] == [{"method": method, "path": "/v2/orders", "tags": ["Orders"]} for method in ("GET", "POST")]
    (route,) = facts["without_operation"]
    assert (route["route"], route["methods"], route["scope"]) == ("/v2/ordering", ["GET", "HEAD", "POST"], "orders-2")
    assert facts["left_out"] == [{"method": "GET", "path": "/v2/reports/report-{year}", "tags": ["Stock Items"]}]
    assert len(facts["never"]) == 2


BAD = {
    "is no OpenAPI": (
        '{"name": "package"}',
        ["spec: this is no OpenAPI document that can be read: it has neither openapi: nor swagger:; known are 2.0, 3.0 and 3.1"],
    ),
    "is not even YAML": ("a: [b\nc: d", ["spec:2:2: this is neither JSON nor YAML: while parsing a flow sequence did not find expected ',' or ']'"]),
    "is empty": ("", ["spec: this is no OpenAPI document: it must be a mapping with openapi: 3.x or swagger: 2.0"]),
    "refers to another file and in a circle": (
        "openapi: 3.0.0\npaths:\n  /a: {$ref: far.yaml#/a}\n  /b: {$ref: '#/paths/~1c'}\n  /c: {$ref: '#/paths/~1b'}\n",
        [
            "spec: #/paths/~1a/$ref: far.yaml#/a is in another file or on another host, and is not fetched: bundle the document into one file first",
            "spec: #/paths/~1b/$ref: the references go round in a circle (#/paths/~1c -> #/paths/~1b -> #/paths/~1c): write one of them out",
            "spec: #/paths/~1c/$ref: the references go round in a circle (#/paths/~1b -> #/paths/~1c -> #/paths/~1b): write one of them out",
        ],
    ),
    "holds 50 MB of something else": (
        json.dumps({"x": ["x" * 1000] * 50_000}),
        ["spec: this is no OpenAPI document that can be read: it has neither openapi: nor swagger:; known are 2.0, 3.0 and 3.1"],
    ),
    "is cut off after 50 MB": ('{"openapi": "3.0.0", "x": "' + "x" * 50_000_000, ["spec:1:27: this is not JSON: unterminated string starting at"]),
    "is over 64 MiB": (" " * (64 * 1024 * 1024 + 1), ["spec: the document is over 64 MiB: leave out parts, or split it by its paths"]),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_document_that(kind: str, tmp_path: Path, policy: Path) -> None:
    spec, output = tmp_path / "spec", tmp_path / "p.yaml"
    spec.write_text(BAD[kind][0])
    told = [line.replace("spec:", f"{spec}:", 1) for line in BAD[kind][1]]
    made = run("import-openapi", spec, "-o", output)
    assert (made.exit_code, made.stdout, sorted(made.stderr.splitlines())) == (2, "", sorted(told))
    assert not output.exists()
    compared = run("coverage", spec, policy)
    assert (compared.exit_code, compared.stdout, compared.stderr) == (2, "", made.stderr)
    if len(BAD[kind][0]) < 1000:
        for arguments in (("import-openapi", spec, "-o", output), ("coverage", spec, policy)):
            refused = run(*arguments, "--json")
            facts = json.loads(refused.stdout)
            assert (refused.exit_code, refused.stderr, facts.pop("ok")) == (2, made.stderr, False)
            assert [set(fault) for fault in facts.pop("faults")] == [{"file", "line", "column", "message"}] * len(told)
            assert not facts


def test_the_faults_of_both_files_are_told(tmp_path: Path) -> None:
    """Seen to fail where the first file that can't be used ends it."""
    spec, policy = tmp_path / "spec", tmp_path / "p.yaml"
    spec.write_text("")
    found = run("coverage", spec, policy, "--json")
    assert found.exit_code == 2
    assert [line.partition(": ")[0] for line in found.stderr.splitlines()] == [str(spec), str(policy)]
    assert [fault["file"] for fault in json.loads(found.stdout)["faults"]] == [str(spec), str(policy)]


def test_a_policy_with_faults_is_not_compared(policy: Path) -> None:
    policy.write_text("version: 1\nscopes: {a: {}}\nroutes: []\n")
    found = run("coverage", SHOP, policy)
    assert (found.exit_code, found.stdout) == (2, "")
    assert found.stderr == f"{policy}:2:10: scope 'a' has no route: map one to it, or remove it\n"
