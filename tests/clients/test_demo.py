"""``scopegate demo``: its lines do what they say, and nothing is left of it."""

from __future__ import annotations

import http.client
import itertools
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.harness.waiting import eventually

_ROOT = Path(__file__).parents[2]


class Demo:
    """A demo that runs, and what it has printed so far."""

    def __init__(self, folder: Path, *options: str) -> None:
        environ = {
            **os.environ,
            "COLUMNS": "200",
            "PYTHONPATH": str(_ROOT),
            "TMPDIR": str(folder),
            "SCOPEGATE_LISTEN": "192.0.2.1:1",
            "SCOPEGATE_ADMIN__KEY": "of-another-gateway",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "demo", *options],
            cwd=folder,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))  # extend keeps each line as it comes

    def wait(self) -> int:
        """Its exit code, when all it said was read."""
        code = self.process.wait(20)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    @property
    def text(self) -> str:
        return "".join(self.lines)


@contextmanager
def running_demo(folder: Path, *options: str) -> Iterator[Demo]:
    demo = Demo(folder, *options)
    try:
        eventually(lambda: "Ctrl-C ends" in demo.text or demo.process.poll() is not None, "the demo's last line", 60)
        assert demo.process.poll() is None, demo.text
        yield demo
    finally:
        if demo.process.poll() is None:
            os.killpg(demo.process.pid, signal.SIGKILL)
            demo.wait()


def living_in(folder: Path) -> list[str]:
    """Processes that work in the folder or name it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str((entry / "cwd").readlink()).startswith(str(folder)) or str(folder).encode() in (entry / "cmdline").read_bytes():
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def answers(host: str, port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((host, port)) == 0


def status_of(line: str) -> int:
    """What a printed curl line gets."""
    words = shlex.split(re.sub(r"\$\(cat (\S+)\)", lambda found: Path(found[1]).read_text().strip(), line))
    fields, body, url = {}, None, ""
    it = iter(words[1:])
    for word in it:
        if word == "-H":
            name, _, value = next(it).partition(": ")
            fields[name] = value
        elif word == "-d":
            body = next(it)
        elif word != "-i":
            assert not url
            url = word
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request("POST" if body else "GET", f"{parts.path}?{parts.query}".rstrip("?"), body, fields)
        return connection.getresponse().status
    finally:
        connection.close()


def test_each_line_gives_the_status_that_stands_above_it_and_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    with running_demo(tmp_path, "--port", "0", "--admin-port", "0") as demo:
        lines = demo.text.splitlines()
        told = [(int(above[2:5]), line) for above, line in itertools.pairwise(lines) if line.startswith("curl ")]
        for number, (status, line) in enumerate(told):
            assert (number, status_of(line)) == (number, status)
        assert [status for status, _ in told] == [200, 200, 200, 200, 403, 403, 404, 401, 401, 200]
        os.killpg(demo.process.pid, signal.SIGINT)  # as a terminal does
        assert demo.wait() == 0
        assert "Traceback" not in demo.text
    eventually(lambda: not living_in(tmp_path), "no process of the demo")
    assert list(tmp_path.iterdir()) == []


def test_ports_that_are_taken_are_told_and_others_are_used(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with running_demo(tmp_path, "--port", port, "--admin-port", port) as demo:
            assert demo.text.count(f"127.0.0.1:{port} is in use by another program: the demo takes ") == 2
            assert f"gateway     http://127.0.0.1:{port}\n" not in demo.text
            demo.process.terminate()
            assert demo.wait() == 0


def test_a_killed_demo_takes_its_sample_upstream_with_it(tmp_path: Path) -> None:
    with running_demo(tmp_path, "--port", "0", "--admin-port", "0") as demo:
        address = re.search(r"upstream +http://([\d.]+):(\d+)", demo.text)
        assert address is not None
        demo.process.kill()
        demo.wait()
        eventually(lambda: not answers(address[1], int(address[2])), "the sample upstream is gone")
    for line in Path("/proc").glob("[0-9]*/cwd"):  # the store's server outlives a killed gateway on purpose, for its successor
        try:
            if str(line.readlink()).startswith(str(tmp_path)):
                os.kill(int(line.parent.name), signal.SIGTERM)
        except OSError:
            continue
    eventually(lambda: not living_in(tmp_path), "no process of the demo")


@pytest.mark.parametrize("option", ["--port", "--admin-port"])
def test_a_port_that_is_none_is_refused(tmp_path: Path, option: str) -> None:
    demo = Demo(tmp_path, option, "70000")
    assert demo.wait() == 2
    assert "or equal to 65535" in demo.text
    assert list(tmp_path.iterdir()) == []
