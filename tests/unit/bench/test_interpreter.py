"""Which Python runs the gateway under measurement, and what is said of how it was built."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench import interpreter as chosen
from bench.interpreter import build, build_of, facts, interpreter, packager
from bench.processes import CannotMeasure


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("'--enable-optimizations' '--with-lto'", "with PGO and LTO"),
        ("'--enable-optimizations' '--with-lto=no'", "with PGO, without LTO"),
        ("'--with-lto=thin'", "with LTO, without PGO"),
        ("'--prefix=/usr'", "without PGO and LTO"),
    ],
)
def test_how_python_was_built_is_read_from_its_configure_line(arguments: str, told: str) -> None:
    assert build_of("CPython 3.11.2", arguments) == f"CPython 3.11.2, built {told}"


def test_a_distributions_package_is_told_as_such_since_its_configure_line_says_less_than_was_done() -> None:
    assert build_of("CPython 3.11.2", "'--prefix=/usr'", packaged="Debian") == "CPython 3.11.2, Debian's package, built with PGO and LTO"
    assert packager(Path(__file__)) == ""


def test_an_interpreter_says_what_it_is_and_what_it_has() -> None:
    found = facts(sys.executable, "aiohttp", "no-such-library")
    assert tuple(found["version"]) == sys.version_info[:2]
    assert found["libraries"]["aiohttp"][0].isdigit()
    assert found["libraries"]["no-such-library"] == ""
    assert build(sys.executable).startswith(found["name"])


def test_without_a_name_the_gateway_runs_by_our_own_interpreter() -> None:
    assert interpreter("") == Path(sys.executable)


def test_what_is_no_python_is_told_in_one_line(tmp_path: Path) -> None:
    silent = tmp_path / "python"
    silent.write_text("#!/bin/sh\necho no\n")
    silent.chmod(0o755)
    for wrong in (str(tmp_path / "gone"), str(silent)):
        with pytest.raises(CannotMeasure, match=rf"^BENCH_PYTHON: {wrong} is no Python that runs here: name the file of one$"):
            interpreter(wrong)


def fake(folder: Path, version: str, does: str = "") -> str:
    """A program that says it is a Python of this version, and does something when it is to make a virtual environment."""
    python = folder / "python"
    minor = version.split(".")[:2]
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -I ] || {{ {does or "exit 1"}; exit; }}\n'
        f'echo \'{{"name": "CPython {version}", "version": [{", ".join(minor)}], "file": "{python}", "arguments": "", "libraries": {{}}}}\'\n'
    )
    python.chmod(0o755)
    return str(python)


def test_a_python_that_is_too_old_is_told(tmp_path: Path) -> None:
    with pytest.raises(CannotMeasure, match=r"is CPython 3\.10\.1: Scopegate needs Python 3\.11 or newer"):
        interpreter(fake(tmp_path, "3.10.1"))


def test_another_python_gets_an_environment_of_its_own_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "_FOLDER", tmp_path / "pythons")
    # Makes an environment whose installer notes each call.
    does = 'mkdir -p "$3/bin"; printf "#!/bin/sh\\necho \\"\\$@\\" >>%s/calls\\n" "$(dirname "$0")" >"$3/bin/python"; chmod 755 "$3/bin/python"'
    named = fake(tmp_path, "3.12.1", does)
    for _ in range(2):
        python = interpreter(named)
        assert python.parent.parent.parent == tmp_path / "pythons"
        assert python.parent.parent.name.startswith("3.12.1-")
        assert os.access(python, os.X_OK)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 1
    assert calls[0].startswith("-m pip install ")
    assert "--require-hashes" in calls[0]


def test_what_keeps_an_environment_from_being_made_is_told_and_nothing_half_made_is_taken_for_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "_FOLDER", tmp_path / "pythons")
    named = fake(tmp_path, "3.12.1", "echo no space left >&2; exit 1")
    for _ in range(2):
        with pytest.raises(CannotMeasure, match=r"no virtual environment can be made for .*: no space left"):
            interpreter(named)
