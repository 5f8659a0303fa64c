"""Refusals of the management port: RFC 9457 problem documents, of the same form as the data plane's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from aiohttp import web

from gateway.core.decision import denied
from gateway.core.reason import REASONS, Reason
from gateway.inbound.problem import REALM, challenge, document

_OWN: Final = (
    Reason("json_invalid", 400, "The request body is not JSON that can be read"),
    Reason("form_invalid", 400, "The form holds something wrong"),
    Reason("admin_key_missing", 401, "The admin key is needed", ""),
    Reason("admin_key_wrong", 401, "This is not the admin key", "invalid_token"),
    Reason("jwt_invalid", 401, "The JWT is not taken", "invalid_token"),
    Reason("client_unknown", 401, "The client is not known", "invalid_token"),
    Reason("admin_only", 403, "Only an admin may do this"),
    Reason("grant_not_allowed", 403, "You may not grant this"),
    Reason("origin_refused", 403, "Another page asked for this"),
    Reason("sign_in_refused", 403, "The sign-in is not taken"),
    Reason("not_found", 404, "There is nothing here"),
    Reason("immutable", 409, "This never changes"),
    Reason("already_done", 409, "This was done already"),
    Reason("not_active", 409, "The token is not active"),
    Reason("too_many_tokens", 409, "The owner has too many tokens"),
    Reason("link_used", 410, "The sign-in link does not work any more"),
    Reason("expectation_failed", 417, "The expectation can't be met"),
    Reason("media_type_unsupported", 415, "The request body has the wrong type"),
    Reason("host_unknown", 421, "The management port does not answer to this host"),
    Reason("invalid", 422, "The request holds something wrong"),
    Reason("internal_error", 500, "The gateway failed to answer"),
    Reason("keys_unavailable", 503, "The keys of the JWT's issuer can't be read", retry_after=5),
    Reason("provider_unavailable", 503, "The OpenID provider can't be reached", retry_after=5),
    Reason("clock_skew", 503, "The clocks of gateway and store differ", retry_after=1),
)

MANAGEMENT_REASONS: Final[dict[str, Reason]] = REASONS | {reason.code: reason for reason in _OWN}


class FieldFault(NamedTuple):
    """One field of a payload or query that is wrong; ``field`` is "" where the whole is."""

    field: str
    message: str


class Problem(Exception):
    """A refusal on its way out. ``fields`` are told as ``errors``; ``allow`` are the methods that a path takes; ``facts`` are further members of the
    document; ``retry_after`` is in seconds, where it is not what the code has always."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        fields: Sequence[FieldFault] = (),
        allow: Sequence[str] = (),
        facts: Mapping[str, object] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(code)
        self.reason: Final = MANAGEMENT_REASONS[code]
        self.detail: Final = detail
        self.fields: Final = tuple(fields)
        self.allow: Final = tuple(allow)
        self.facts: Final = dict(facts or {})
        self.retry_after: Final = retry_after or self.reason.retry_after

    def response(self, request_id: str) -> web.Response:
        """The answer, but for the fields that every answer carries."""
        denial = denied("request_invalid", self.detail)._replace(reason=self.reason)
        facts = document(denial, request_id)
        if self.fields:
            facts["errors"] = [{"field": fault.field, "message": fault.message} for fault in self.fields]
        facts |= self.facts
        headers: dict[str, str] = {}
        words = challenge(denial)
        if words is not None:
            # RFC 6749 section 5.2: a client is asked for its credential in the scheme that it used.
            headers["WWW-Authenticate"] = f'Basic realm="{REALM}"' if self.reason.code == "client_unknown" else words
        if self.allow:
            headers["Allow"] = ", ".join(self.allow)
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        return json_response(facts, self.reason.status, headers=headers, content_type="application/problem+json")


def json_response(data: object, status: int = 200, *, headers: Mapping[str, str] | None = None, content_type: str = "application/json") -> web.Response:
    """An answer in JSON."""
    return web.Response(body=msgspec.json.encode(data), status=status, headers=headers, content_type=content_type)
