"""The reasons for a refusal: one list for body, header, log and metric.

Statuses follow RFC 9110, challenges RFC 6750 section 3. A reason never changes its code: clients and dashboards rely on it.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Reason(NamedTuple):
    """Why a request is refused.

    ``challenge`` is None where no ``WWW-Authenticate`` is sent, "" for a bare challenge, else the RFC 6750 error code.
    ``retry_after`` is the default number of seconds for ``Retry-After``, None where the field is not sent.
    """

    code: str
    status: int
    title: str
    challenge: str | None = None
    retry_after: int | None = None


_ALL: Final = (
    Reason("request_invalid", 400, "The request is not valid HTTP"),
    Reason("path_ambiguous", 400, "The path can be read in more than one way"),
    Reason("credential_ambiguous", 400, "The request holds more than one credential, or one in the wrong place", "invalid_request"),
    Reason("token_missing", 401, "A bearer token is needed", ""),
    Reason("token_malformed", 401, "The token is not well formed", "invalid_token"),
    Reason("token_unknown", 401, "The token is not known", "invalid_token"),
    Reason("token_expired", 401, "The token has expired", "invalid_token"),
    Reason("token_revoked", 401, "The token was revoked", "invalid_token"),
    Reason("token_suspended", 401, "The token is suspended", "invalid_token"),
    Reason("token_regenerated", 401, "The token was regenerated", "invalid_token"),
    Reason("ip_not_allowed", 403, "The token may not be used from this address"),
    Reason("route_unmapped", 404, "No route of the policy covers this path"),
    Reason("method_not_allowed", 405, "The path does not take this method"),
    Reason("request_timeout", 408, "The request did not arrive in time"),
    Reason("body_too_large", 413, "The request body is too large"),
    Reason("uri_too_long", 414, "The request line is too long"),
    Reason("headers_too_large", 431, "The request head is too large"),
    Reason("scope_missing", 403, "The token does not hold the scope", "insufficient_scope"),
    Reason("rate_limited", 429, "Too many requests"),
    Reason("auth_throttled", 429, "Too many failed attempts"),
    Reason("coding_unsupported", 501, "The transfer coding is not supported"),
    Reason("version_unsupported", 505, "The HTTP version is not supported"),
    Reason("upstream_unreachable", 502, "The upstream cannot be reached"),
    Reason("upstream_invalid", 502, "The upstream's answer is not valid HTTP"),
    Reason("upstream_auth", 502, "The upstream refused the gateway's credential"),
    Reason("store_unavailable", 503, "The token store cannot be reached", retry_after=1),
    Reason("upstream_busy", 503, "The upstream has no free connection", retry_after=1),
    Reason("upstream_timeout", 504, "The upstream did not answer in time"),
)

REASONS: Final[dict[str, Reason]] = {reason.code: reason for reason in _ALL}
