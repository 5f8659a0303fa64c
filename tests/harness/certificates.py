"""Certificates made on the spot by the openssl command: an authority of our own, and what it signs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple


class Pair(NamedTuple):
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


def authority(folder: Path, name: str = "ca") -> Pair:
    """A certificate authority that nobody knows yet."""
    made = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    extensions = ("-addext", "basicConstraints=critical,CA:true", "-addext", "keyUsage=critical,keyCertSign")
    _openssl("req", "-x509", *_new_key(made.key, name), *extensions, "-days", "30", "-out", made.certificate)
    return made


def issue(by: Pair, name: str, *names: str, days: int = 30) -> Pair:
    """A certificate signed by an authority, for these names (``DNS:localhost``, ``IP:127.0.0.1``), for ``days`` from now; -1 makes one that has expired."""
    folder = by.certificate.parent
    made, request = Pair(folder / f"{name}.pem", folder / f"{name}.key"), folder / f"{name}.csr"
    subject = ("-addext", f"subjectAltName={','.join(names)}") if names else ()
    _openssl("req", "-new", *_new_key(made.key, name), *subject, "-out", request)
    signing = ("-CA", by.certificate, "-CAkey", by.key, "-copy_extensions", "copy")
    _openssl("x509", "-req", "-in", request, *signing, "-days", str(days), "-out", made.certificate)
    return made


def _new_key(key: Path, name: str) -> tuple[str | Path, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}", "-keyout", key)


def _openssl(*arguments: str | Path) -> None:
    program = shutil.which("openssl")
    assert program, "the openssl command is missing: apt-get install openssl"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
