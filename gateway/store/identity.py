"""Which store this is. Its id is made at the first start, kept in the store (``sg:meta``) and remembered in ``data_dir/store.id``.

A store that lost its id was emptied; one with another id is another store. Both would make every token "unknown", and a wrong 401 makes
people throw good tokens away: so nothing is asked of such a store until an operator accepts it.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from pathlib import Path
from typing import Final

from gateway.ports import StoreUnavailable

_ID: Final = re.compile(rb"[0-9a-f]{32}\Z")
_REREAD_S: Final = 0.5  # `store adopt` of another process is noticed this soon


class StoreIdentity:
    """The id that ``path`` remembers. ``id`` is b"" where there is none yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = b""
        self._read_at = float("-inf")

    def load(self) -> None:
        """Read the file. StoreUnavailable where it can't be read or holds something else."""
        try:
            text = self.path.read_bytes().strip()
        except FileNotFoundError:
            text = b""
        except OSError as error:
            raise StoreUnavailable(f"{self.path} cannot be read: {error.strerror}") from error
        if text and not _ID.match(text):
            raise StoreUnavailable(f"{self.path} does not hold a store's id: restore it, or run `scopegate store adopt`")
        self.id = text

    def remember(self, store_id: bytes) -> None:
        """Write the file, whole or not at all. StoreUnavailable where that fails."""
        fresh = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(store_id + b"\n")
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise StoreUnavailable(f"{self.path} cannot be written: {error.strerror}; the gateway needs a store.data_dir of its own") from error
        self.id = store_id

    def confirm(self, found: bytes | None) -> None:
        """StoreUnavailable unless ``found``, what the store says, is the id that we know."""
        if found == self.id and found:
            return
        if time.monotonic() - self._read_at >= _REREAD_S:
            self._read_at = time.monotonic()
            self.load()
            if found == self.id and found:
                return
        raise StoreUnavailable(self.difference(found))

    def difference(self, found: bytes | None) -> str:
        """What is wrong with the store, and what to do."""
        what = "is not the one that" if found else "was emptied: it has lost the id that"
        return f"the store {what} {self.path} remembers; restore its data, or run `scopegate store adopt` to go on with it as it is"


def new_id() -> bytes:
    """An id for a new store."""
    return secrets.token_hex(16).encode()
