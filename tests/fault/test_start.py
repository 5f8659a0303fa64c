"""What keeps serve from starting: exit 2, a plain line that says what to do, nothing left running, no traceback."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from gateway.store.embedded import find_server
from tests.harness.gateway import POLICY, GatewayProcess, free_port
from tests.harness.waiting import eventually

NOWHERE = "http://127.0.0.1:9"


@contextmanager
def prepared(**options: object) -> Iterator[GatewayProcess]:
    """A gateway that is not started yet."""
    gateway = GatewayProcess(NOWHERE, **options)  # type: ignore[arg-type]
    try:
        yield gateway
    finally:
        gateway.close()


def refused(gateway: GatewayProcess) -> list[str]:
    """The lines that serve ends with."""
    assert gateway.launch().wait(30) == 2, gateway.log()
    log = gateway.log()
    assert "Traceback" not in log
    assert gateway.store_pid() is None
    lines = [line for line in log.splitlines() if line.startswith("scopegate: ")]
    assert lines, log
    return [line.removeprefix("scopegate: ") for line in lines]


@pytest.mark.parametrize("which", ["listen", "admin.listen"])
def test_a_port_in_use_is_told_with_its_setting(which: str) -> None:
    with prepared() as gateway, socket.socket() as other:
        other.bind(("127.0.0.1", gateway.port if which == "listen" else gateway.admin_port))
        other.listen()
        (line,) = refused(gateway)
        assert line.startswith(f"127.0.0.1:{other.getsockname()[1]} is in use")
        assert line.endswith(which)


def test_an_address_of_another_machine_is_told() -> None:
    with prepared() as gateway:
        gateway.settings["listen"] = "192.0.2.1:8080"
        (line,) = refused(gateway)
        assert line.startswith("192.0.2.1:8080 is no address of this machine")


def test_every_fault_of_a_policy_is_told_with_its_place() -> None:
    broken = POLICY.replace("scope: teams}", "scope: temas}").replace("scope: accounts}\n", "scope: accounts, colour: red}\n")
    with prepared(policy=broken) as gateway:
        lines = refused(gateway)
        assert len(lines) >= 2
        for line in lines:
            assert re.match(rf"{re.escape(str(gateway.policy_file))}:\d+:\d+: ", line), line
        assert "temas" in "\n".join(lines)
        assert "colour" in "\n".join(lines)


def test_a_policy_that_fails_its_own_tests_is_not_served() -> None:
    with prepared(policy=POLICY + "tests:\n  - {request: GET /4/teams/1, grants: [worklogs], expect: allow}\n") as gateway:
        (line,) = refused(gateway)
        assert "expected allow, got scope_missing" in line


def test_a_policy_that_is_not_there_is_told() -> None:
    with prepared() as gateway:
        gateway.policy_file.unlink()
        (line,) = refused(gateway)
        assert str(gateway.policy_file) in line


def test_every_fault_of_a_configuration_is_told() -> None:
    with prepared() as gateway:
        gateway.settings |= {"listne": "x", "drain_timeout": "soon", "workers": 0}
        lines = "\n".join(refused(gateway))
        assert "listne" in lines
        assert "drain_timeout" in lines
        assert "workers" in lines


def test_a_route_to_an_upstream_that_is_not_configured_is_told() -> None:
    with prepared(policy=POLICY.replace("scope: teams}", "scope: teams, upstream: elsewhere}")) as gateway:
        assert any("elsewhere" in line for line in refused(gateway))


def test_a_credential_whose_variable_is_not_set_is_told() -> None:
    with prepared(upstream={"credentials": {"header": "Authorization", "env": "SURELY_NOT_SET"}}) as gateway:
        assert any("SURELY_NOT_SET" in line for line in refused(gateway))


# -- the store


@pytest.fixture
def server(tmp_path: Path) -> Callable[..., AbstractContextManager[int]]:
    """Start a Valkey of the operator's own on a port of loopback, with these arguments."""

    @contextmanager
    def started(*arguments: str) -> Iterator[int]:
        port = free_port()
        command = [str(find_server()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path), *arguments]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            eventually(lambda: answers(port), "the server")
            yield port
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(10)

    return started


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_store_of_ones_own_works_with_user_and_password(server: Callable[..., AbstractContextManager[int]]) -> None:
    with server("--requirepass", "secret-of-the-store") as port, prepared() as gateway:
        gateway.settings["store"] |= {"url": f"redis://:secret-of-the-store@127.0.0.1:{port}/3"}
        gateway.start()
        assert gateway.ask("GET", "/4/worklogs/1", token=gateway.token("worklogs")).code == "upstream_unreachable"
        assert gateway.store_pid() is None
        assert "secret-of-the-store" not in gateway.log()


def test_a_wrong_password_is_told_without_it(server: Callable[..., AbstractContextManager[int]]) -> None:
    with server("--requirepass", "secret-of-the-store") as port, prepared() as gateway:
        gateway.settings["store"] |= {"url": f"redis://:a-wrong-guess@127.0.0.1:{port}/0"}
        (line,) = refused(gateway)
        assert "password" in line
        assert "a-wrong-guess" not in gateway.log()


def test_a_store_that_is_not_there_is_told() -> None:
    port = free_port()
    with prepared() as gateway:
        gateway.settings["store"] |= {"url": f"redis://127.0.0.1:{port}/0"}
        (line,) = refused(gateway)
        assert str(port) in line


def test_a_store_that_may_evict_tokens_is_refused(server: Callable[..., AbstractContextManager[int]]) -> None:
    with server("--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru") as port, prepared() as gateway:
        gateway.settings["store"] |= {"url": f"redis://127.0.0.1:{port}/0"}
        (line,) = refused(gateway)
        assert "noeviction" in line
        gateway.settings["store"]["allow_eviction"] = True
        gateway.start()


def test_a_second_serve_on_one_data_dir_is_refused() -> None:
    with GatewayProcess(NOWHERE) as first, prepared() as second:
        second.settings["store"] = first.settings["store"]
        assert second.launch().wait(30) == 2
        (line,) = [line for line in second.log().splitlines() if line.startswith("scopegate: ")]
        assert "data" in line
        assert "Traceback" not in second.log()
        assert first.admin("GET", "/readyz")[0] == 200


def test_a_data_dir_that_is_a_file_is_told() -> None:
    with prepared() as gateway:
        gateway.data_dir.write_text("x")
        (line,) = refused(gateway)
        assert str(gateway.data_dir) in line
