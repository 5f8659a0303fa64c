"""Texts that may be shown: whatever looks like a token of ours, whole, cut off or mistyped, loses all but its id (G7)."""

from __future__ import annotations

import re


class Redaction:
    """Redacts tokens of one prefix (``token_prefix``)."""

    def __init__(self, prefix: str) -> None:
        self._mark = f"{prefix}_"
        self._shape = re.compile(rf"({re.escape(self._mark)}[0-9A-Za-z]{{1,12}})[0-9A-Za-z_]*")

    def __call__(self, text: str) -> str:
        """The text as it may be shown."""
        return self._shape.sub(r"\1…", text) if self._mark in text else text
