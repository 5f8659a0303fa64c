"""``python -m gateway.sample`` as a program."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator

import pytest

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def run(*options: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        started.append(subprocess.Popen([sys.executable, "-m", "gateway.sample", *options], stdin=pipe, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield run
    for process in started:
        with process:  # closes its pipes and waits
            process.kill()


def test_it_prints_the_address_that_its_answers_name(start: Start) -> None:
    process = start("--port", "0")
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{address}/4/teams/1", timeout=10) as response:
        assert json.load(response)["self"] == f"{address}/4/teams/1"
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0


def test_it_ends_with_its_standard_input_when_asked_to(start: Start) -> None:
    process = start("--port", "0", "--until-eof")
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline().startswith("http://127.0.0.1:")
    process.stdin.close()
    assert process.wait(10) == 0


@pytest.mark.parametrize("port", ["taken", "70000"])
def test_a_port_that_cannot_be_had_is_told_in_one_line(start: Start, port: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start("--port", str(taken.getsockname()[1]) if port == "taken" else port)
        assert process.wait(10) == 1
        assert process.stderr is not None
        told = process.stderr.read()
    assert told.count("\n") == 1
    assert "choose another --port" in told
