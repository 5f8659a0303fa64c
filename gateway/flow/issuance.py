"""The life of a token: create, list, rename, regenerate, suspend, resume, revoke. One module for command line, API and pages.

What a person asks for is checked here, every wrong field at once; what the token's state allows is judged in the store, on its clock.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from copy import copy
from dataclasses import replace
from typing import Final, NamedTuple

from gateway.core.audit import AuditEntry
from gateway.core.policy import Policy
from gateway.core.principal import COMMAND, Actor, Principal
from gateway.core.scope import parse_grants
from gateway.core.token_record import ACTIVE, EXPIRED, REVOKED, SUSPENDED, TokenRecord
from gateway.core.token_text import TOKEN_ID, RandomBytes, digest, make_text, make_token
from gateway.flow import token_fields as check
from gateway.flow.token_json import record_json
from gateway.ports import Changed, Reach, StoreUnavailable, TokenDraft, TokenPage, TokenRegister

__all__ = ["OPERATOR", "Issuance", "IssuanceRefused", "Issued", "record_json"]

OPERATOR: Final = "operator"  # owner of what is made without one
ON_THE_COMMAND_LINE: Final = Actor(Principal(OPERATOR, admin=True, via=COMMAND))
DAY_MS: Final = 86_400_000
MAX_OVERLAP_S: Final = 7 * 86_400
MAX_SKEW_MS: Final = 60_000
MAX_PAGE: Final = 500
SCANNED: Final = 10_000  # records looked at for one page: with a rare filter a page may be short, even empty, and yet have a next one
_AT_ONCE: Final = 8  # revokes of one owner
_ATTEMPTS: Final = 5  # a new id that exists already does not happen by chance
STATES: Final = (ACTIVE, SUSPENDED, REVOKED, EXPIRED)
_FORBIDS: Final = {
    REVOKED: "The token was revoked for good: make a new one.",
    EXPIRED: "The token has expired: make a new one.",
    SUSPENDED: "The token is suspended: resume it first.",
}


Begin = Callable[[str], Awaitable[None]]


async def _at_once(_: str) -> None:
    """What is done first where nothing is."""


class IssuanceRefused(Exception):
    """A rule stands against it. ``code`` is invalid, not_found, not_active, too_many_tokens, admin_only, grant_not_allowed or clock_skew, with the ``status``
    that goes with it; ``fields`` names each wrong field with what is wrong about it.
    """

    def __init__(self, code: str, message: str, fields: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.code: Final = code
        self.message: Final = message
        self.fields: Final = fields or {}
        self.status: Final = {"invalid": 422, "not_found": 404, "admin_only": 403, "grant_not_allowed": 403, "clock_skew": 503}.get(code, 409)


class Issued(NamedTuple):
    """A token and its secret, which is shown once; ``reach`` of the change, where there was something to end."""

    token: TokenRecord
    secret: str
    reach: Reach = Reach(0, 0)

    def __repr__(self) -> str:
        return f"Issued(token={self.token!r})"


class Ended(NamedTuple):
    """A token that was revoked or suspended, and how far that has got."""

    token: TokenRecord
    reach: Reach


class OwnerEnded(NamedTuple):
    """The tokens of one who leaves that this call has ended, and how far the one has got that is the least far."""

    tokens: list[TokenRecord]
    reach: Reach


class _StoreTime:
    """The store's time in Unix milliseconds, as last heard and counted on since."""

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self._ms = 0
        self._heard_at = 0.0

    def heard(self, now_ms: int) -> None:
        self._ms, self._heard_at = now_ms, time.monotonic()

    def now_ms(self) -> int:
        return self._ms + int((time.monotonic() - self._heard_at) * 1000) if self._ms else self._clock_ms()


class Issuance:
    """Every method may raise StoreUnavailable, with ``written`` where the change may have been made, and IssuanceRefused. What ``by`` may not see is not
    there for it.
    """

    def __init__(
        self,
        register: TokenRegister,
        prefix: str,
        *,
        by: Actor,
        random_bytes: RandomBytes = os.urandom,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._register = register
        self._prefix = prefix
        self._by = by
        self._random = random_bytes
        self._clock_ms = clock_ms
        self._time = _StoreTime(clock_ms)

    def acting_for(self, by: Actor) -> Issuance:
        """The same on behalf of somebody else."""
        other = copy(self)
        other._by = by  # noqa: SLF001 - our own copy
        return other

    @property
    def by(self) -> Actor:
        """On whose behalf it acts."""
        return self._by

    def now_ms(self) -> int:
        """The store's time, as last heard and counted on since: for the state that people are shown."""
        return self._time.now_ms()

    async def create(
        self,
        *,
        name: str,
        policy: Policy,
        owner: str | None = None,
        full: bool = False,
        grants: Sequence[str] = (),
        expires_in_days: int | None = None,
        allowed_ips: Sequence[str] = (),
        description: str = "",
        replaces: str | None = None,
        end_replaced: bool = False,
        begin: Begin = _at_once,
    ) -> Issued:
        """A new token. ``full`` is every scope of the policy as it is now, as far as one may grant them; else ``grants`` are SCOPE, SCOPE:view or
        SCOPE:manage. ``owner`` is another than who asks, where an admin makes it for somebody. ``replaces`` is the id of a token of the same owner
        whose place it takes: with ``end_replaced`` that one is revoked when the new one is first used. ``begin`` gets the id before the store is changed."""
        by = self._by.principal
        if by.grants is not None:
            by = replace(by, grants=by.grants.named_now(policy.scopes.values()))
        faults = check.Faults()
        days = policy.default_expiry_days if expires_in_days is None else expires_in_days
        draft = TokenDraft(
            id="",
            digest=b"",
            name=faults.of("name", check.name, name),
            owner=faults.of("owner", check.owner, by.subject if owner is None else owner),
            access="full" if full else "custom",
            grants=faults.of("grants", check.grants, grants, full, policy, by.grants),
            policy_scopes=tuple(policy.scopes),
            lifetime_ms=faults.of("expires_in_days", check.days, days, policy.max_expiry_days) * DAY_MS,
            allowed_ips=faults.of("allowed_ips", check.networks, allowed_ips),
            description=faults.of("description", check.description, description),
            replaces=replaces or "",
            end_replaced=end_replaced,
        )
        if replaces is not None and (wrong := await self._wrong_to_replace(replaces, draft.owner)):
            faults.found["replaces"] = wrong
        if end_replaced and replaces is None:
            faults.found["end_replaced"] = "needs replaces: name the token that is to end"
        _refuse_invalid(faults)
        if not by.sees(draft.owner):
            raise IssuanceRefused("admin_only", "Only an admin makes tokens for others: leave owner out.")
        if not draft.grants:  # full access is what one may grant
            raise IssuanceRefused("grant_not_allowed", "There is no scope that you may grant.", {"access": "is full, and there is no scope that you may grant"})
        beyond = by.beyond(draft.grants)
        if beyond:
            raise IssuanceRefused(
                "grant_not_allowed", f"You may not grant {', '.join(beyond)}.", {"grants": f"holds {', '.join(beyond)}, which you may not grant"}
            )
        for _ in range(_ATTEMPTS):
            token = make_token(self._prefix, self._random)
            await begin(token.id)
            changed = await self._register.create(
                draft._replace(id=token.id, digest=digest(token.text)),
                max_per_owner=policy.max_per_owner,
                clock_ms=self._clock_ms(),
                max_skew_ms=MAX_SKEW_MS,
                by=self._by,
            )
            if changed.outcome != "taken":
                break
        else:
            raise StoreUnavailable(f"the store has each of {_ATTEMPTS} new token ids already: its indexes are damaged")
        if changed.outcome == "full":
            raise IssuanceRefused(
                "too_many_tokens", f"{draft.owner} has {policy.max_per_owner} tokens, as many as the policy lets one owner have: revoke one first."
            )
        if changed.outcome == "skewed":
            seconds = abs(self._clock_ms() - changed.now_ms) // 1000
            raise IssuanceRefused("clock_skew", f"The clocks of this machine and of the store differ by {seconds} s: set them right.")
        return Issued(self._done(changed, token.id), token.text)

    async def get(self, token_id: str) -> TokenRecord:
        """One record, ended ones too. To one who may not see it there is none."""
        record, now_ms = await self._register.record(token_id)
        self._time.heard(now_ms)
        if record is None or not self._by.principal.sees(record.owner):
            raise _not_found(token_id)
        return record

    async def rename(self, token_id: str, *, name: str | None = None, description: str | None = None) -> TokenRecord:
        """Another name or description; None leaves it. Nothing else of a token can be changed."""
        faults = check.Faults()
        new_name = None if name is None else faults.of("name", check.name, name)
        new_description = None if description is None else faults.of("description", check.description, description)
        _refuse_invalid(faults)
        if new_name is None and new_description is None:
            return await self.get(token_id)
        await self._may_change(token_id)
        return self._done(await self._register.rename(token_id, name=new_name, description=new_description, by=self._by), token_id)

    async def regenerate(self, token_id: str, overlap_s: int = 0, *, policy: Policy | None = None, begin: Begin = _at_once) -> Issued:
        """A new secret for the same token. The old one works on for ``overlap_s`` seconds, at most 7 days, never past the expiry. A new secret is as good
        as a new token, so who could not make the token today gets none; by ``policy`` grants of a scope's former ids count as well. ``begin`` gets the id
        before the store is changed."""
        faults = check.Faults()
        faults.of("overlap", check.within, overlap_s, 0, MAX_OVERLAP_S, "seconds, at most 7 days")
        _refuse_invalid(faults)
        if not self._by.principal.admin:
            _refuse_beyond(self._by.principal, await self.get(token_id), policy)
        await begin(token_id)
        text = make_text(self._prefix, token_id, self._random)
        changed = await self._register.regenerate(token_id, digest(text), overlap_s * 1000, self._by)
        return Issued(self._done(changed, token_id), text, changed.reach)

    async def revoke(self, token_id: str) -> Ended:
        """End the token for good. Once more does nothing."""
        await self._may_change(token_id)
        changed = await self._register.revoke(token_id, self._by)
        return Ended(self._done(changed, token_id), changed.reach)

    async def suspend(self, token_id: str) -> Ended:
        """Stop the token until it is resumed; its expiry goes on. Once more does nothing."""
        await self._may_change(token_id)
        changed = await self._register.suspend(token_id, self._by)
        return Ended(self._done(changed, token_id), changed.reach)

    async def resume(self, token_id: str) -> TokenRecord:
        """Let a suspended token work again. Of an active one does nothing."""
        await self._may_change(token_id)
        return self._done(await self._register.resume(token_id, self._by), token_id)

    async def revoke_owner(self, owner: str) -> OwnerEnded:
        """End all tokens of one who leaves. Tokens made meanwhile are ended too, and those that were revoked before once more: who asks again may not
        have heard that all workers know."""
        if not self._by.principal.sees(owner):
            raise IssuanceRefused("admin_only", "Only an admin ends the tokens of others.")
        ended: list[TokenRecord] = []
        reaches: list[Reach] = []
        states: dict[str, str] = {}

        async def look(token_id: str) -> None:
            record, now_ms = await self._register.record(token_id)
            states[token_id] = EXPIRED if record is None else record.state_at(now_ms)

        async def end(token_id: str) -> None:
            if states[token_id] != EXPIRED:
                token, reach = await self.revoke(token_id)
                reaches.append(reach)
                if states[token_id] != REVOKED:
                    ended.append(token)

        try:
            new = await self._register.ids_of(owner)
            await _some_at_once(look, new)
            # Noted first: whatever fails later, it is known who did this. Each end has an entry of its own.
            living = sum(state in {ACTIVE, SUSPENDED} for state in states.values())
            await self._register.note(AuditEntry("owner.revoke", self._by, owner=owner, details={"tokens": living}))
            while new:
                await _some_at_once(end, new)
                new = [token_id for token_id in await self._register.ids_of(owner) if token_id not in states]
                await _some_at_once(look, new)
        except StoreUnavailable as why:
            raise StoreUnavailable(str(why), written=why.written or bool(ended)) from why
        return OwnerEnded(ended, min(reaches, key=lambda reach: reach.nodes_confirmed - reach.nodes, default=Reach(0, 0)))

    async def every(self) -> AsyncIterator[list[TokenRecord]]:
        """All tokens of all owners, ended ones too, in pieces and no order, without what is kept of their use. None is there for who is no admin."""
        if self._by.principal.admin:
            async for records, now_ms in self._register.every():
                self._time.heard(now_ms)
                yield records

    async def list(self, *, state: str | None = None, owner: str | None = None, q: str = "", cursor: str = "", limit: int = 50) -> TokenPage:
        """One page, newest first. ``q`` is looked for in name, owner and description, without case, or is an id.

        Pages stay steady while tokens are made: a new one is only ever before the first page. Of others' tokens none is there for who is no admin.
        """
        by = self._by.principal
        if not by.admin:
            if owner not in {None, by.subject}:
                return TokenPage([], "")
            owner = by.subject
        faults = check.Faults()
        faults.of("state", check.one_of, state, STATES)
        faults.of("limit", check.within, limit, 1, MAX_PAGE)
        _refuse_invalid(faults)
        wanted = q.casefold()
        items: list[TokenRecord] = []
        for _ in range(SCANNED // MAX_PAGE):
            try:
                entries, following, now_ms = await self._register.page(owner=owner, cursor=cursor, count=MAX_PAGE if state or q else limit)
            except ValueError as error:
                raise IssuanceRefused("invalid", "The cursor is not valid.", {"cursor": f"{error}: begin without one"}) from error
            self._time.heard(now_ms)
            for behind, record in entries:
                if (state is None or record.state_at(now_ms) == state) and _speaks_of(record, q, wanted):
                    items.append(record)
                    if len(items) == limit:
                        last = behind == entries[-1][0]
                        return TokenPage(items, following if last else behind)
            cursor = following
            if not cursor:
                break
        return TokenPage(items, cursor)

    def _done(self, changed: Changed, token_id: str) -> TokenRecord:
        self._time.heard(changed.now_ms)
        if changed.outcome in _FORBIDS:
            raise IssuanceRefused("not_active", _FORBIDS[changed.outcome])
        if changed.record is None:
            raise _not_found(token_id)
        return changed.record

    async def _wrong_to_replace(self, token_id: str, owner: str) -> str:
        """Why a token of this owner ("" where that is not known) may not take that one's place; "" where it may. An owner reads the id of what replaces
        its token, and may see it: another's must not be there."""
        try:
            record = await self.get(token_id)
        except IssuanceRefused:
            return f"there is no token {check.shown(token_id)}"
        return "" if not owner or record.owner == owner else f"is a token of {check.shown(record.owner)}: the new one must have the same owner"

    async def _may_change(self, token_id: str) -> None:
        """It may change no sooner than it may be seen; an owner never changes, so this can't become wrong meanwhile."""
        if not self._by.principal.admin:
            await self.get(token_id)


async def _some_at_once(work: Callable[[str], Awaitable[None]], token_ids: Sequence[str]) -> None:
    """Work on each, some at a time: with a node that is slow to confirm each end may wait for a lease. Those of one time are done before a fault is
    raised."""
    for begin in range(0, len(token_ids), _AT_ONCE):
        for outcome in await asyncio.gather(*map(work, token_ids[begin : begin + _AT_ONCE]), return_exceptions=True):
            if outcome is not None:
                raise outcome


def _refuse_invalid(faults: check.Faults) -> None:
    if faults.found:
        raise IssuanceRefused("invalid", "; ".join(f"{field}: {fault}" for field, fault in faults.found.items()), faults.found)


def _refuse_beyond(by: Principal, record: TokenRecord, policy: Policy | None) -> None:
    """IssuanceRefused where the token holds more than ``by`` may grant. A scope that the policy has no more is in no token."""
    grants = tuple(record.grants)
    if policy is not None and by.grants is not None:
        by = replace(by, grants=by.grants.named_now(policy.scopes.values()))
        grants = tuple(parse_grants(record.grants).named_now(policy.scopes.values()))
    beyond = by.beyond(grants)
    if beyond:
        raise IssuanceRefused(
            "grant_not_allowed", f"The token holds {', '.join(beyond)}, which you may not grant any more: make a new token with what you may grant."
        )


def _not_found(token_id: str) -> IssuanceRefused:
    # What is no id may be a secret that was pasted in its place: it is not repeated.
    said = f"There is no token {check.shown(token_id)}." if TOKEN_ID.match(token_id) else "There is no such token: an id is 12 letters and digits."
    return IssuanceRefused("not_found", said)


def _speaks_of(record: TokenRecord, q: str, wanted: str) -> bool:
    return not q or q == record.id or any(wanted in text.casefold() for text in (record.name, record.owner, record.description))
