"""The answers of the management API, as its description tells of them. The handlers write JSON by themselves; tests hold every answer against these."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

TokenId = Annotated[str, Field(pattern="^[0-9A-Za-z]{12}$")]
Level = Literal["view", "manage"]
Secret = Annotated[str, Field(description="The token's text: told here, once, and kept nowhere.")]


class Answer(BaseModel):
    """Of an answer: what it does not name is not there."""

    model_config = ConfigDict(extra="forbid")


class Reuse(Answer):
    """The last use of a secret that had ended."""

    at: datetime
    from_: Annotated[str, Field(alias="from")]
    kind: Literal["regenerated", "revoked"]


class Token(Answer):
    """A token's record. Times are RFC 3339, UTC."""

    id: TokenId
    name: str
    owner: str
    access: Literal["full", "custom"]
    grants: Annotated[list[str], Field(description="SCOPE:view or SCOPE:manage")]
    policy_scopes: Annotated[list[str], Field(description="All scopes that existed when it was made.")]
    created_at: datetime
    expires_at: datetime
    state: Literal["active", "suspended", "revoked", "expired"]
    version: int
    regenerated_at: datetime | None
    last_used_at: datetime | None
    allowed_ips: list[str]
    description: str
    scopes_added_since: Annotated[int, Field(default=0, description="Of full access alone: how many of today's scopes it does not hold.")]
    last_used_from: Annotated[str | None, Field(default=None)]
    replaced_by: Annotated[TokenId | None, Field(default=None)]
    reuse: Annotated[Reuse | None, Field(default=None)]


class Told(Answer):
    """One token."""

    token: Token


class Made(Answer):
    """A new token and its secret."""

    token: Token
    secret: Secret


class Reach(Answer):
    """How far an end has got when it is answered."""

    nodes: Annotated[int, Field(description="Nodes that had a live worker when the store took the change.")]
    nodes_confirmed: Annotated[int, Field(description="Those whose workers have all confirmed; the others had stopped deciding from memory.")]


class Ended(Reach):
    """A token that was ended or stopped."""

    token: Token


class Regenerated(Reach):
    """A token with its new secret."""

    token: Token
    secret: Secret


class Listed(Answer):
    """One page of tokens, newest first."""

    items: list[Token]
    next: Annotated[str | None, Field(description="The cursor of the next page; null at the end.")]


class OwnerEnded(Reach):
    """What the end of an owner's tokens did."""

    owner: str
    revoked: Annotated[list[TokenId], Field(description="The tokens that this call has ended.")]


class NewTokenRules(Answer):
    """What the policy says of new tokens."""

    default_expiry_days: int
    max_expiry_days: int
    max_per_owner: int


class Example(Answer):
    """A request that a token with the scope may make."""

    method: str
    path: str


class Scope(Answer):
    """A scope of the policy."""

    id: str
    title: str
    resources: list[str]
    since: Annotated[date | None, Field(description="Tokens made before this day do not hold the scope.")]
    was: Annotated[list[str], Field(description="Former ids; grants of them count.")]
    grantable: Annotated[Level | None, Field(description="The most that the caller may grant.")]
    example: Example | None


class Scopes(Answer):
    """The policy's scopes, in its order."""

    policy: Annotated[str, Field(description="SHA-256 of the policy file.")]
    tokens: NewTokenRules
    scopes: list[Scope]


class TriedRule(Answer):
    """A rule of the policy that was not taken, and why."""

    rule: str
    why: str


class Explained(Answer):
    """What the gateway would answer, and why."""

    decision: Literal["allow", "deny"]
    code: str | None
    detail: Annotated[str, Field(description="In a sentence, as a refusal says it.")]
    route: str | None
    scope: str | None
    access: Level | None
    forwarded: Annotated[bool, Field(description="Whether the request goes up: also where its route only reports what it would refuse.")]
    rule: Annotated[str | None, Field(description="The rule of the policy that matched.")]
    tried: Annotated[list[TriedRule], Field(description="Rules that came near, and why they were not taken.")]
    granted: list[str]
    missing: list[str]


class Introspection(Answer):
    """RFC 7662 section 2.2. Of a token that is not active nothing is told but that."""

    active: bool
    scope: Annotated[str, Field(default="", description="What the token holds of today's policy: SCOPE:view or SCOPE:manage, parted by blanks.")]
    token_type: Annotated[Literal["Bearer"], Field(default="Bearer")]
    iat: Annotated[int, Field(default=0)]
    exp: Annotated[int, Field(default=0)]
    sub: Annotated[str, Field(default="", description="The owner.")]
    jti: Annotated[TokenId, Field(default="", description="The token's id.")]
    allowed_ips: Annotated[list[str], Field(default=[], description="Addresses that it may come from; empty: from anywhere.")]


class Empty(Answer):
    """An empty object."""


class Link(Answer):
    """A sign-in link: it works once."""

    url: str
    expires_in: Annotated[int, Field(description="Seconds.")]


class SignedOut(Answer):
    """How many sessions ended."""

    ended: int


class UsageDay(Answer):
    """The requests of one day (UTC)."""

    day: date
    requests: int
    refused: int


class UsageRoute(Answer):
    """The requests to one route."""

    route: str
    scope: str | None
    access: Level | None
    requests: int
    last_day: date


class UsageScope(Answer):
    """The requests to one scope."""

    scope: str
    view: int
    manage: int


class Usage(Answer):
    """What a token was used for in the last 30 days."""

    token_id: TokenId
    last_used_at: datetime | None
    last_used_from: str | None
    days: list[UsageDay]
    routes: list[UsageRoute]
    scopes: list[UsageScope]
    unused_scopes: list[str]
    narrowed_grants: Annotated[list[str], Field(description="Grants that would have been enough.")]


class Denied(Answer):
    """A refused request, without its query."""

    at: datetime
    request_id: str
    client: str
    method: str
    path: str
    route: str | None
    status: int
    code: str
    required_scope: str | None
    granted: list[str]
    missing: list[str]


class Denials(Answer):
    """A token's last refusals, newest first."""

    items: list[Denied]


class AuditItem(Answer):
    """One entry of the audit trail."""

    seq: int
    at: datetime
    action: str
    subject: str
    via: str
    from_: Annotated[str, Field(alias="from")]
    request_id: str
    token_id: str
    owner: str
    details: dict[str, str | int]
    hash: str


class AuditPage(Answer):
    """One page of the audit trail, newest first."""

    items: list[AuditItem]
    next: str | None


class FieldFault(Answer):
    """What is wrong with one field; "" is the body as a whole."""

    field: str
    message: str


class Problem(BaseModel):
    """A refusal (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: Annotated[list[FieldFault], Field(default=[], description="Of 422, and of 400 below /oauth2: each wrong field.")]
    error: Annotated[str, Field(default="", description="Below /oauth2: the code of RFC 6749 section 5.2.")]
    token: Annotated[Token | None, Field(default=None, description="Of already_done: the token that the first call changed.")]
