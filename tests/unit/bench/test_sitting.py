"""A sitting as people run it: what is wrong is told in one line; broken off, nothing is left running. It needs none of the programs it compares."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.ground import ROOT
from bench.processes import arguments, descendants
from bench.processes import command as name_of


def command(tmp_path: Path, module: str = "bench", **variables: str) -> tuple[list[str], dict[str, str]]:
    return [sys.executable, "-m", module], {**os.environ, "BENCH_RESULTS": str(tmp_path / "results"), **variables}


@pytest.mark.parametrize(
    ("module", "name", "value", "told"),
    [
        ("bench", "BENCH_ROWS", "apache", "there is no apache; "),
        ("bench.footprint", "BENCH_FIGURES", "disk", "there is no disk; "),
        ("bench.stages", "BENCH_PYTHON", "/dev/null", "/dev/null is no Python that runs here: name the file of one"),
    ],
)
def test_a_wrong_variable_ends_it_with_one_line_and_2(tmp_path: Path, module: str, name: str, value: str, told: str) -> None:
    argv, env = command(tmp_path, module, **{name: value})
    done = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"bench: {name}: {told}")
    assert done.stderr.count("\n") == 1


def test_without_the_programs_it_says_what_installs_them(tmp_path: Path) -> None:
    argv, env = command(tmp_path, PATH=str(tmp_path), BENCH_STARTS="1")
    done = subprocess.run(
        [argv[0], "-c", "import bench.ground, runpy; bench.ground._SYSTEM = ''; runpy.run_module('bench', run_name='__main__')"],
        env=env, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "bench: wrk is not installed: make bench installs it\n")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_broken_off_it_leaves_no_process_and_no_folder(tmp_path: Path, how: signal.Signals) -> None:
    # Programs that stand in for nginx, which answers, and wrk, which never ends.
    (tmp_path / "bin").mkdir()
    for name, text in (("nginx", NGINX), ("wrk", WRK)):
        (tmp_path / "bin" / name).write_text(f"#!{sys.executable}\n{text}")
        (tmp_path / "bin" / name).chmod(0o755)
    argv, env = command(tmp_path, PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}", BENCH_ROWS="direct", BENCH_STARTS="1", TMPDIR=str(tmp_path))
    with subprocess.Popen(argv, env=env, cwd=ROOT, stderr=subprocess.PIPE, text=True) as sitting:
        deadline = time.monotonic() + 20
        while len(tree := descendants(sitting.pid)) < 3 or "wrk" not in name_of(tree[-1]):  # the sitting, its upstream, the load
            if time.monotonic() > deadline or sitting.poll() is not None:
                sitting.kill()
            assert sitting.poll() is None
            time.sleep(0.02)
        sitting.send_signal(how)
        _, said = sitting.communicate(timeout=30)
    assert sitting.returncode == 130
    assert said == "bench: broken off; everything is stopped. Whole rounds are in the results as a trial\n"
    assert [pid for pid in tree if Path(f"/proc/{pid}").exists()] == []
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


def test_a_footprint_that_is_broken_off_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    argv, env = command(tmp_path, "bench.footprint", BENCH_FIGURES="idle", BENCH_STARTS="100", TMPDIR=str(tmp_path))
    with subprocess.Popen(argv, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as sitting:
        deadline = time.monotonic() + 60
        while "gateway.processes.worker" not in {word for pid in descendants(sitting.pid) for word in arguments(pid)}:
            if time.monotonic() > deadline or sitting.poll() is not None:
                sitting.kill()
            assert sitting.poll() is None
            time.sleep(0.02)
        tree = descendants(sitting.pid)
        sitting.send_signal(signal.SIGTERM)
        _, said = sitting.communicate(timeout=60)
    assert sitting.returncode == 130
    assert said.endswith("bench: broken off; everything is stopped. Whole rounds are in the results as a trial\n")
    assert [pid for pid in tree if Path(f"/proc/{pid}").exists()] == []
    assert [path.name for path in tmp_path.iterdir() if path.name != "results"] == []


WRK = """
import sys, time
if "-v" in sys.argv: sys.exit("wrk 0.0.0")
time.sleep(60)
"""
NGINX = r"""
import re, signal, socket, sys
if "-v" in sys.argv: sys.exit("nginx version: nginx/0.0.0")
server = socket.create_server(("127.0.0.1", int(re.search(r"listen 127\.0\.0\.1:(\d+)", open(sys.argv[2]).read())[1])))
while True: server.accept()[0].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
"""
