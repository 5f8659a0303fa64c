"""Tokens in bytes that come piece by piece: by prefix, lengths and checksum, so that hardly anything but a token is found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from gateway.core.token_text import CHECKSUM_LENGTH, ID_LENGTH, SECRET_LENGTH, parse


class Leak(NamedTuple):
    """A token's text and its line, from 1. The repr keeps the text."""

    line: int
    token_id: str
    text: str

    def __repr__(self) -> str:
        return f"Leak(line={self.line}, token_id={self.token_id!r})"


def find_leaks(pieces: Iterable[bytes], prefix: str) -> Iterator[Leak]:
    """The tokens in a file that is given piece by piece, each time they stand in it. What a piece ends with is looked at again with the next one, so that
    a token over a seam is seen; no more than a token's length is kept."""
    length = len(prefix) + 1 + ID_LENGTH + 1 + SECRET_LENGTH + CHECKSUM_LENGTH
    mark: Final = prefix.encode("ascii") + b"_"
    # A look-ahead consumes nothing, so that a text that begins inside another candidate is seen too.
    form = re.compile(b"(?=(%b[0-9A-Za-z]{%d}_[0-9A-Za-z]{%d}))" % (re.escape(mark), ID_LENGTH, SECRET_LENGTH + CHECKSUM_LENGTH))
    kept, line = b"", 1  # kept: the end of what came, too short for a token; line: that of its first byte
    for piece in pieces:
        data = kept + piece.replace(b"\0", b"")  # a text in UTF-16 is one in ASCII, but for these
        if mark in data:
            counted, upto = line, 0
            for match in form.finditer(data):
                counted, upto = counted + data.count(b"\n", upto, match.start()), match.start()
                text = match[1].decode("ascii")
                token_id = parse(text, prefix)
                if token_id is not None:
                    yield Leak(counted, token_id, text)
        cut = max(0, len(data) - length + 1)
        line += data.count(b"\n", 0, cut)
        kept = data[cut:]
