"""The order of the steps from a request to a decision, for every entry point.

canonical path -> match -> public? -> credential -> token -> route exists? -> method -> grant -> rate limit

A refusal of the match is kept until the token is known, so that without a valid token mapped and unmapped paths answer alike.
What stands under ``own_prefix`` goes the same way, by the routes that the gateway answers itself.
The steps up to the credential, and the judgement, are plain functions; the look-up and the limit are awaited.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

import msgspec

from gateway.core.authorize import NEVER_FORWARDED, check_grant, check_token, find_route, plainly_allowed, refuse_method, reported
from gateway.core.client_address import Address
from gateway.core.credential import BAD_FORM, IN_TARGET, read_bearer
from gateway.core.decision import Allow, Denial, denied
from gateway.core.own_routes import own_policy
from gateway.core.path import CanonicalPath, canonicalise
from gateway.core.policy import Policy
from gateway.core.route import Route
from gateway.core.token_record import LiveRecord
from gateway.core.token_text import CHECKSUM_LENGTH, ID_LENGTH, SECRET_LENGTH, digest, find_in, parse
from gateway.ports import LimitStore, Lookup, StoreUnavailable, TokenStore, Unknown


class Opening(msgspec.Struct, frozen=True, gc=False):
    """What is known of a request before the store is asked. ``token_id`` is "" on a public route, and where ``refusal``, which is only reported, says
    what is wrong with the credential."""

    path: CanonicalPath
    match: Route | Denial
    token_id: str
    digest: bytes
    refusal: Denial | None = None


class Credential:
    """The credential that a connection has sent last, once it was a known token's: what follows from its text need not be worked out again.
    The digest is still compared with the record at each decision. It lives as long as its connection."""

    __slots__ = ("digest", "field", "token_id")

    def __init__(self) -> None:
        self.field = b""
        self.token_id = ""
        self.digest = b""


STORE_UNAVAILABLE = denied("store_unavailable", "The token store cannot be used now; nothing passes unchecked. Try again.", retry_after=1)


class Engine:
    """Decides requests by one policy, one store. ``policy`` is replaced whole by a reload."""

    def __init__(self, policy: Policy, tokens: TokenStore, limits: LimitStore, token_prefix: str, own_prefix: str = "") -> None:
        """``own_prefix`` begins and ends with a slash, or is "" where the gateway answers nothing itself."""
        self.policy = policy
        self._own = own_policy(own_prefix)
        self._own_prefix = own_prefix or "off"  # with which no path begins
        self._tokens = tokens
        self._limits = limits
        self._prefix = token_prefix
        self._mark = f"{token_prefix}_"
        self._id_from = len(self._mark)
        self._field_length = len("Bearer ") + self._id_from + ID_LENGTH + 1 + SECRET_LENGTH + CHECKSUM_LENGTH
        self.store_ms = 0  # the store's time, as last told

    def open(self, method: str, target: str, authorizations: Sequence[bytes], last: Credential) -> Opening | Denial:
        """All steps that need no store. ``last`` is the connection's, and is kept up here."""
        if method in NEVER_FORWARDED and (refusal := refuse_method(method)):
            return refusal
        path = canonicalise(target)
        if isinstance(path, Denial):
            return path
        match = find_route(self._own if path.path.startswith(self._own_prefix) else self.policy, path, method)
        if ("%" in target or self._mark in target) and find_in(target, self._prefix):
            return IN_TARGET
        if match.__class__ is Route and match.public:
            return Opening(path, match, "", b"")
        field = authorizations[0] if len(authorizations) == 1 else b""
        if field and field == last.field:
            return Opening(path, match, last.token_id, last.digest)
        if field[:7] == b"Bearer " and len(field) == self._field_length:
            # The digest of a known token's text proves its form: no need to look at each character.
            text = field[7:]
            token_id = text[self._id_from : self._id_from + ID_LENGTH].decode("latin-1")
            proof = sha256(text).digest()
            if self._tokens.is_secret_of(token_id, proof):
                last.field, last.token_id, last.digest = field, token_id, proof
                return Opening(path, match, token_id, proof)
        words = read_bearer(authorizations)
        known = parse(words, self._prefix) if isinstance(words, str) else None
        if isinstance(words, str) and known is not None:
            return Opening(path, match, known, digest(words))
        refusal = BAD_FORM if isinstance(words, str) else words
        verdict = refusal if len(authorizations) > 1 else reported(self.policy_of(path), match, refusal)
        if isinstance(verdict, Denial):
            return verdict
        return Opening(path, match, "", b"", refusal)

    def policy_of(self, path: CanonicalPath) -> Policy:
        """By which policy a path is judged."""
        return self._own if path.path.startswith(self._own_prefix) else self.policy

    def judge(self, opening: Opening, record: LiveRecord | None, now_ms: int, method: str, address: Address, *, websocket: bool = False) -> Allow | Denial:
        """The verdict, with the record at hand. ``now_ms`` is the store's time."""
        verdict = self._enforced(opening, record, now_ms, method, address, websocket=websocket)
        return reported(self.policy_of(opening.path), opening.match, verdict) if isinstance(verdict, Denial) else verdict

    def _enforced(self, opening: Opening, record: LiveRecord | None, now_ms: int, method: str, address: Address, *, websocket: bool) -> Allow | Denial:
        match = opening.match
        if opening.refusal is not None:
            return opening.refusal
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

    def decide_at_hand(self, opening: Opening, method: str, address: Address, *, websocket: bool = False) -> Allow | Denial | None:
        """The verdict without asking the store; None where it has to be asked."""
        if not opening.token_id:
            return self.judge(opening, None, 0, method, address)
        record, now_ms = self._tokens.at_hand(opening.token_id)
        if isinstance(record, Unknown):
            return None
        self.store_ms = now_ms
        match = opening.match
        if record is not None and not websocket and match.__class__ is Route and plainly_allowed(match, record, opening.digest, now_ms, method):
            return Allow(match, record)
        return self.judge(opening, record, now_ms, method, address, websocket=websocket)

    def decide_then(self, opening: Opening, method: str, address: Address, then: Callable[[Allow | Denial], None], *, websocket: bool = False) -> None:
        """Ask the store; ``then`` is called with the verdict inside the read of its answer, so that nothing lies between."""

        def found(answer: Lookup | StoreUnavailable) -> None:
            if isinstance(answer, StoreUnavailable):
                then(reported(self.policy_of(opening.path), opening.match, STORE_UNAVAILABLE))
            else:
                self.store_ms = answer.now_ms
                then(self.judge(opening, answer.record, answer.now_ms, method, address, websocket=websocket))

        self._tokens.call(opening.token_id, found)

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
