"""A key in a file of its own: made at the first start with mode 0600, and refused where every user of the machine may read it."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from gateway.policy_file.document import DocumentFault, Fault
from gateway.settings import values
from gateway.settings.shape import Secret

_LONGEST: Final = 4096  # bytes


def read_key(path: Path, advice: str, *, make: bool) -> Secret:
    """The key in a file, which is made if it is not there and ``make`` says so. ``advice`` is told where it can't be: "the … can't be kept here".

    DocumentFault with one plain line if it can't be read or made, if it is too short, or if every user of the machine may read it.
    """
    try:
        if make and not path.exists():
            _make(path)
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            written = file.read(_LONGEST).decode("latin-1")
    except OSError as error:
        what, todo = advice.split(": ", 1)
        raise _fault(path, f"{what} ({os.strerror(error.errno or 0).lower()}): {todo}") from None
    if mode & 0o007:
        raise _fault(path, "every user of this machine may use this file: chmod 600 it, or delete it for a new key")
    try:
        return values.admin_key(written.removesuffix("\n"))
    except ValueError as error:
        raise _fault(path, f"{error}; delete the file for a new one") from None


def _make(path: Path) -> None:
    """Write a new key under its name in one step, so that two starts at once agree on one and none reads half of it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.fchmod(descriptor, 0o600)  # whatever the umask
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_urlsafe(32).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def _fault(path: Path, message: str) -> DocumentFault:
    return DocumentFault([Fault(str(path), 0, 0, message)])
