"""The configured document as a worker has it: taken apart at the first request, and anew once the file has changed."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from gateway.openapi.document_process import read_pieces
from gateway.openapi.pieces import Pieces, SpecUnusable

LOG: Final = logging.getLogger("scopegate")


class DocumentFile:
    """A document's file. One that can't be used any more changes nothing, and is told once in the log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pieces: Pieces | None = None
        self._read: tuple[int, int, int] | None = None  # what the file was when it was read last
        self._one_reads = asyncio.Lock()

    async def pieces(self) -> Pieces | None:
        """The pieces of the document, None where it was never one that can be used."""
        if self._now() != self._read:
            async with self._one_reads:
                now = self._now()
                if now != self._read:
                    try:
                        self._pieces = await read_pieces(self._path)
                    except SpecUnusable as why:
                        LOG.error("openapi: %s%s", why, "; the one before stays" if self._pieces is not None else "")  # noqa: TRY400 - one line
                    self._read = now
        return self._pieces

    def _now(self) -> tuple[int, int, int]:
        """What tells one state of the file from another: a rename over it too."""
        try:
            facts = self._path.stat()
        except OSError:
            return (0, 0, 0)
        return (facts.st_ino, facts.st_mtime_ns, facts.st_size)
