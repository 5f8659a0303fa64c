"""Users' JWTs (RFC 7519, RFC 8725): one function for every caller that shows one.

What a JWT says of itself chooses nothing but the issuer and, by ``kid``, one key of that issuer's closed set. Algorithms are fixed by configuration,
of one kind an issuer; ``jku``, ``x5u``, ``jwk`` and ``x5c`` are never read, and a ``crit`` or ``b64`` of any kind is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import jwt

from gateway.core.principal import JWT, Principal
from gateway.core.scope import GrantSet, parse_grant
from gateway.flow import token_fields
from gateway.management.key_sets import KeySets, KeysUnknown
from gateway.management.problem import Problem
from gateway.settings import JwtIssuer

LONGEST: Final = 8 * 1024
LEEWAY_S: Final = 30
_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\Z")
_REQUIRED: Final = ("exp", "iss", "aud", "sub")
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
        header, issuer_name = _unproved(text)
        refusal: Problem = _invalid(_REFUSED)
        for issuer in self._issuers:
            if issuer.issuer != issuer_name or header.get("alg") not in issuer.algorithms:
                continue
            try:
                key = await self._keys.key(issuer, header)
                claims = jwt.decode(
                    text,
                    key,
                    algorithms=list(issuer.algorithms),
                    audience=issuer.audience,
                    issuer=issuer.issuer,
                    leeway=LEEWAY_S,
                    options={"require": list(_REQUIRED), "strict_aud": False},
                )
            except KeysUnknown as why:
                refusal = Problem("keys_unavailable", "The issuer's keys can't be read now. Try again.") if why.unread else refusal
            except jwt.PyJWTError as why:
                refusal = _invalid(_WHY.get(type(why), _REFUSED))
            else:
                return _principal(claims, issuer)
        raise refusal


def looks_like_jwt(text: str) -> bool:
    """Whether a bearer text has a JWT's form, so that it is judged as one."""
    return text.count(".") == 2


def _unproved(text: str) -> tuple[dict[str, Any], object]:
    """Header and issuer of a JWT of compact form, not proved yet."""
    if len(text) > LONGEST or not _FORM.match(text):
        raise _invalid(_REFUSED)
    try:
        header = jwt.get_unverified_header(text)
        claims = jwt.decode(text, options={"verify_signature": False})
    except jwt.PyJWTError:
        raise _invalid(_REFUSED) from None
    if "crit" in header or "b64" in header:
        raise _invalid(_REFUSED)
    return header, claims.get("iss")


def _principal(claims: dict[str, Any], issuer: JwtIssuer) -> Principal:
    subject = claims.get(issuer.subject_claim)
    try:
        if not isinstance(subject, str):
            raise ValueError("no text")  # noqa: TRY004, TRY301  told as the rest
        subject = token_fields.owner(subject)
    except ValueError:
        raise _invalid("The JWT names nobody who could own a token.") from None
    return Principal(subject, _is_admin(claims, issuer.admin_claim), JWT, _grants(claims, issuer.grants_claim))


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
