"""The one form of a path: matched, forwarded, limited, logged (RFC 3986 section 6.2.2, narrowed).

What two parties could read differently is refused, not repaired: a repaired path is right for us and wrong for some upstream.
Only percent codes of unreserved characters are decoded, once; all others keep their code, in capitals.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import msgspec

from gateway.core.decision import Denial, denied


class CanonicalPath(msgspec.Struct, frozen=True, gc=False):
    """``path`` begins with "/" and is what goes up, byte for byte. ``query`` is as sent, with its "?", or "".
    ``encoded_slash``: the path holds %2F, so it is refused unless its route takes it."""

    path: str
    query: str
    encoded_slash: bool


# Nearly every real target: no code, nothing odd. It needs no repair, only a look for empty and dot segments.
_PLAIN: Final = re.compile(r"(/[!\"$&-:<->@-\[\]-~]*)(\?[!\"$-~]*)?")
_OUTSIDE: Final = re.compile(r"[^!-\"$-~]")  # blanks, controls, "#", bytes over 0x7E
_CODES: Final = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_DOUBLE: Final = re.compile(r"%25[0-9A-Fa-f]{2}")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class _Ambiguous(Exception):
    pass


def canonicalise(target: str) -> CanonicalPath | Denial:
    """The canonical path of a request target in origin form (RFC 9112 section 3.2.1), or Denial(path_ambiguous).

    ``target`` holds one character a byte (bytes over 0x7F in any decoding are refused).
    """
    plain = _PLAIN.fullmatch(target)
    if plain:
        path, query = plain.groups("")
        if "//" not in path and "/." not in path:
            return CanonicalPath(path, query, False)
    try:
        return _careful(target)
    except _Ambiguous as why:
        return denied("path_ambiguous", str(why))


def _careful(target: str) -> CanonicalPath:
    if not target.startswith("/"):
        raise _Ambiguous("The request target must begin with a slash: absolute and other forms are not taken.")
    if _OUTSIDE.search(target):
        raise _Ambiguous("The request target holds a blank, a control, a # or a byte that is not ASCII: send its percent code.")
    path, mark, query = target.partition("?")
    if "//" in path:
        raise _Ambiguous("The path holds an empty segment (two slashes).")
    if ";" in path or "\\" in path:
        raise _Ambiguous("The path holds a semicolon or a backslash, which some servers take for the end of a segment.")
    if path.count("%") * 3 != sum(len(run[0]) for run in _CODES.finditer(path)):
        raise _Ambiguous("The path holds a % without two hexadecimal digits.")
    canonical = _CODES.sub(_decode_run, path)
    if _DOUBLE.search(canonical):
        raise _Ambiguous("The path is percent-encoded twice.")
    _refuse_dots(canonical)
    return CanonicalPath(canonical, mark + query, "%2F" in canonical)


def _decode_run(run: re.Match[str]) -> str:
    """Percent codes that stand together: unreserved characters decoded, all others in capitals."""
    raw = bytes.fromhex(run[0].replace("%", ""))
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _Ambiguous("The path holds percent codes that are not UTF-8.") from None
    if any(unicodedata.category(character) == "Cc" or character == "\\" for character in text):
        raise _Ambiguous("The path holds the percent code of a control or a backslash.")
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in raw)


_CUT: Final = re.compile("%3B|%23|%3F")  # where a server that decodes before it parses would end a segment


def _is_dots(segment: str) -> bool:
    """Whether a segment is "." or "..", also to a server that strips blanks and parameters after decoding."""
    return _CUT.split(segment, maxsplit=1)[0].replace("%20", "") in {".", ".."}


def _refuse_dots(path: str) -> None:
    if any(map(_is_dots, path.split("/"))):
        raise _Ambiguous("The path holds a dot segment.")


def slashes_are_safe(path: str) -> bool:
    """Whether a path with %2F still holds no dot and no empty segment (but a last one) when an upstream decodes it."""
    segments = path.replace("%2F", "/").split("/")[1:]
    return not any(map(_is_dots, segments)) and "" not in segments[:-1] and not path.endswith("%2F")
