"""The cases of tests/vectors/decisions.yaml in terms of a token's secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway.core.token_text import checksum


class Secrets(NamedTuple):
    """The texts that a token had: ``first`` when made, ``previous`` before its last regenerate, ``secret`` now."""

    first: str
    previous: str
    secret: str

    def __repr__(self) -> str:
        return "Secrets(…)"


def signed(body: str) -> str:
    """A text of token form: ``body`` is prefix, id and secret; the checksum is added."""
    return body + checksum(body)


def fill(text: str, secrets: Secrets) -> str:
    """A field or target of the table with its placeholders filled in."""
    secret = secrets.secret
    prefix, token_id, rest = secret.split("_")
    values = {
        "secret": secret,
        "previous": secrets.previous,
        "first": secrets.first,
        "typo": secret[:-1] + ("A" if secret[-1] != "A" else "B"),
        "cut": secret[:-1],
        "upper": secret.upper(),
        "coded": secret.replace("_", "%5F"),
        "forged": signed(f"{prefix}_{token_id}_{rest[1:32]}{'A' if rest[0] != 'A' else 'B'}"),
        "unknown": signed(f"{prefix}_{token_id[1:]}{'A' if token_id[0] != 'A' else 'B'}_{rest[:32]}"),
    }
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], text)


def field_lines(case: Mapping[str, Any], secrets: Secrets) -> list[str]:
    """The lines that a case sends, its credential among them."""
    lines = [fill(line, secrets) for line in case.get("fields", ["Authorization: Bearer {secret}"])]
    if case.get("websocket"):
        lines += ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    return lines
