"""Authorization fields -> the bearer token's text (RFC 6750 section 2.1). Other places for a token are not supported."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.decision import Denial, denied

_SEVERAL = denied("credential_ambiguous", "Send one Authorization field with one credential.")
_MISSING = denied("token_missing", "Send the token as Authorization: Bearer TOKEN.")
_MALFORMED = denied("token_malformed", "After Bearer comes one token and nothing else.")
IN_TARGET = denied("credential_ambiguous", "The request target holds a token: send it as Authorization: Bearer TOKEN only.")
BAD_FORM = denied("token_malformed", "The token is cut off or mistyped: its checksum is wrong.")


def read_bearer(fields: Sequence[bytes]) -> str | Denial:
    """The text after Bearer, from the values of all Authorization fields. The scheme is compared without case."""
    if not fields:
        return _MISSING
    if len(fields) > 1 or b"," in fields[0]:
        return _SEVERAL
    scheme, _, rest = fields[0].partition(b" ")
    if scheme.lower() != b"bearer":
        return _MISSING
    text = rest.strip(b" \t")
    if not text or not text.isascii() or b" " in text or b"\t" in text:
        return _MALFORMED
    return text.decode("ascii")
