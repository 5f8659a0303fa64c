"""Which Python runs Scopegate: ours, or another one's virtual environment (BENCH_PYTHON), and how that was built.

How an interpreter was built decides about an eighth of what a request costs, so every result says it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from bench.ground import ROOT
from bench.processes import CannotMeasure

OLDEST: Final = (3, 11)
_LOCK: Final = ROOT / "requirements/run.txt"
_FOLDER: Final = ROOT / ".venv/pythons"
_ASKED: Final = """
import json, platform, sys, sysconfig
from importlib.metadata import PackageNotFoundError, version
def of(name):
    try: return version(name)
    except PackageNotFoundError: return ""
print(json.dumps({
    "name": f"{platform.python_implementation()} {platform.python_version()}",
    "version": sys.version_info[:2],
    "file": getattr(sys, "_base_executable", sys.executable),
    "arguments": sysconfig.get_config_var("CONFIG_ARGS") or "",
    "libraries": {name: of(name) for name in sys.argv[1:]},
}))
"""


def facts(python: Path | str, *libraries: str) -> dict[str, Any]:
    """What an interpreter says of itself and of the versions of these libraries in it. CannotMeasure."""
    try:
        said = subprocess.run([python, "-I", "-c", _ASKED, *libraries], capture_output=True, text=True, check=False, timeout=30)
        found: dict[str, Any] = json.loads(said.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        raise CannotMeasure(f"BENCH_PYTHON: {python} is no Python that runs here: name the file of one") from None
    return found


def interpreter(named: str) -> Path:
    """The interpreter with Scopegate's libraries in it: this one, or (``named``) that of a virtual environment, made at the first use from the lock
    in ``requirements/run.txt``. CannotMeasure."""
    if not named:
        return Path(sys.executable)
    found = facts(named)
    if tuple(found["version"]) < OLDEST:
        raise CannotMeasure(f"BENCH_PYTHON: {named} is {found['name']}: Scopegate needs Python 3.11 or newer")
    mark = sha256(f"{os.path.realpath(found['file'])} {found['name']}".encode()).hexdigest()[:8]
    folder = _FOLDER / f"{found['name'].rpartition(' ')[2]}-{mark}"
    python, stamp = folder / "bin/python", folder / "installed"
    if not stamp.exists() or stamp.read_bytes() != _LOCK.read_bytes():
        print(f"bench: installing {_LOCK.relative_to(ROOT)} for {named}", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        _run(named, [named, "-m", "venv", folder])
        _run(named, [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", _LOCK])
        shutil.copy(_LOCK, stamp)  # last, so that what was broken off is made anew
    return python


def _run(named: str, command: list[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise CannotMeasure(f"BENCH_PYTHON: no virtual environment can be made for {named}: {lines[-1] if lines else 'it does not say why'}")


def become(module: str) -> None:
    """Where BENCH_PYTHON names another interpreter, run ``python -m module`` with that one instead, with the same arguments. CannotMeasure."""
    chosen = interpreter(os.environ.get("BENCH_PYTHON", ""))
    if chosen != Path(sys.executable):
        os.execve(chosen, [str(chosen), "-m", module, *sys.argv[1:]], {**os.environ, "PYTHONPATH": str(ROOT), "BENCH_PYTHON": ""})


def build(python: Path | str) -> str:
    """The interpreter, and how it was built."""
    found = facts(python)
    return build_of(found["name"], found["arguments"], packaged=packager(Path(os.path.realpath(found["file"]))))


def build_of(name: str, arguments: str, *, packaged: str = "") -> str:
    """``name`` with what the arguments of its ./configure say. ``packaged``: by whom its file was packaged, where that was Debian or who builds
    as Debian does: its rules switch both on past ./configure, and take the traces out of what Python tells of itself."""
    if packaged:
        return f"{name}, {packaged}'s package, built with PGO and LTO"
    pgo, lto = "--enable-optimizations" in arguments, bool(re.search(r"--with-lto(?!=no)", arguments))
    built = {(True, True): "with PGO and LTO", (True, False): "with PGO, without LTO", (False, True): "with LTO, without PGO"}
    return f"{name}, built {built.get((pgo, lto), 'without PGO and LTO')}"


def packager(file: Path) -> str:
    """The distribution whose package holds this interpreter, "" where no Debian package does."""
    try:
        asked = subprocess.run(["dpkg-query", "-S", file], capture_output=True, text=True, check=False)
        release = Path("/etc/os-release").read_text("utf-8", "replace")
    except OSError:
        return ""
    name = re.search(r'^ID="?([\w.-]+)', release, re.MULTILINE)
    return name[1].capitalize() if asked.returncode == 0 and asked.stdout.startswith("python3") and name else ""
