"""A key in a file of its own: made at the first start with mode 0600, and refused where every user of the machine may read it."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from gateway.settings.shape import Secret

KEY_LENGTH: Final = 32  # least characters of a key
_LONGEST: Final = 4096  # bytes


class KeyUnusable(Exception):
    """A key's file can't be used: ``path``, and ``message``, which says why and what to do."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


def read_key(path: Path, advice: str, *, make: bool) -> Secret:
    """The key in a file, which is made if it is not there and ``make`` says so. ``advice`` is told where it can't be: "the … can't be kept here".

    KeyUnusable if it can't be read or made, if it is too short, or if every user of the machine may read it.
    """
    try:
        if make and not path.exists():
            _make(path)
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            written = file.read(_LONGEST).decode("latin-1")
    except OSError as error:
        what, todo = advice.split(": ", 1)
        raise KeyUnusable(path, f"{what} ({os.strerror(error.errno or 0).lower()}): {todo}") from None
    if mode & 0o007:
        raise KeyUnusable(path, "every user of this machine may use this file: chmod 600 it, or delete it for a new key")
    try:
        return key_of(written.removesuffix("\n"))
    except ValueError as error:
        raise KeyUnusable(path, f"{error}; delete the file for a new one") from None


def key_of(written: str) -> Secret:
    """A key of at least 32 printable ASCII characters without blanks. ValueError says what is wrong."""
    if len(written) < KEY_LENGTH:
        raise ValueError(f"the key is too short: at least {KEY_LENGTH} characters are needed")
    if not all("!" <= character <= "~" for character in written):
        raise ValueError("the key may hold only printable ASCII characters, no blanks")
    return Secret(written)


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
