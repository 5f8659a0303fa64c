"""What the machine must give: each thing that can be wrong with folder, key, ports, descriptors and parser."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.cli import machine
from gateway.core.finding import Finding
from gateway.settings import Address, Settings
from gateway.settings.load import load_settings
from tests.harness.gateway import free_port

KEY = "a-key-for-the-doctor-0123456789abcdef"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "gateway.yaml"
    file.write_text(f"store: {{data_dir: {tmp_path / 'data'}}}\nupstreams: {{api: {{url: 'http://127.0.0.1:1'}}}}\n")
    return file


@pytest.fixture
def settings(config: Path) -> Settings:
    return load_settings(config, {})


def only(findings: list[Finding], check: str) -> Finding:
    (found,) = [each for each in findings if each.check == check]
    return found


def test_folder_that_is_there_for_us_alone_is_fine(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert only(machine.data_dir(folder), "data_dir").text == f"{folder} is not there yet: the first start makes it"
    assert not folder.exists()
    folder.mkdir(mode=0o700)
    assert only(machine.data_dir(folder), "data_dir").text == f"{folder} is this user's alone"
    assert only(machine.data_dir(folder), "disk").level in {"ok", "warn", "fail"}
    folder.chmod(0o755)
    found = only(machine.data_dir(folder), "data_dir")
    assert (found.level, found.text) == ("warn", f"{folder} has mode 0755: other users may look into it: chmod 700 {folder}")


def test_file_where_the_folder_should_be_fails(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    (found,) = machine.data_dir(tmp_path / "data")
    assert (found.level, found.text) == ("fail", f"{tmp_path / 'data'} is no folder: name a folder in store.data_dir")
    (found,) = machine.data_dir(tmp_path / "data" / "below")
    assert found.level == "fail"


def test_folder_of_another_user_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 54_321)
    (found,) = machine.data_dir(tmp_path)
    assert found.level == "fail"
    assert "run doctor as" in found.text


@pytest.mark.parametrize(("mib", "level"), [(99, "fail"), (100, "warn"), (1023, "warn"), (1024, "ok")])
def test_room_on_the_disk_is_judged(mib: int, level: str) -> None:
    found = machine.disk(Path("data"), mib * 2**20)
    assert found.level == level
    assert f"{mib} MiB are free" in found.text


def test_key_is_looked_for_and_never_made(settings: Settings, config: Path) -> None:
    found = machine.admin_key(settings, config, {})
    assert (found.level, "none yet" in found.text) == ("ok", True)
    assert not settings.store.data_dir.exists()


@pytest.mark.parametrize(("mode", "level"), [(0o600, "ok"), (0o640, "warn"), (0o604, "fail")])
def test_mode_of_the_keys_file_is_judged(settings: Settings, config: Path, mode: int, level: str) -> None:
    settings.store.data_dir.mkdir()
    file = settings.store.data_dir / "admin.key"
    file.write_text(KEY)
    file.chmod(mode)
    found = machine.admin_key(settings, config, {})
    assert found.level == level
    assert ("chmod 600" in found.text) == (level != "ok")
    assert KEY not in str(found)


def test_key_that_is_too_short_fails(settings: Settings, config: Path) -> None:
    settings.store.data_dir.mkdir()
    (settings.store.data_dir / "admin.key").write_text("short")
    (settings.store.data_dir / "admin.key").chmod(0o600)
    assert machine.admin_key(settings, config, {}).level == "fail"


def test_key_in_a_configuration_that_others_may_read_is_told(config: Path) -> None:
    config.write_text(f"admin: {{key: {KEY}}}\n{config.read_text()}")
    settings = load_settings(config, {})
    config.chmod(0o644)
    found = machine.admin_key(settings, config, {})
    assert (found.level, "set SCOPEGATE_ADMIN__KEY instead" in found.text) == ("warn", True)
    config.chmod(0o600)
    assert machine.admin_key(settings, config, {}).level == "ok"
    config.chmod(0o644)
    assert machine.admin_key(settings, config, {"SCOPEGATE_ADMIN__KEY": KEY}).text == "from the environment"


def test_port_is_free_or_a_gateways_or_anothers() -> None:
    port = free_port()
    address = Address("127.0.0.1", port)
    assert machine.port("listen", address, "/x", b"mark").text == f"127.0.0.1:{port} is free"
    assert machine.port("listen", Address("127.0.0.1", 0), "/x", b"mark").level == "ok"
    with socket.create_server(("127.0.0.1", port)):
        found = machine.port("listen", address, "/x", b"mark")
    assert found.level == "fail"
    assert "is in use by another program: stop it, or set another listen" in found.text
    assert "is no address of this machine" in machine.port("listen", Address("192.0.2.1", port), "/x", b"mark").text


@pytest.mark.parametrize(("status", "body", "level"), [(200, b"the mark", "ok"), (503, b"the mark", "ok"), (200, b"hello", "fail")])
async def test_port_that_a_gateway_serves_is_known_by_its_health(status: int, body: bytes, level: str) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n"))
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
    found = await asyncio.to_thread(machine.port, "listen", address, "/.scopegate/healthz", b"mark")
    server.close()
    assert found.level == level
    assert asked == [b"GET /.scopegate/healthz HTTP/1.1\r\n"]


@pytest.mark.parametrize(("limit", "level"), [(256 + 64, "fail"), (256 + 64 + 999, "warn"), (256 + 64 + 1000, "ok"), (resource.RLIM_INFINITY, "ok")])
def test_room_for_connections_is_judged(settings: Settings, limit: int, level: str) -> None:
    assert machine.descriptors(settings, limit).level == level
    many = replace(settings, upstreams={"api": replace(settings.upstreams["api"], max_connections=100_000)})
    assert machine.descriptors(many, 20_000).level == "fail"


def test_parser_is_the_c_one(settings: Settings, tmp_path: Path) -> None:
    assert machine.parser(settings).level == "ok"
    script = "from pathlib import Path; from gateway.cli.machine import parser; from gateway.settings.load import load_settings as l; "
    script += "print(parser(l(Path('gateway.yaml'), {})).level)"
    root = Path(__file__).parents[3]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(root), "AIOHTTP_NO_EXTENSIONS": "1"}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.stdout == "fail\n", done.stderr


def test_machine_is_left_as_it_was(settings: Settings, config: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    findings = machine.examine_machine(settings, config, {})
    assert [each.check for each in findings] == ["data_dir", "disk", "admin key", "listen", "admin.listen", "descriptors", "parser"]
    assert sorted(tmp_path.rglob("*")) == before
