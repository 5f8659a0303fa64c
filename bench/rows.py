"""Each row's program: how it is started, on which port it answers, which of its processes are the gateway and which the store.

Their configurations are the files in bench/peers, with @PLACES@ filled in.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from contextlib import ExitStack
from hashlib import sha1
from pathlib import Path
from typing import Final, NamedTuple

from bench.plan import LARGE, SMALL
from bench.processes import CannotMeasure, Program, free_port, pin
from gateway.core.token_text import make_token

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent
PEERS: Final = ROOT / ".venv/peers"
_SYSTEM: Final = "/usr/sbin"  # of servers; not on everybody's PATH
_WORKLOG: Final = (
    '{"tempoWorklogId":126,"issue":{"id":10023},"timeSpentSeconds":3600,"startDate":"2026-11-01","description":"%s","author":{"accountId":"5b10a2"}}'
)


class Ground(NamedTuple):
    """What all rows of a sitting stand on: the core of the gateway, that of load, upstream and stores, a folder, the upstream."""

    gateway_core: int
    other_core: int
    folder: Path
    upstream: int
    upstream_program: Program


class Running(NamedTuple):
    """A row that takes requests. ``gateway`` and ``store`` are process ids; ``log`` is emptied after each measurement."""

    port: int
    token_file: Path
    gateway: list[int]
    store: list[int]
    log: Path | None = None


def program(name: str) -> Path:
    """A program's file; CannotMeasure if it is not installed. The wheels' own programs, not their starters in Python, which would cost as well."""
    inside = [*PEERS.glob(f"lib/python3*/site-packages/{name}/_bin/{name}"), PEERS / "bin" / name]
    found = next((path for path in inside if path.is_file()), None) or shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SYSTEM}")
    if not found:
        raise CannotMeasure(f"{name} is not installed: make bench installs it")
    return Path(found)


def configured(name: str, folder: Path, **places: object) -> Path:
    """A file of bench/peers with its places filled in, written to ``folder``."""
    text = (HERE / "peers" / name).read_text("utf-8")
    for place, value in {"FOLDER": folder, **places}.items():
        text = text.replace(f"@{place}@", str(value))
    left = re.search(r"@[A-Z]+@", text)
    if left:
        raise CannotMeasure(f"bench/peers/{name}: nothing is known of {left[0]}")
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def start_upstream(stack: ExitStack, folder: Path, core: int) -> tuple[int, Program]:
    """nginx with the two answers."""
    answers = folder / "answers"
    answers.mkdir()
    for name, size in (("small.json", SMALL), ("large.json", LARGE)):
        (answers / name).write_text(worklogs(size), "ascii")
    port = free_port()
    upstream = stack.enter_context(Program([program("nginx"), "-c", configured("upstream.conf", folder, PORT=port)], [core], folder / "upstream.out"))
    upstream.await_port(port)
    return port, upstream


def worklogs(size: int) -> str:
    """A list of worklogs, JSON of exactly ``size`` bytes."""
    head, tail = '{"metadata":{"offset":0,"limit":50},"results":[', "]}"
    one = len(_WORKLOG % "")
    count = max(1, (size - len(head) - len(tail)) // (one + 100))
    spare = size - len(head) - len(tail) - count * one - (count - 1)
    each, rest = divmod(spare, count)
    return head + ",".join(_WORKLOG % ("x" * (each + (number < rest))) for number in range(count)) + tail


def start_row(row: str, stack: ExitStack, ground: Ground, folder: Path) -> Running:
    """Start a row's program; it ends with ``stack``. CannotMeasure."""
    folder.mkdir()
    return _STARTS[row](stack, ground, folder)


def _token_file(folder: Path, text: str) -> Path:
    path = folder / "token"
    path.touch(0o600)
    path.write_text(text + "\n", "ascii")
    return path


def _made_up(folder: Path) -> Path:
    """For the rows that look at no token: every row gets a request of the same length."""
    return _token_file(folder, make_token("sgt", os.urandom).text)


def _direct(_: ExitStack, ground: Ground, folder: Path) -> Running:
    return Running(ground.upstream, _made_up(folder), ground.upstream_program.pids(), [])


def _peer(stack: ExitStack, ground: Ground, folder: Path, argv: Callable[[int], list[str | Path]]) -> Running:
    port = free_port()
    env = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    peer = stack.enter_context(Program(argv(port), [ground.gateway_core], folder / "out", env))
    peer.await_port(port)
    return Running(port, _made_up(folder), peer.pids(), [])


def _nginx(stack: ExitStack, ground: Ground, folder: Path) -> Running:
    return _peer(stack, ground, folder, lambda port: [program("nginx"), "-c", configured("nginx.conf", folder, PORT=port, UPSTREAM=ground.upstream)])


def _haproxy(stack: ExitStack, ground: Ground, folder: Path) -> Running:
    return _peer(stack, ground, folder, lambda port: [program("haproxy"), "-db", "-f", configured("haproxy.cfg", folder, PORT=port, UPSTREAM=ground.upstream)])


def _envoy(stack: ExitStack, ground: Ground, folder: Path) -> Running:
    def argv(port: int) -> list[str | Path]:
        config = configured("envoy.yaml", folder, PORT=port, UPSTREAM=ground.upstream)
        return [program("envoy"), "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]

    return _peer(stack, ground, folder, argv)


def _caddy(stack: ExitStack, ground: Ground, folder: Path) -> Running:
    def argv(port: int) -> list[str | Path]:
        return [program("caddy"), "run", "--config", configured("Caddyfile", folder, PORT=port, UPSTREAM=ground.upstream), "--adapter", "caddyfile"]

    return _peer(stack, ground, folder, argv)


def _traefik(stack: ExitStack, ground: Ground, folder: Path) -> Running:
    configured("traefik-rules.yaml", folder, UPSTREAM=ground.upstream)
    return _peer(stack, ground, folder, lambda port: [program("traefik"), f"--configFile={configured('traefik.yaml', folder, PORT=port)}"])


def _nginx_lua(stack: ExitStack, ground: Ground, folder: Path) -> Running:
    port, redis_port = free_port(), free_port()
    redis = stack.enter_context(
        Program([program("redis-server"), configured("redis.conf", folder, REDIS=redis_port)], [ground.other_core], folder / "redis.out")
    )
    redis.await_port(redis_port)
    token = make_token("sgt", os.urandom).text
    key = "token:" + b64encode(sha1(token.encode("ascii")).digest()).decode("ascii")
    set_token: list[str | Path] = [program("redis-cli"), "-p", str(redis_port), "set", key, "worklogs teams plans"]
    if subprocess.run(set_token, stdout=subprocess.DEVNULL, check=False).returncode:
        raise CannotMeasure("redis-server does not take the token")
    config = configured("nginx-lua.conf", folder, PORT=port, UPSTREAM=ground.upstream, REDIS=redis_port)
    nginx = stack.enter_context(Program([program("nginx"), "-c", config], [ground.gateway_core], folder / "out"))
    nginx.await_port(port)
    return Running(port, _token_file(folder, token), nginx.pids(), redis.pids())


def _scopegate(**variables: str) -> Callable[[ExitStack, Ground, Path], Running]:
    def start(stack: ExitStack, ground: Ground, folder: Path) -> Running:
        port = free_port()
        config = configured("gateway.yaml", folder, PORT=port, ADMIN=free_port(), UPSTREAM=ground.upstream, POLICY=ROOT / "policies/tempo.yaml")
        env = {name: value for name, value in os.environ.items() if not name.startswith("SCOPEGATE_")} | variables | {"PYTHONPATH": str(ROOT)}
        cores = [ground.gateway_core] if "SCOPEGATE_WORKERS" not in variables else [ground.gateway_core, ground.other_core]
        gateway = stack.enter_context(Program([sys.executable, "-m", "gateway", "serve", "-c", config], cores, folder / "out", env))
        gateway.await_port(port)
        asked = [sys.executable, "-m", "gateway", "token", "create", "--name", "bench", "--scope", "worklogs", "-c", str(config)]
        made = subprocess.run(asked, env=env, capture_output=True, text=True, check=False)
        if made.returncode:
            raise CannotMeasure(f"scopegate makes no token: {made.stderr.strip()}")
        own, store = gateway.split()
        for pid in store:  # it began on the gateway's core; Redis has its place beside load and upstream too
            pin(pid, ground.other_core)
        return Running(port, _token_file(folder, made.stdout.strip()), own, store, folder / "access.jsonl")

    return start


_STARTS: Final[dict[str, Callable[[ExitStack, Ground, Path], Running]]] = {
    "direct": _direct,
    "nginx": _nginx,
    "haproxy": _haproxy,
    "nginx-lua": _nginx_lua,
    "envoy": _envoy,
    "caddy": _caddy,
    "traefik": _traefik,
    "scopegate": _scopegate(),
    "scopegate-ask": _scopegate(SCOPEGATE_CACHE__RECORDS="0"),
    "scopegate-2": _scopegate(SCOPEGATE_WORKERS="2"),
}
