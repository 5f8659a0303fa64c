"""Path templates: literal segments, ``{name}`` for one segment, ``**`` for the rest.

A template is brought into the same form as a path (``core/path.py``), so that matching is comparing: what a request may not hold, a template
may not either. There are no regular expressions, and no wildcard inside a segment: a rule must be readable at a glance.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.core.path import CanonicalPath, canonicalise

REST: Final = "**"
_NAME: Final = re.compile(r"\{[A-Za-z_][A-Za-z0-9_-]*\}")
_MAX_SEGMENTS: Final = 64


def canonical_template(text: str) -> str:
    """The one form of a template: percent codes as in a canonical path, no final slash. ValueError says in one sentence what is wrong with it."""
    if not text.startswith("/"):
        raise ValueError("a template begins with a slash")
    if "?" in text:
        raise ValueError("a template holds no query: routes are matched by the path alone")
    encoded = "".join(character if character.isascii() else "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "replace")) for character in text)
    path = canonicalise(encoded)
    if not isinstance(path, CanonicalPath):
        raise ValueError(f"no request can match this: {path.detail[0].lower()}{path.detail[1:].rstrip('.')}")  # noqa: TRY004  a wrong text, not a wrong type
    template = path.path.removesuffix("/") or "/"
    parts = segments(template)
    if len(parts) > _MAX_SEGMENTS:
        raise ValueError(f"a template has at most {_MAX_SEGMENTS} segments")
    for index, part in enumerate(parts):
        if part == REST:
            if index != len(parts) - 1:
                raise ValueError("** takes all the rest, so it comes last")
        elif "*" in part:
            raise ValueError(f"{part!r}: a * inside a template means nothing: write {{name}} for one segment, or ** as the last one")
        elif ("{" in part or "}" in part) and not _NAME.fullmatch(part):
            raise ValueError(f"{part!r}: a name in braces is a whole segment of letters, digits, _ and -, as in {{id}}")
    return template


def segments(template: str) -> list[str]:
    """The segments of a canonical template or path; a final slash counts for nothing."""
    parts = template.split("/")[1:]
    return parts[:-1] if parts[-1] == "" else parts


def is_name(segment: str) -> bool:
    """Whether a segment of a template stands for any one segment. A literal can't hold a brace."""
    return segment[0] == "{"
