"""The order of the steps from a request to a decision, for every entry point.

canonical path -> match -> public? -> credential -> token -> route exists? -> method -> grant -> rate limit

A refusal of the match is kept until the token is known, so that without a valid token mapped and unmapped paths answer alike.
The steps up to the credential, and the judgement, are plain functions; the look-up and the limit are awaited.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway.core.authorize import check_grant, check_token, find_route, refuse_method
from gateway.core.client_address import Address
from gateway.core.credential import BAD_FORM, IN_TARGET, read_bearer
from gateway.core.decision import Allow, Denial, denied
from gateway.core.path import CanonicalPath, canonicalise
from gateway.core.policy import Policy
from gateway.core.route import Route
from gateway.core.token_record import LiveRecord
from gateway.core.token_text import digest, find_in, parse
from gateway.ports import LimitStore, StoreUnavailable, TokenStore


class Opening(NamedTuple):
    """What is known of a request before the store is asked. ``token_id`` is "" on a public route."""

    path: CanonicalPath
    match: Route | Denial
    token_id: str
    digest: bytes


STORE_UNAVAILABLE = denied("store_unavailable", "The token store cannot be used now; nothing passes unchecked. Try again.", retry_after=1)


class Engine:
    """Decides requests by one policy, one store. ``policy`` is replaced whole by a reload."""

    def __init__(self, policy: Policy, tokens: TokenStore, limits: LimitStore, token_prefix: str) -> None:
        self.policy = policy
        self._tokens = tokens
        self._limits = limits
        self._prefix = token_prefix
        self.store_ms = 0  # the store's time, as last told

    def open(self, method: str, target: str, authorizations: Sequence[bytes]) -> Opening | Denial:
        """All steps that need no store."""
        refusal = refuse_method(method)
        if refusal:
            return refusal
        path = canonicalise(target)
        if isinstance(path, Denial):
            return path
        match = find_route(self.policy, path, method)
        if find_in(target, self._prefix):
            return IN_TARGET
        if isinstance(match, Route) and match.public:
            return Opening(path, match, "", b"")
        text = read_bearer(authorizations)
        if isinstance(text, Denial):
            return text
        token_id = parse(text, self._prefix)
        if token_id is None:
            return BAD_FORM
        return Opening(path, match, token_id, digest(text))

    def judge(self, opening: Opening, record: LiveRecord | None, now_ms: int, method: str, address: Address, *, websocket: bool = False) -> Allow | Denial:
        """The verdict, with the record at hand. ``now_ms`` is the store's time."""
        match = opening.match
        if not opening.token_id:
            return match if isinstance(match, Denial) else Allow(match, None)
        refusal = check_token(record, opening.digest, now_ms, address)
        if refusal:
            return refusal
        if isinstance(match, Denial):
            return match._replace(record=record)
        assert record is not None  # noqa: S101 - check_token refuses it
        refusal = check_grant(match, record.grants, record.created_at, method, websocket=websocket)
        return refusal._replace(record=record) if refusal else Allow(match, record)

    async def decide(self, opening: Opening, method: str, address: Address, *, websocket: bool = False) -> Allow | Denial:
        """The verdict of the store's present record; Denial(store_unavailable) where there is none to be had."""
        if not opening.token_id:
            return self.judge(opening, None, 0, method, address)
        try:
            found = await self._tokens.fetch(opening.token_id)
        except StoreUnavailable:
            return STORE_UNAVAILABLE
        self.store_ms = found.now_ms
        return self.judge(opening, found.record, found.now_ms, method, address, websocket=websocket)

    async def limit(self, verdict: Allow, address: Address) -> Denial | None:
        """Count the request against its route's rate limit: per token, on a public route per client address."""
        limit = verdict.route.rate_limit
        if limit is None:
            return None
        who = verdict.record.id if verdict.record else str(address)
        try:
            taken = await self._limits.take(f"{verdict.route.key}:{who}", limit)
        except StoreUnavailable:
            return STORE_UNAVAILABLE
        if taken.allowed:
            return None
        wait = max(1, -(-taken.retry_after_ms // 1000))
        return denied(
            "rate_limited",
            f"The route takes {limit.requests} requests in {limit.period_ms / 1000:g} s; try again in {wait} s.",
            route=verdict.route,
            record=verdict.record,
            retry_after=wait,
        )
