"""Users' JWTs (RFC 7519, RFC 8725): one function for every caller that shows one.

What a JWT says of itself chooses nothing but the issuer and, by ``kid``, one key of that issuer's closed set. Algorithms are fixed by configuration,
of one kind an issuer; ``jku``, ``x5u``, ``jwk`` and ``x5c`` are never read, and a ``crit`` or ``b64`` of any kind is refused.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from typing import Any, Final

import jwt

from gateway.core.principal import JWT, Principal
from gateway.core.scope import GrantSet, parse_grant
from gateway.flow import token_fields
from gateway.flow.issuance import OPERATOR
from gateway.management.key_sets import KeySets, KeysUnknown
from gateway.management.problem import Problem
from gateway.settings import JwtIssuer

LONGEST: Final = 8 * 1024
LEEWAY_S: Final = 30
_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\Z")
_REQUIRED: Final = ("exp", "iss", "aud", "sub")
_TIMES: Final = ("exp", "nbf", "iat")
_LATEST: Final = 253_402_300_800  # the year 10000: a later time is no time that anybody meant
_WHY: Final[dict[type[Exception], str]] = {
    jwt.ExpiredSignatureError: "The JWT has expired: sign in again.",
    jwt.ImmatureSignatureError: "The JWT is not valid yet.",
    jwt.InvalidAudienceError: "The JWT is for another audience.",
    jwt.MissingRequiredClaimError: "The JWT lacks one of exp, iss, aud, sub.",
}
_REFUSED: Final = "The JWT is not one that this gateway takes."


class UserTokens:
    """The JWTs of the configured issuers."""

    def __init__(self, issuers: Sequence[JwtIssuer], keys: KeySets) -> None:
        self._issuers = tuple(issuers)
        self._keys = keys

    async def principal(self, text: str) -> Principal:
        """Whose JWT this is. Problem jwt_invalid, never with a word of the JWT in it; keys_unavailable where its keys have not been read yet."""
        header, issuer_name = unproved(text)
        refusal: Problem = _invalid(_REFUSED)
        for issuer in self._issuers:
            if issuer.issuer != issuer_name or header.get("alg") not in issuer.algorithms:
                continue
            try:
                claims = proved(text, await self._keys.key(issuer, header), issuer)
            except KeysUnknown as why:
                refusal = Problem("keys_unavailable", "The issuer's keys can't be read now. Try again.") if why.unread else refusal
            except Problem as why:
                refusal = why
            else:
                return principal_of(claims, issuer, JWT)
        raise refusal


def looks_like_jwt(text: str) -> bool:
    """Whether a bearer text has a JWT's form, so that it is judged as one."""
    return text.count(".") == 2


def unproved(text: str) -> tuple[dict[str, Any], object]:
    """Header and issuer of a JWT of compact form, not proved yet. Problem jwt_invalid where they can be read in two ways or ask for more than is known."""
    if len(text) > LONGEST or not _FORM.match(text):
        raise _invalid(_REFUSED)
    encoded_header, encoded_claims, _ = text.split(".")
    header, claims = _object(encoded_header), _object(encoded_claims)
    if "crit" in header or "b64" in header:  # RFC 7515 section 4.1.11, RFC 7797: nothing that must be understood is
        raise _invalid(_REFUSED)
    if not isinstance(header.get("kid", ""), str):  # RFC 7515 section 4.1.4
        raise _invalid(_REFUSED)
    for name in _TIMES:
        value = claims.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LATEST:
            raise _invalid(_REFUSED)
    return header, claims.get("iss")


def proved(text: str, key: Any, issuer: JwtIssuer) -> dict[str, Any]:
    """The claims of a JWT that ``unproved`` has let through, once signature, times, issuer and audience are right. Problem jwt_invalid."""
    try:
        return jwt.decode(
            text,
            key,
            algorithms=list(issuer.algorithms),
            audience=issuer.audience,
            issuer=issuer.issuer,
            leeway=LEEWAY_S,
            options={"require": list(_REQUIRED)},
        )
    except jwt.PyJWTError as why:
        raise _invalid(_WHY.get(type(why), _REFUSED)) from None


def _object(encoded: str) -> dict[str, Any]:
    """A JSON object in base64url. A name that stands twice in an object could mean one thing here and another elsewhere (RFC 8725 section 2.6)."""
    try:
        found = json.loads(urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)), object_pairs_hook=_each_once, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise _invalid(_REFUSED) from None
    if not isinstance(found, dict):
        raise _invalid(_REFUSED)
    return found


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _refuse(_: str) -> Any:
    raise ValueError("no number")


def principal_of(claims: dict[str, Any], issuer: JwtIssuer, via: str) -> Principal:
    """Who proved claims speak of. Problem jwt_invalid where they name nobody who could own a token."""
    subject = claims.get(issuer.subject_claim)
    try:
        if not isinstance(subject, str):
            raise ValueError("no text")  # noqa: TRY004, TRY301  told as the rest
        subject = token_fields.owner(subject)
    except ValueError:
        raise _invalid("The JWT names nobody who could own a token.") from None
    admin = _is_admin(claims, issuer.admin_claim)
    if subject == OPERATOR and not admin:  # the tokens of the command line are theirs who hold the admin key
        raise _invalid("The JWT names the operator, whom only an admin can be.")
    return Principal(subject, admin, via, None if admin else _grants(claims, issuer.grants_claim))


def _is_admin(claims: dict[str, Any], named: str) -> bool:
    name, equals, wanted = named.partition("=")
    value = claims.get(name) if name else None
    if not equals:
        return value is True
    return value == wanted or (isinstance(value, list) and wanted in value)


def _grants(claims: dict[str, Any], name: str) -> GrantSet | None:
    """What the claim lets its bearer grant: a list of grants or one text of them, parted by blanks; ``*`` is all. What is no grant gives nothing."""
    if not name:
        return None
    value = claims.get(name)
    texts = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    if "*" in texts:
        return None
    levels: dict[str, int] = {}
    for text in texts:
        try:
            scope, level = parse_grant(text) if isinstance(text, str) else ("", 0)
        except ValueError:
            continue
        if level:
            levels[scope] = max(level, levels.get(scope, 0))
    return GrantSet(levels)


def _invalid(detail: str) -> Problem:
    return Problem("jwt_invalid", detail)
