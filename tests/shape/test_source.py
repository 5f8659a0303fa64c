"""The law of the source: which way imports point, sizes, names, words that mean unfinished work, tasks that are kept."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.shape.tree import ROOT, files, sources, syntax, text

# A file is read in one go. The edge (inbound/connection.py) is the longest; nothing may become longer.
LONGEST = 450
SAYS_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers", "base", "tools"}
UNFINISHED = re.compile(r"\b(?:TO[D]O|FIX[M]E|XX[X]|NotImplemented[E]rror)\b")
PROSE_AND_CODE = (".py", ".lua", ".yaml", ".md", ".toml", ".in", "Makefile")


def lint_imports(config: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([program, "--config", config, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_imports_point_one_way_and_the_core_is_pure() -> None:
    done = lint_imports(ROOT / "pyproject.toml")
    assert done.returncode == 0, done.stdout
    assert "Contracts: 4 kept, 0 broken." in done.stdout


def test_the_page_of_the_code_tells_every_room_and_which_way_imports_point() -> None:
    page = text("docs/code.md")
    contracts = tomllib.loads(text("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    assert f"\n{' > '.join(contracts[0]['layers'])}\n" in page
    rooms = {path.split("/")[1] + ("/" if path.count("/") > 1 else "") for path in sources()} - {"__init__.py", "__main__.py"}
    assert set(re.findall(r"^\| `([\w.]+/?)` \|", page, re.MULTILINE)) == rooms


def test_an_import_against_the_arrow_is_seen(tmp_path: Path) -> None:
    # The same contract with the core above the ports: were it not looked at, it would be kept as well.
    turned = (ROOT / "pyproject.toml").read_text("utf-8").replace('    "ports | policy_file",\n    "core",', '    "core",\n    "ports | policy_file",')
    (tmp_path / "pyproject.toml").write_text(turned)
    done = lint_imports(tmp_path / "pyproject.toml")
    assert done.returncode == 1
    assert "rooms import one way BROKEN" in done.stdout


def test_no_file_is_longer_than_one_can_read_in_one_go() -> None:
    assert [path for path in files(".py", ".lua") if text(path).count("\n") > LONGEST] == []


def test_every_module_has_a_name_that_says_what_is_in_it() -> None:
    assert [path for path in files(".py", ".lua") if {*Path(path).with_suffix("").parts} & SAYS_NOTHING] == []


@pytest.mark.parametrize("line", ["# TO_DO: later", "raise NotImplemented_Error", "FIX_ME", "x = 1  # XX_X"])
def test_words_of_unfinished_work_are_known(line: str) -> None:
    assert UNFINISHED.search(line.replace("_", ""))


def test_nothing_says_of_itself_that_it_is_unfinished() -> None:
    found = [f"{path}:{number}" for path in files(*PROSE_AND_CODE) for number, line in enumerate(text(path).splitlines(), 1) if UNFINISHED.search(line)]
    assert found == []


def loose_tasks(tree: ast.AST) -> list[int]:
    """The lines on which a task is made and its reference thrown away: the loop keeps only a weak one, so such a task may vanish half-way."""
    makers = {"create_task", "ensure_future", "run_coroutine_threadsafe"}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute) and node.value.func.attr in makers
    ]


def test_a_task_thrown_away_is_seen_and_a_kept_one_is_not() -> None:
    assert loose_tasks(ast.parse("loop.create_task(f())\nkept = loop.create_task(f())\nasyncio.ensure_future(f())")) == [1, 3]


def test_every_task_is_kept_by_whoever_made_it() -> None:
    assert [f"{path}:{line}" for path in files(".py") for line in loose_tasks(syntax(path))] == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [path for path in sources() if text(path).strip() and not ast.get_docstring(syntax(path))]
    assert silent == []


def test_every_public_class_says_what_it_is_for() -> None:
    # The sections of the configuration and the policy's models are told key by key in docs/, which tests hold to them.
    told_in_docs = {"gateway/settings/file_model.py", "gateway/policy_file/model.py"}
    silent = [
        f"{path}: {node.name}"
        for path in sources()
        if path not in told_in_docs
        for node in syntax(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert silent == []


def test_annotations_are_never_evaluated() -> None:
    late = "from __future__ import annotations"
    annotated = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.AnnAssign)
    assert [path for path in files(".py") if any(isinstance(node, annotated) for node in ast.walk(syntax(path))) and late not in text(path)] == []
