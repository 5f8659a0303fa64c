"""What README.md shows, run as it stands there with the installed program; only ports and addresses come from the environment."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.fixtures import CREDENTIAL
from tests.harness.gateway import free_port
from tests.harness.upstream import ScriptedUpstream
from tests.harness.waiting import eventually
from tests.harness.wire import Answer, Wire, request
from tests.shape.conftest import Installed
from tests.shape.tree import ROOT, text

README = text("README.md")
POLICY, CONFIG, STRONG = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
SERVE, CREATE = re.findall(r"^(scopegate (?:serve|token) .*?) *(?:#.*)?$", README, re.MULTILINE)
REFUSAL = re.findall(r"```\n(HTTP/1\.1 .*?)```", README, re.DOTALL)[0]


class Running:
    """``scopegate serve`` in a folder of its own."""

    def __init__(self, installed: Installed, folder: Path, upstream: str, url: str) -> None:
        self.port, admin = free_port(), free_port()
        environ = {"SCOPEGATE_LISTEN": f"127.0.0.1:{self.port}", "SCOPEGATE_ADMIN__LISTEN": f"127.0.0.1:{admin}", "SCOPEGATE_STORE__TIMEOUT": "3s"}
        environ[f"SCOPEGATE_UPSTREAMS__{upstream.upper()}__URL"] = url
        self.installed = Installed(installed.bin, {**installed.environ, **environ, "TEMPO_TOKEN": CREDENTIAL})
        self.folder = folder

    def command(self, line: str) -> subprocess.CompletedProcess[str]:
        return self.installed.run(*shlex.split(line), cwd=self.folder)

    def ask(self, method: str, target: str, secret: str) -> Answer:
        with Wire(self.port) as wire:
            wire.send(request(method, target, token=secret))
            return wire.answer(method)

    @contextmanager
    def serving(self, line: str) -> Iterator[None]:
        words = shlex.split(line)
        with (self.folder / "log").open("w") as log:
            process = subprocess.Popen([self.installed.bin / words[0], *words[1:]], cwd=self.folder, env=self.installed.environ, stdout=log, stderr=log)
        try:
            eventually(lambda: "ready: " in (self.folder / "log").read_text() or process.poll() is not None, "the gateway", 30)
            assert process.poll() is None, (self.folder / "log").read_text()
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream
        assert not upstream.faults


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    return tmp_path


def test_the_policy_is_the_shipped_example_line_for_line() -> None:
    shipped = [line for line in text("policies/example.yaml").splitlines() if not line.startswith("#")]
    assert POLICY.splitlines() == shipped
    assert len(shipped) <= 10


def test_its_lines_put_the_gateway_in_front_of_an_api(installed: Installed, folder: Path, upstream: ScriptedUpstream) -> None:
    (folder / "gateway.yaml").write_text(CONFIG)
    (folder / "policies" / "example.yaml").write_text(POLICY)
    running = Running(installed, folder, "api", upstream.url)
    with running.serving(SERVE):
        made = running.command(CREATE)
        assert made.returncode == 0, made.stderr
        secret = made.stdout.strip()
        assert running.ask("GET", "/orders/7", secret).status == 200
        assert running.ask("POST", "/orders/search", secret).status == 200
        assert running.ask("GET", "/status", "").status == 200
        assert running.ask("DELETE", "/orders/7", secret).code == "scope_missing"
        assert running.ask("GET", "/invoices", secret).code == "route_unmapped"
        assert running.ask("GET", "/orders/7", "").code == "token_missing"
    assert [seen.target for seen in upstream.seen] == ["/orders/7", "/orders/search", "/status"]


def test_a_strong_credential_goes_up_for_a_narrow_token_and_the_refusal_is_the_one_that_is_shown(
    installed: Installed, folder: Path, upstream: ScriptedUpstream
) -> None:
    (folder / "gateway.yaml").write_text(STRONG)
    running = Running(installed, folder, "tempo", upstream.url)
    upstream.credential = CREDENTIAL
    with running.serving(SERVE):
        secret = running.command('scopegate token create -c gateway.yaml --name "A job" --scope worklogs').stdout.strip()
        assert running.ask("GET", "/4/worklogs/12", secret).status == 200
        refused = running.ask("GET", "/4/teams", secret)
    assert [seen.all("authorization") for seen in upstream.seen] == [[CREDENTIAL]]
    head, _, body = REFUSAL.partition("\n\n")
    lines = head.splitlines()
    request_id = next(line.partition(": ")[2] for line in lines if line.startswith("X-Request-Id: "))
    assert lines[0] == f"HTTP/1.1 {refused.status} Forbidden"
    for name, _, value in (line.partition(": ") for line in lines[1:]):
        assert refused.one(name) == (refused.one("x-request-id") if name == "X-Request-Id" else value)
    assert refused.body.decode() == body.strip().replace(request_id, str(refused.one("x-request-id")))


def test_explain_says_the_same_before_anybody_asks(installed: Installed, folder: Path) -> None:
    line = re.findall(r"`(scopegate policy explain [^`]*)`", README)[0]
    done = installed.run(*shlex.split(line), cwd=folder)
    assert done.returncode == 1
    assert "scope_missing" in done.stdout
    assert re.findall(r'"detail":"([^"]*)"', REFUSAL)[0] in done.stdout


def test_the_make_targets_that_it_names_are_there() -> None:
    named = re.findall(r"^make ([a-z]+) ", README, re.MULTILINE)
    assert named == ["demo", "test"]
    assert all(re.search(rf"^{target}: ", text("Makefile"), re.MULTILINE) for target in named)
