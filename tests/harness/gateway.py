"""The gateway as its operator runs it: ``python -m gateway serve`` with a folder of its own, driven from outside."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import redis

from gateway.store.embedded import socket_path
from tests.harness.waiting import eventually
from tests.harness.wire import Answer, Wire, request

ADMIN_KEY = "harness-admin-key-0123456789abcdef0123456789"
ROOT = Path(__file__).parents[2]
START_S = 30.0
POLICY = """\
version: 1
tokens: {max_per_owner: 100000}
scopes:
  worklogs: {title: Worklogs}
  teams: {title: Teams}
  accounts: {title: Accounts}
routes:
  - {path: "/4/worklogs/**", scope: worklogs}
  - {path: /4/worklogs/search, methods: [POST], scope: worklogs, access: view}
  - {path: "/4/teams/**", scope: teams}
  - {path: "/4/accounts/**", scope: accounts}
  - {path: "/4/files/{name}", methods: [GET, HEAD], scope: accounts, encoded_slash: true}
  - {path: "/4/status/**", methods: [GET, POST], public: true}
  - {path: "/4/limited/{name}", methods: [GET], scope: worklogs, rate_limit: {requests: 2, per: 60s}}
  - {path: "/4/limited-status", methods: [GET], public: true, rate_limit: {requests: 2, per: 60s}}
  - {path: "/4/small/{name}", methods: [POST], scope: worklogs, max_body: 1KiB}
  - {path: "/4/quick/{name}", methods: [GET, POST], scope: worklogs, timeout: 600ms}
  - {path: "/4/quiet/{name}", methods: [GET], scope: worklogs, stream: true}
unmapped: [GET /4/worklogs/hidden]
"""


class Made(NamedTuple):
    """A token and its secret. The repr keeps the secret."""

    id: str
    secret: str

    def __repr__(self) -> str:
        return f"Made(id={self.id!r})"


class NotReady(AssertionError):
    """serve ended, or never became ready; the text holds its log."""


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command_line(pid: int) -> bytes:
    """A process's arguments, parted by NUL; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


class GatewayProcess:
    """One ``serve``. ``settings`` are merged over the configuration, ``upstream`` over its only upstream ``api``. Leaves nothing behind."""

    def __init__(
        self,
        upstream_url: str,
        *,
        policy: str = POLICY,
        settings: Mapping[str, Any] | None = None,
        upstream: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gateway-test-"))
        self.port, self.admin_port = free_port(), free_port()
        self.data_dir = self.folder / "data"
        self.policy_file = self.folder / "policy.yaml"
        self.policy_file.write_text(policy)
        self.config_file = self.folder / "gateway.yaml"
        self.settings: dict[str, Any] = {
            "listen": f"127.0.0.1:{self.port}",
            "policy": str(self.policy_file),
            "policy_watch": False,  # a test that writes a policy says when it is read
            "admin": {"listen": f"127.0.0.1:{self.admin_port}"},
            "store": {"data_dir": str(self.data_dir), "timeout": "3s"},
            "upstreams": {"api": {"url": upstream_url, **(upstream or {})}},
            **(settings or {}),
        }
        # What a developer has set for a gateway of his own is none of this one's.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SCOPEGATE_")}
        self.environ = {**inherited, "SCOPEGATE_ADMIN__KEY": ADMIN_KEY, "PYTHONPATH": str(ROOT), **(environ or {})}
        self.process: subprocess.Popen[bytes] | None = None
        self._tokens: dict[tuple[str, ...], Made] = {}
        self.log_file = self.folder / "log"

    # -- life

    def launch(self) -> Self:
        """Start it and do not wait."""
        self.config_file.write_text(json.dumps(self.settings))
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "serve", "-c", str(self.config_file)], stdout=log, stderr=log, cwd=self.folder, env=self.environ
            )
        return self

    def start(self) -> Self:
        """Start it and wait until it is ready."""
        return self.launch().await_ready()

    def await_ready(self) -> Self:
        """Wait until what was launched is ready. NotReady where it ends instead."""
        process = self.process
        assert process is not None
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            try:
                if self.admin("GET", "/readyz")[0] == 200:
                    return self
            except (OSError, http.client.HTTPException):
                pass
            if process.poll() is not None:
                raise NotReady(f"serve ended with {process.returncode}:\n{self.log()[-2000:]}")
            time.sleep(0.05)
        raise NotReady(f"serve is not ready after {START_S} s:\n{self.log()[-2000:]}")

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def tell(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, within: float = 20.0) -> int:
        """The exit code."""
        assert self.process is not None
        return self.process.wait(within)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.tell(signal.SIGTERM)
        return self.wait()

    def close(self) -> None:
        """End it whatever its state, with its store; remove its folder."""
        process = self.process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        self.kill_store()
        shutil.rmtree(self.folder, ignore_errors=True)

    def store_pid(self) -> int | None:
        """The embedded server's process: the one that works in our data_dir."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if str((entry / "cwd").readlink()).startswith(str(self.data_dir)) and b"valkey" in (entry / "cmdline").read_bytes():
                    return int(entry.name)
            except OSError:
                continue
        return None

    def kill_store(self, number: signal.Signals = signal.SIGKILL) -> None:
        pid = self.store_pid()
        if pid is not None:
            os.kill(pid, number)

    def log(self) -> str:
        """All that it wrote: operator's lines and access log."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def access_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def children(self) -> list[int]:
        """The processes that the supervisor has started, the embedded server among them."""
        assert self.process is not None
        return [int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()]

    def workers(self) -> list[int]:
        return [pid for pid in self.children() if b"gateway.processes.worker" in command_line(pid)]

    def management(self) -> list[int]:
        return [pid for pid in self.children() if b"gateway.processes.management" in command_line(pid)]

    def rss(self) -> int:
        """Resident memory of all workers in bytes."""
        found = [re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text()) for pid in self.workers()]
        return sum(int(match[1]) * 1024 for match in found if match is not None)

    # -- requests

    def wire(self, **options: Any) -> Wire:
        """A new client connection."""
        return Wire(self.port, **options)

    def ask(self, method: str, target: str, *fields: str, token: str = "", body: bytes | None = None, version: str = "1.1") -> Answer:
        """One request on a connection of its own, and its answer."""
        with self.wire() as wire:
            wire.send(request(method, target, *fields, token=token, body=body, version=version))
            return wire.answer(method)

    # -- tokens and management

    def admin(self, method: str, path: str, body: object = None, key: str = ADMIN_KEY) -> tuple[int, dict[str, str], bytes]:
        """A call to the management port: status, fields in small letters, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=10)
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"Authorization": f"Bearer {key}", **({"Content-Type": "application/json"} if data else {})})
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    def api(self, method: str, path: str, body: object = None) -> Any:
        """A call to the tokens API that must work; the parsed answer."""
        status, _, data = self.admin(method, f"/api/v1{path}", body)
        assert status in {200, 201}, (status, data[:300])
        return json.loads(data)

    def make(self, *grants: str, **facts: Any) -> Made:
        """A new token, full where no grant is named."""
        wanted = {"grants": list(grants)} if grants else {"access": "full"}
        made = self.api("POST", "/tokens", {"name": "test", **wanted, **facts})
        return Made(made["token"]["id"], made["secret"])

    def token(self, *grants: str) -> str:
        """The secret of a token with these grants, one for all tests that ask for the same."""
        if grants not in self._tokens:
            self._tokens[grants] = self.make(*grants)
        return self._tokens[grants].secret

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command on this configuration."""
        self.config_file.write_text(json.dumps(self.settings))
        command: Sequence[str] = [sys.executable, "-m", "gateway", *arguments, "-c", str(self.config_file)]
        return subprocess.run(command, capture_output=True, text=True, cwd=self.folder, env=self.environ, timeout=60, check=False)

    def metric(self, name: str) -> float:
        """The sum of a metric's samples, whatever their labels."""
        text = self.admin("GET", "/metrics")[2].decode()
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if re.match(rf"{re.escape(name)}(\{{| )", line))

    def store(self) -> redis.Redis:
        """The embedded store, past the gateway."""
        return redis.Redis(unix_socket_path=str(socket_path(self.data_dir)), decode_responses=True)

    def await_older_store(self, lease_s: float = 2) -> None:
        """Wait until no change costs a whole lease any more: a server that has just started is believed to have forgotten its workers."""
        with self.store() as store:
            eventually(lambda: store.info("server")["uptime_in_seconds"] > lease_s + 1, "an older server", 20)

    def expire(self, token_id: str, in_ms: int = 0) -> None:
        """Let a token expire in ``in_ms``, as if it had been made a day and more ago: both keys are kept consistent."""
        with self.store() as store:
            seconds, micros = store.time()
            at = seconds * 1000 + micros // 1000 + in_ms
            live, info = f"sg:live:{{{token_id}}}", f"sg:info:{{{token_id}}}"
            facts = json.loads(str(store.hget(info, "live")))
            facts[4] = at
            with store.pipeline() as pipe:
                pipe.hset(info, mapping={"expires_at": str(at), "live": json.dumps(facts)})
                pipe.set(live, json.dumps(facts), keepttl=True, xx=True)
                pipe.execute()

    def drop_live(self, token_id: str) -> None:
        """Take the live key away, as its TTL does some time after the expiry."""
        with self.store() as store:
            store.delete(f"sg:live:{{{token_id}}}")

    def wait_log(self, text: str, within: float = 10.0) -> None:
        eventually(lambda: text in self.log(), f"{text!r} in the log", within)
