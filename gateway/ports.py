"""What the flow of a request asks of the outside world. Adapters live in ``store`` and ``observe``; tests ship fakes of their own.

Every method of a store port may raise StoreUnavailable; the engine turns it into a refusal, never into a 401.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from gateway.core.audit import AuditEntry
from gateway.core.principal import NOBODY, Actor, Principal
from gateway.core.route import RateLimit, Route
from gateway.core.token_record import LiveRecord, TokenRecord


class StoreUnavailable(Exception):
    """The store is down, slow, read-only, full, or not the one that we know. The text is one line for an operator.

    ``written`` is True where the change may have been made all the same.
    """

    def __init__(self, why: str, *, written: bool = False) -> None:
        super().__init__(why)
        self.written = written


class Lookup(NamedTuple):
    """A look-up's answer: the record (ended ones too, for 90 days), None if there is no such token; and the store's time."""

    record: LiveRecord | None
    now_ms: int


class Unknown:
    """The type of NOT_AT_HAND."""

    __slots__ = ()


NOT_AT_HAND: Final = Unknown()


class TokenStore(Protocol):
    """Look-ups of the hot path."""

    def at_hand(self, token_id: str) -> tuple[LiveRecord | Unknown | None, int]:
        """What is known of a token without asking the store, and the store's time; NOT_AT_HAND where it has to be asked."""

    def is_secret_of(self, token_id: str, digest: bytes) -> bool:
        """Whether this is the digest of a secret that the token is remembered to have: it says nothing about whether it still has it."""

    def call(self, token_id: str, found: Callable[[Lookup | StoreUnavailable], None]) -> None:
        """Look a token up; ``found`` is called when the answer is read, before anything else that the store says is looked at."""

    async def fetch(self, token_id: str) -> Lookup:
        """One record. Look-ups of one loop turn go to the store together."""

    async def fetch_many(self, token_ids: Sequence[str]) -> tuple[dict[str, LiveRecord], int]:
        """Several records by id, ended ones too, absent ones left out; and the store's time in Unix milliseconds."""


class LimitVerdict(NamedTuple):
    """``allowed``; ``remaining`` requests at once; ``retry_after_ms`` until the next is allowed, 0 if it is now."""

    allowed: bool
    remaining: int
    retry_after_ms: int


class LimitStore(Protocol):
    """Rate limits, counted in the store, so that all workers and nodes share them."""

    async def take(self, key: str, limit: RateLimit) -> LimitVerdict:
        """Count one request under ``key`` (GCRA: generic cell rate algorithm, ITU-T I.371), atomically."""


class Refusal(NamedTuple):
    """One refused request of a token whose secret was proved. ``at`` is Unix milliseconds; ``path`` is the canonical one, without a query; ``route`` is
    "" where no route covers it. ``required_scope``, ``granted`` and ``missing`` are told where a scope was missing."""

    at: int
    request_id: str
    client: str
    method: str
    path: str
    route: str
    status: int
    code: str
    required_scope: str | None = None
    granted: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


class Decided(msgspec.Struct, frozen=True, omit_defaults=True):
    """The decision on one refused request, in the words of ``core.explain``. ``at`` is Unix milliseconds, ``path`` the canonical one without a query, cut and
    redacted; ``policy`` the hash of the one that decided. Of the token there is something only once its secret was proved. ``forwarded``: its route only
    reports, so it went up all the same.
    """

    request_id: str
    at: int
    client: str
    method: str
    path: str
    status: int
    code: str
    detail: str
    policy: str
    token_id: str = ""
    owner: str = ""
    rule: str = ""
    tried: tuple[tuple[str, str], ...] = ()
    granted: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    forwarded: bool = False


class DecisionLog(Protocol):
    """Decisions on refused requests, kept for a while. Never fails and never waits."""

    def add(self, decided: Decided) -> None:
        """Note one."""


class UsageLedger(Protocol):
    """Usage of tokens, written in batches. Never fails and never waits."""

    def used(self, token_id: str, route: Route, method: str, address: str, now_ms: int) -> None:
        """Note that a request of the token was let through at that time. ``method`` is "WEBSOCKET" for an upgrade."""

    def refused(self, token_id: str, refusal: Refusal) -> None:
        """Note that a request of the token was refused, and, where its secret had ended, that such a secret was used."""


class UsedRoute(NamedTuple):
    """How often a token was let through on one day (days since 1970, UTC) by one route, and what that asked of its scope: "view" or "manage"."""

    day: int
    access: str
    scope: str
    route: str
    requests: int


class Usage(NamedTuple):
    """A token's days, and by day how many requests were refused. ``today`` is the store's, in days since 1970."""

    today: int
    routes: list[UsedRoute]
    refused: dict[int, int]


class UsageReader(Protocol):
    """What the ledgers of all workers have written."""

    async def usage(self, token_id: str, days: int) -> Usage:
        """The last so many days, today's included."""

    async def refusals(self, token_id: str) -> list[Refusal]:
        """The last refusals, newest first."""


class Notice(NamedTuple):
    """Something that has to be seen to, at least once. ``kind`` is "expiry", "reuse" or "replacement"; ``facts`` are its own. ``tries`` have failed."""

    id: str
    kind: str
    facts: dict[str, str | int]
    tries: int = 0


class NoticeQueue(Protocol):
    """What is due, in the store: a restart loses nothing, and of several nodes one sees to it."""

    async def sweep(self, days: Sequence[int]) -> None:
        """Make the notices of tokens that come within so many ``days`` (descending) of their expiry, each once."""

    async def claim(self, count: int) -> tuple[list[Notice], int]:
        """Up to so many due notices, nobody else's for half a minute, and the store's time."""

    async def done(self, notice: Notice) -> None:
        """It is seen to."""

    async def later(self, notice: Notice, delay_ms: int) -> None:
        """Try again then; ``notice`` is kept as it is given."""


CURSOR: Final = re.compile(r"([0-9]{1,16})-([0-9A-Za-z]{12})\Z")  # a place in a listing: time of creation, token id; opaque to callers


class TokenPage(NamedTuple):
    """One page of a listing; ``next`` is an opaque cursor, "" at the end."""

    items: list[TokenRecord]
    next: str


class TokenDraft(NamedTuple):
    """A token to be: all that is known of it before the store gives it its times. ``digest`` is SHA-256 of its text; ``replaces`` is the id of the token
    whose place it takes, "" for none, which with ``end_replaced`` is revoked when this one is first used."""

    id: str
    digest: bytes
    name: str
    owner: str
    access: str
    grants: tuple[str, ...]
    policy_scopes: tuple[str, ...]
    lifetime_ms: int
    allowed_ips: tuple[str, ...]
    description: str
    replaces: str = ""
    end_replaced: bool = False

    def __repr__(self) -> str:
        return f"TokenDraft(id={self.id!r})"


class Reach(NamedTuple):
    """How far a change has got. ``nodes``: nodes that had a live worker when the store took it; ``nodes_confirmed``: those whose workers
    have all dropped what it made wrong. A node that did not confirm had stopped deciding from memory when the change was answered.
    """

    nodes: int
    nodes_confirmed: int


class Changed(NamedTuple):
    """What became of a change. ``outcome`` is "done", "absent" (no such token), "taken" (the id exists already), "full" (the owner has
    as many tokens as the policy lets one have), "skewed" (the clocks differ), or the state that forbids it; ``now_ms`` is the store's time;
    ``reach`` is who had to hear of it.
    """

    outcome: str
    record: TokenRecord | None
    now_ms: int
    reach: Reach = Reach(0, 0)


class AuditLog(Protocol):
    """Who did what. Nothing that was written is ever changed; what was noted when the call returns survives a crash of the store's server."""

    async def note(self, entry: AuditEntry) -> None:
        """Write one entry."""


class AuditPage(NamedTuple):
    """One page of the audit log, newest first, each entry as people are shown it; ``next`` is an opaque cursor, "" at the end."""

    items: list[dict[str, Any]]
    next: str


class AuditTrail(Protocol):
    """The audit log as people read it."""

    async def page(self, *, cursor: str, limit: int, wanted: Mapping[str, str]) -> AuditPage:
        """Up to ``limit`` entries from ``cursor`` on, newest first, those whose fields are as ``wanted``. A page may be short, even empty, and yet have a
        next one. ValueError where the cursor is not one of ours."""


class RecordReader(Protocol):
    """Whole records, one at a time, for who changes nothing."""

    async def record(self, token_id: str) -> tuple[TokenRecord | None, int]:
        """One record, ended ones too, and the store's time."""


class TokenRegister(Protocol):
    """Whole records: written by create and change, read by people. An answered change survives a crash of the store's server.

    Each change is in the audit log, with who made it (``by``): either both are made or neither. A repeat that changes nothing is not noted.
    """

    async def note(self, entry: AuditEntry) -> None:
        """Write an entry of the audit log, of what spans several tokens."""

    async def create(self, draft: TokenDraft, *, max_per_owner: int, clock_ms: int, max_skew_ms: int, by: Actor = NOBODY) -> Changed:
        """Make the token, unless our clock (``clock_ms``, Unix milliseconds) and the store's differ by more than ``max_skew_ms``. The record of the one that
        it replaces says so from the same moment on; where that one is to end, a notice of kind "replacement" comes when the new one is first used."""

    async def regenerate(self, token_id: str, digest: bytes, overlap_ms: int, by: Actor = NOBODY) -> Changed:
        """A new secret; the old one works on for ``overlap_ms``, never past the token's expiry."""

    async def revoke(self, token_id: str, by: Actor = NOBODY) -> Changed:
        """End the token for good."""

    async def suspend(self, token_id: str, by: Actor = NOBODY) -> Changed:
        """Stop the token until it is resumed."""

    async def resume(self, token_id: str, by: Actor = NOBODY) -> Changed:
        """Let a suspended token work again."""

    async def rename(self, token_id: str, *, name: str | None, description: str | None, by: Actor = NOBODY) -> Changed:
        """Change what people read of it."""

    async def record(self, token_id: str) -> tuple[TokenRecord | None, int]:
        """One record, ended ones too, and the store's time."""

    async def page(self, *, owner: str | None, cursor: str, count: int) -> tuple[list[tuple[str, TokenRecord]], str, int]:
        """Up to ``count`` records from ``cursor`` on, newest first, each with the cursor behind it; the cursor of the next page ("" at the
        end); and the store's time. ValueError where the cursor is not one of ours.
        """

    def every(self) -> AsyncIterator[tuple[list[TokenRecord], int]]:
        """All records, ended ones too, in large pieces and no order, without what is kept of their use, each piece with the store's time: for who looks at
        each of them once."""

    async def ids_of(self, owner: str) -> list[str]:
        """The ids of all tokens of an owner, ended ones too."""


class BrowserSession(NamedTuple):
    """Somebody who is signed in. ``embedded`` is the origin of the page whose frame shows ours, "" where none does; times are Unix milliseconds."""

    principal: Principal
    embedded: str
    since_ms: int
    ends_ms: int


class SessionStore(Protocol):
    """Who is signed in, and the links with which one can sign in. Ids and codes are kept as their SHA-256 only.

    What begins or ends is in the audit log: either both are written or neither. What ends nothing is not noted.
    """

    async def offer(self, code: bytes, session: BrowserSession, lifetime_ms: int, entry: AuditEntry) -> None:
        """Keep what a sign-in link leads to; ``code`` is a digest."""

    async def offered(self, code: bytes) -> BrowserSession | None:
        """What a link leads to that was not used, and whose time has not ended."""

    async def open(self, session_id: bytes, session: BrowserSession, entry: AuditEntry, *, link: bytes = b"", before: bytes = b"") -> bool:
        """Keep a session until its end; ``session_id`` is a digest, as are the code of the link that is used up for it and the id of the session whose place
        it takes, b"" for none. False, and no session, where the link was used already."""

    async def find(self, session_id: bytes) -> BrowserSession | None:
        """A session that has not ended."""

    async def end(self, session_id: bytes, entry: AuditEntry) -> int:
        """End a session; 0 where there was none. The entry's details get ``ended``."""

    async def end_all(self, subject: str, entry: AuditEntry) -> int:
        """End all sessions of a subject, and the links that were not used; how many sessions there were. The entry's details get ``ended``."""

    async def once(self, name: bytes, lifetime_ms: int) -> bool:
        """Whether nobody has asked this of ``name`` (a digest) in its lifetime: of two at once one is told so."""


class Begun(NamedTuple):
    """A call that its caller gave a key, so that it is done once: what it does ("create" or "regenerate"), to which token, and since when (the
    store's time in Unix milliseconds)."""

    call: str
    token_id: str
    since_ms: int


class OnceStore(Protocol):
    """Which calls were begun with which key. A key is kept as a digest, for 24 hours."""

    async def begin(self, key: bytes, call: str, token_id: str, instead: Begun | None = None) -> tuple[Begun, bool]:
        """Take the key for a call, and True; where it is taken already, who has it, and False. ``instead`` of that one it is taken from it."""

    async def forget(self, key: bytes, begun: Begun) -> None:
        """Give the key free, if this call still has it."""
