"""The wheel, built once, and the program that it installs."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.shape.tree import ROOT


@dataclass(frozen=True)
class Installed:
    """A virtual environment with the wheel in it; the packages that it needs are lent by the environment of the tests."""

    bin: Path
    environ: Mapping[str, str] = field(repr=False)

    def run(self, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """A program of that environment: ``run("scopegate", "--version", cwd=…)``."""
        return subprocess.run([self.bin / words[0], *words[1:]], cwd=cwd, env=self.environ, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = list(folder.glob("*.whl"))
    assert len(built) == 1
    return built[0]


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, symlinks=True)
    into: list[str | Path] = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "--isolated", "--disable-pip-version-check"]
    done = subprocess.run([*into, "install", "--quiet", "--no-deps", "--no-index", wheel], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SCOPEGATE_")}
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return Installed(folder / "bin", {**plain, "PATH": path, "PYTHONPATH": sysconfig.get_paths()["purelib"], "COLUMNS": "120"})
