"""Who holds a token's text, and what it is worth now: asked of the store each time, never of a memory."""

from __future__ import annotations

from typing import Final

from gateway.core.authorize import is_secret_of
from gateway.core.token_record import ACTIVE, REVOKED, LiveRecord
from gateway.core.token_text import digest, parse
from gateway.ports import TokenStore

_LONGEST: Final = 256


class Holding:
    """Both questions may raise StoreUnavailable. What is not of token form is nobody's, without a look at the store."""

    def __init__(self, tokens: TokenStore, prefix: str) -> None:
        self._tokens = tokens
        self._prefix = prefix

    async def active(self, text: str) -> LiveRecord | None:
        """The record, if requests with this text would be accepted now, from an address that it allows."""
        record = await self.shown(text)
        return record if record is not None and record.state == ACTIVE else None

    async def shown(self, text: str) -> LiveRecord | None:
        """The record, if this is its secret (the one before too, while both work) and the token has not ended; suspended ones too."""
        token_id = parse(text, self._prefix) if len(text) <= _LONGEST else None
        if token_id is None:
            return None
        record, now_ms = await self._tokens.fetch(token_id)
        if record is None or not is_secret_of(record, digest(text), now_ms) or record.state == REVOKED or now_ms >= record.expires_at:
            return None
        return record
