"""docs/policy.md names every key, and the commands in it give what it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.policy_file.load import load_policy
from gateway.policy_file.model import PathsModel, PolicyModel, RouteModel, ScopeModel, TestModel, TokensModel

DOC = (Path(__file__).parents[3] / "docs" / "policy.md").read_text(encoding="utf-8")
CALLED = [
    *(("GET", f"/v2/{path}") for path in ("orders/4711", "orders/4712", "orders/4713/lines", "stock")),
    ("POST", "/v2/orders/search"),
    ("PUT", "/v2/orders/4711"),
]
BLOCKS = re.findall(r"```yaml\n(.*?)```", DOC, re.DOTALL)
SHOP = BLOCKS[0]
REPORT = next(block for block in BLOCKS if block.startswith("version: 1\nenforcement: report\n"))
SHOP_NEXT = next(block for block in BLOCKS if "\n  returns: " in block)
SHOP_API = next(block for block in BLOCKS if block.startswith("openapi:"))
BROKEN_API = (
    "openapi: 3.1.0\n"
    "paths: {/orders: {$ref: parts/orders.yaml}, /stock: {$ref: '#/components/pathItems/stock'}}\n"
    "components: {pathItems: {stock: {$ref: '#/paths/~1stock'}}}\n"
)
# What somebody made of the imported policy.
CHANGES = {
    'path: "/v2/orders/{id}", methods: [GET, DELETE]': "path: /v2/stock-takes",
    "/search, methods: [POST], scope: orders, access: view": "/search, methods: [POST], scope: stock-items",
    'sku}", methods: [GET, PUT], scope: stock-items': 'sku}", methods: [GET, PUT], public: true',
}
KEYS = [
    *(name for name in PolicyModel.model_fields if name not in {"tokens", "paths"}),
    *(f"tokens.{name}" for name in TokensModel.model_fields),
    *(f"paths.{name}" for name in PathsModel.model_fields),
    *(f"scopes.ID.{name}" for name in ScopeModel.model_fields),
    *(f"routes[].{name}" for name in RouteModel.model_fields),
]


@pytest.mark.parametrize("key", KEYS)
def test_key_has_a_row_of_its_own(key: str) -> None:
    assert f"\n| `{key}` | " in DOC


def test_no_row_names_a_key_that_is_not_there() -> None:
    table = DOC[DOC.index("## Every key") : DOC.index("Durations are a whole number")]
    assert sorted(re.findall(r"^\| `([^`]*)` \|", table, re.MULTILINE)) == sorted(KEYS)


def test_keys_of_a_test_are_told() -> None:
    told = DOC[DOC.index("## The policy's own tests") : DOC.index("## Loading")]
    assert all(f"`{name}`" in told for name in TestModel.model_fields)
    assert all(f"`{code}`" in told for code in ("allow", "scope_missing", "route_unmapped", "method_not_allowed", "path_ambiguous"))


def test_table_of_matching_is_what_the_table_finds(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(
        'version: 1\nscopes: {a: {}}\nroutes: [{path: /orders/**, scope: a}, {path: /orders/search, methods: [POST], scope: a}, {path: "/{area}/search", methods: [GET], scope: a}]\n'
    )
    find = load_policy(file).table.find
    rows = re.findall(r"^\| (`(?:GET|POST) /.*?) \| (.*?) \|$", DOC, re.MULTILINE)
    assert len(rows) == 5
    for requests, answer in rows:
        for method, path in re.findall(r"`([A-Z]+) (\S+)`", requests):
            found = find(path, method)
            assert answer.startswith("none" if found is None else f"`{found.template}`")  # type: ignore[union-attr]


@pytest.mark.parametrize("block", re.findall(r"```console\n(.*?)```", DOC, re.DOTALL), ids=lambda block: block.splitlines()[0].removeprefix("$ scopegate "))
def test_command_gives_what_the_page_shows(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "shop.yaml").write_text(SHOP, encoding="utf-8")
    (tmp_path / "policies" / "shop-next.yaml").write_text(SHOP_NEXT, encoding="utf-8")
    broken = SHOP.replace("scope: stock, rate", "scope: stok, rate").replace("public: true", "public: yes").replace("was: [warehouse]", "was: [orders]")
    (tmp_path / "policies" / "broken.yaml").write_text(broken, encoding="utf-8")
    (tmp_path / "policies" / "report.yaml").write_text(REPORT, encoding="utf-8")
    (tmp_path / "access.log").write_text("".join(f'{{"method": "{method}", "status": 200, "path": "{path}"}}\n' for method, path in CALLED))
    (tmp_path / "shop-api.yaml").write_text(SHOP_API, encoding="utf-8")
    (tmp_path / "broken-api.yaml").write_text(BROKEN_API, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    changed = CliRunner().invoke(app, ["policy", "import-openapi", "shop-api.yaml"]).stdout.partition("\ntests:")[0] + "\n"
    for before, after in CHANGES.items():
        changed = changed.replace(before, after)
    (tmp_path / "policies" / "changed.yaml").write_text(changed, encoding="utf-8")
    command, _, shown = block.partition("\n")
    result = CliRunner().invoke(app, command.removeprefix("$ scopegate ").split(), env={"SCOPEGATE_CONFIG": ""})
    assert result.output == shown
