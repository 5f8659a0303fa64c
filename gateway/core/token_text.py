"""The text of a token: ``<prefix>_<id>_<secret><checksum>``, as the integration sends it.

id: 12 base62 characters, public. secret: 32, from a random source. checksum: CRC-32 (zlib) of all the ASCII before it, as 6 base62
characters, big-endian. So a typo or a made-up token is refused without asking the store, and secret scanners can find a leaked one.
"Token form" means: the prefix, the lengths and a true checksum. It says nothing about whether such a token exists.
"""

from __future__ import annotations

import contextlib
import re
import zlib
from base64 import b64decode
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple
from urllib.parse import unquote

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_LENGTH: Final = 12
SECRET_LENGTH: Final = 32
CHECKSUM_LENGTH: Final = 6
PREFIX: Final = re.compile(r"[a-z][a-z0-9]{1,15}\Z")
TOKEN_ID: Final = re.compile(rf"[0-9A-Za-z]{{{ID_LENGTH}}}\Z")

RandomBytes = Callable[[int], bytes]  # like os.urandom

# 248 is the largest multiple of 62 in a byte: a byte from 248 on is thrown away, so that each character is equally likely.
_UNBIASED: Final = 248
_PAIRS: Final = [first + second for first in ALPHABET for second in ALPHABET]
_UNRESERVED_CODE: Final = re.compile(r"%(?:2[DdEe]|3[0-9]|4[1-9A-Fa-f]|5[0-9AaFf]|6[1-9A-Fa-f]|7[0-9AaEe])")


class TokenText(NamedTuple):
    """A new token's public id, and the text that is shown once and never stored."""

    id: str
    text: str

    def __repr__(self) -> str:
        return f"TokenText(id={self.id!r})"


def make_token(prefix: str, random_bytes: RandomBytes) -> TokenText:
    """A new id with a first secret."""
    token_id = _base62(ID_LENGTH, random_bytes)
    return TokenText(token_id, make_text(prefix, token_id, random_bytes))


def make_text(prefix: str, token_id: str, random_bytes: RandomBytes) -> str:
    """A text with a new secret for a token id."""
    body = f"{prefix}_{token_id}_{_base62(SECRET_LENGTH, random_bytes)}"
    return body + checksum(body)


def parse(text: str, prefix: str) -> str | None:
    """The token id, or None where the text is not of token form."""
    match = _form(prefix).fullmatch(text)
    if match is None or checksum(text[:-CHECKSUM_LENGTH]) != text[-CHECKSUM_LENGTH:]:
        return None
    return match[1]


def digest(text: str) -> bytes:
    """What is stored of a secret: SHA-256 of the whole text, 32 bytes."""
    return sha256(text.encode("utf-8", "surrogateescape")).digest()


def find_in(text: str, prefix: str) -> bool:
    """Whether a text of token form stands anywhere in ``text``, as it is or with percent codes for unreserved characters (RFC 3986
    section 2.3), ``%5F`` for the underscore among them. Linear in the length; little work where neither prefix nor percent occurs.
    """
    if "%" in text:
        text = _UNRESERVED_CODE.sub(_decoded, text)
    if f"{prefix}_" not in text:
        return False
    return any(parse(match[1], prefix) for match in _inside(prefix).finditer(text))


def may_hold_token(text: str, prefix: str) -> bool:
    """Whether an Authorization field's value may hold a token, whole, cut off or mistyped: as it is, with percent codes, with blanks in it, or as one of the
    two parts of Basic credentials (RFC 7617). What is said of a token's checksum counts for nothing here: five of six characters give the sixth away.
    """
    scheme, _, rest = text.partition(" ")
    told = [text]
    if scheme.lower() == "basic":
        with contextlib.suppress(ValueError):
            told.append(b64decode(rest.strip() + "==").decode("latin-1"))
    beginning = re.compile(rf"{re.escape(prefix)}_[0-9A-Za-z]{{{ID_LENGTH}}}_")
    for each in told:
        plain = "".join(unquote(unquote(each)).split())
        if beginning.search(plain):
            return True
    return False


def checksum(body: str) -> str:
    """The six characters that follow ``body`` (ASCII)."""
    high, low = divmod(zlib.crc32(body.encode("ascii")), len(_PAIRS))
    high, middle = divmod(high, len(_PAIRS))
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]


def _base62(length: int, random_bytes: RandomBytes) -> str:
    characters: list[str] = []
    while len(characters) < length:
        characters += [ALPHABET[byte % len(ALPHABET)] for byte in random_bytes(length) if byte < _UNBIASED]
    return "".join(characters[:length])


def _decoded(match: re.Match[str]) -> str:
    return chr(int(match[0][1:], 16))


def _pattern(prefix: str) -> str:
    return rf"{re.escape(prefix)}_([0-9A-Za-z]{{{ID_LENGTH}}})_[0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}}"


@lru_cache(maxsize=8)
def _form(prefix: str) -> re.Pattern[str]:
    return re.compile(_pattern(prefix))


@lru_cache(maxsize=8)
def _inside(prefix: str) -> re.Pattern[str]:
    # A look-ahead consumes nothing, so that a text that begins inside another candidate is seen too.
    return re.compile(rf"(?=({_pattern(prefix)}))")
