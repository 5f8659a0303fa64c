"""The table of the API's calls: what each takes, what it answers, and each code with which it may refuse. The description is written from it, and tests
hold that the port does nothing else."""

from __future__ import annotations

from typing import Final, NamedTuple

from pydantic import BaseModel

from gateway.management import answers, payload, sign_in

ANYBODY: Final = "anybody"  # no credential is asked for
CALLER: Final = "caller"  # whoever proves who it is
ADMIN: Final = "admin"
CLIENT: Final = "client"  # an introspection client, or an admin

EVERY: Final = ("request_invalid", "path_ambiguous", "expectation_failed", "host_unknown", "internal_error")
_CALLED: Final = ("credential_ambiguous", "admin_key_missing", "admin_key_wrong", "jwt_invalid", "keys_unavailable", "store_unavailable")
_BODY: Final = ("request_timeout", "body_too_large")
_JSON: Final = ("media_type_unsupported", "json_invalid", "invalid")  # of a form each of these is form_invalid (RFC 6749 section 5.2)
_ENDED: Final = ("not_active",)


class Call(NamedTuple):
    """One call. ``codes`` are those that it may refuse with by itself, besides what ``all_codes`` adds for its caller, its body and its path."""

    method: str
    path: str
    summary: str
    answer: type[BaseModel]
    codes: tuple[str, ...] = ()
    status: int = 200
    who: str = CALLER
    body: type[BaseModel] | None = None
    form: bool = False
    query: type[BaseModel] | None = None
    once: bool = False  # takes an Idempotency-Key
    headers: tuple[str, ...] = ()  # of the answer

    @property
    def all_codes(self) -> tuple[str, ...]:
        """Every code that a refusal of this call may have."""
        found = [*EVERY, *self.codes]
        if self.who != ANYBODY:
            found += _CALLED
            found.append("origin_refused")
            found += ["admin_only"] * (self.who != CALLER)
        found += ["client_unknown"] * (self.who == CLIENT)
        if self.body is not None:
            found += _BODY
            found += ["form_invalid"] if self.form else _JSON
        found += ["invalid"] * (self.query is not None)
        found += ["not_found"] * ("{id}" in self.path)
        found += ["already_done"] * self.once
        return tuple(dict.fromkeys(found))


_TOKENS: Final = "/api/v1/tokens"
_ONE: Final = f"{_TOKENS}/{{id}}"

CALLS: Final = (
    Call("GET", _TOKENS, "List tokens, newest first", answers.Listed, query=payload.Listing, headers=("Link",)),
    Call(
        "POST",
        _TOKENS,
        "Make a token",
        answers.Made,
        ("admin_only", "grant_not_allowed", "too_many_tokens", "clock_skew"),
        status=201,
        body=payload.NewToken,
        once=True,
        headers=("Location",),
    ),
    Call("GET", _ONE, "Show a token", answers.Told),
    Call("PATCH", _ONE, "Rename a token, or describe it", answers.Told, ("immutable",), body=payload.Renaming),
    Call("DELETE", _ONE, "Revoke a token, for good", answers.Ended),
    Call("POST", f"{_ONE}/regenerate", "Give a token a new secret", answers.Regenerated, ("grant_not_allowed", *_ENDED), body=payload.Regeneration, once=True),
    Call("POST", f"{_ONE}/suspend", "Stop a token until it is resumed", answers.Ended, _ENDED, body=payload.Nothing),
    Call("POST", f"{_ONE}/resume", "Let a suspended token work again", answers.Told, _ENDED, body=payload.Nothing),
    Call("GET", f"{_ONE}/usage", "What a token was used for in the last 30 days", answers.Usage),
    Call("GET", f"{_ONE}/denials", "A token's last refusals, each with its decision", answers.Denials),
    Call("POST", "/api/v1/owners/{owner}/revoke", "End all tokens of one who leaves", answers.OwnerEnded, who=ADMIN, body=payload.Nothing),
    Call("POST", "/api/v1/owners/revoke", "The same for a subject that no path can hold, or for any", answers.OwnerEnded, who=ADMIN, body=payload.Leaver),
    Call("GET", "/api/v1/scopes", "The policy's scopes, and what the caller may grant", answers.Scopes),
    Call("POST", "/api/v1/explain", "What the gateway would answer to a request, and why", answers.Explained, ("not_found",), body=payload.Question),
    Call("GET", "/api/v1/audit", "The audit trail, newest first", answers.AuditPage, who=ADMIN, query=payload.AuditListing),
    Call("POST", "/api/v1/sign-in-links", "A link that signs the caller in in a browser", answers.Link, ("admin_only",), status=201, body=sign_in.LinkWanted),
    Call("POST", "/api/v1/sign-out", "End the browser's session, or all of the caller's", answers.SignedOut, body=sign_in.Leaving),
    Call("POST", "/oauth2/introspect", "What a token is good for (RFC 7662)", answers.Introspection, who=CLIENT, body=payload.TokenForm, form=True),
    Call(
        "POST",
        "/oauth2/revoke",
        "End a token that one holds (RFC 7009)",
        answers.Empty,
        ("rate_limited", "store_unavailable"),
        who=ANYBODY,
        body=payload.TokenForm,
        form=True,
    ),
)
