"""Each row's program: how it is started, on which port it answers, which of its processes are the gateway and which the store.

Their configurations are the files in bench/peers, with @PLACES@ filled in.
"""

from __future__ import annotations

import os
import subprocess
from base64 import b64encode
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from hashlib import sha1
from pathlib import Path
from typing import Final

from bench import scopegate
from bench.ground import Ground, Running, configured, program, token_file
from bench.processes import CannotMeasure, Program, free_port
from gateway.core.token_text import make_token


def start_row(row: str, stack: ExitStack, ground: Ground, folder: Path) -> Running:
    """Start a row's program; it ends with ``stack``. CannotMeasure."""
    folder.mkdir()
    return _STARTS[row](stack, ground, folder)


def _made_up(folder: Path) -> Path:
    """For the rows that look at no token: every row gets a request of the same length."""
    return token_file(folder, make_token("sgt", os.urandom).text)


def _direct(_: ExitStack, ground: Ground, folder: Path) -> Running:
    return Running(ground.upstream, _made_up(folder), ground.upstream_program.pids(), [])


def _peer(stack: ExitStack, ground: Ground, folder: Path, argv: Callable[[int], list[str | Path]]) -> Running:
    port = free_port()
    env = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    peer = stack.enter_context(Program(argv(port), [ground.gateway_core], folder / "out", env))
    peer.await_answer(port)
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
    nginx.await_answer(port)
    return Running(port, token_file(folder, token), nginx.pids(), redis.pids())


_STARTS: Final[dict[str, Callable[[ExitStack, Ground, Path], Running]]] = {
    "direct": _direct,
    "nginx": _nginx,
    "haproxy": _haproxy,
    "nginx-lua": _nginx_lua,
    "envoy": _envoy,
    "caddy": _caddy,
    "traefik": _traefik,
    "scopegate": scopegate.start_row,
    "scopegate-ask": partial(scopegate.start_row, variables={"SCOPEGATE_CACHE__RECORDS": "0"}),
    "scopegate-2": partial(scopegate.start_row, workers=2),
}
