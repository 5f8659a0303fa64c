"""Text of others (a document, a log) as part of a YAML file that people read: whatever it says, it stays one value, or one comment."""

from __future__ import annotations

import json
import re
from typing import Final

_PLAIN: Final = re.compile(r"[A-Za-z/][A-Za-z0-9/._~-]*\Z")
_WORDS: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_LONGEST_COMMENT: Final = 400  # characters


def scalar(text: str) -> str:
    """Text as YAML that reads the same to every reader: plain where nothing in it means anything."""
    return text if _PLAIN.match(text) and text.lower() not in _WORDS else quoted(text)


def quoted(text: str) -> str:
    """Text in double quotes, which YAML reads as JSON does."""
    return json.dumps(text, ensure_ascii=False)


def comment(text: str) -> str:
    """A comment of one line: whatever a text says, it can't end the comment and go on as YAML."""
    plain = " ".join("".join(character if character.isprintable() and character != "\ufeff" else " " for character in text).split())
    return f"# {plain if len(plain) <= _LONGEST_COMMENT else plain[: _LONGEST_COMMENT - 3] + '...'}"
