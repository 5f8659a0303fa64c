"""What OAuth tools ask of whoever hands out tokens: is this one alive (RFC 7662), and make it stop (RFC 7009)."""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import unquote_plus

from aiohttp import hdrs, web

from gateway.core.policy import Policy
from gateway.core.principal import HOLDER, Principal
from gateway.core.route import RateLimit
from gateway.core.scope import ACCESS_NAMES
from gateway.core.token_record import LiveRecord
from gateway.flow.holding import Holding
from gateway.flow.issuance import Issuance
from gateway.management.callers import Callers
from gateway.management.form import read_form
from gateway.management.guard import ACTOR
from gateway.management.payload import TokenForm
from gateway.management.problem import Problem, json_response
from gateway.ports import LimitStore
from gateway.settings import IntrospectionClient

REVOCATIONS: Final = RateLimit(60, 60_000)  # of one address


class OAuthCalls:
    """The handlers. ``clients`` may introspect, as admins may."""

    def __init__(
        self, holding: Holding, issuance: Issuance, callers: Callers, clients: Sequence[IntrospectionClient], limits: LimitStore, policy: Callable[[], Policy]
    ) -> None:
        self._holding = holding
        self._issuance = issuance
        self._callers = callers
        self._clients = tuple(clients)
        self._limits = limits
        self._policy = policy

    async def introspect(self, request: web.Request) -> web.Response:
        """What a token is good for now. Of one that is not active nothing is told but that."""
        await self._admit(request)
        form = await read_form(TokenForm, request)
        record = await self._holding.active(form.token)
        return json_response({"active": False} if record is None else _facts(record, self._policy()))

    async def revoke(self, request: web.Request) -> web.Response:
        """End the token for good, whoever shows it. 200 whether or not there is such a token: the answer helps nobody to guess."""
        verdict = await self._limits.take(f"oauth2/revoke {request[ACTOR].address}", REVOCATIONS)
        if not verdict.allowed:
            raise Problem("rate_limited", "Too many revocations from this address.", retry_after=-(-verdict.retry_after_ms // 1000))
        form = await read_form(TokenForm, request)
        record = await self._holding.shown(form.token)
        if record is not None:
            holder = replace(request[ACTOR], principal=Principal(record.owner, admin=False, via=HOLDER))
            await self._issuance.acting_for(holder).revoke(record.id)
        return json_response({})

    async def _admit(self, request: web.Request) -> None:
        """Problem unless an admin or one of the clients asks."""
        fields = request.headers.getall(hdrs.AUTHORIZATION, [])
        if len(fields) == 1 and fields[0][:6].lower() == "basic ":
            if not self._is_client(fields[0][6:].strip()):
                raise Problem("client_unknown", "This is none of admin.introspection, or not its secret.", facts={"error": "invalid_client"})
            return
        request[ACTOR] = replace(request[ACTOR], principal=await self._callers.caller(request))
        if not request[ACTOR].principal.admin:
            raise Problem("admin_only", "Only admins and introspection clients may ask what a token is good for.")

    def _is_client(self, credential: str) -> bool:
        """Whether this is the credential of a client (RFC 6749 section 2.3.1: both parts are form-encoded). Each is compared, in constant time."""
        try:
            name, _, secret = b64decode(credential, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, ValueError):
            return False
        shown = (unquote_plus(name).encode("utf-8", "replace"), unquote_plus(secret).encode("utf-8", "replace"))
        found = [
            hmac.compare_digest(client.client_id.encode(), shown[0]) & hmac.compare_digest(client.secret.reveal().encode("utf-8", "surrogateescape"), shown[1])
            for client in self._clients
        ]
        return any(found)


def _facts(record: LiveRecord, policy: Policy) -> dict[str, Any]:
    """RFC 7662 section 2.2; ``scope`` is what the token holds of today's policy. ``allowed_ips`` is ours: the addresses that it may come from."""
    levels = [(scope.id, scope.held_by(record.grants.levels, record.created_at)) for scope in policy.scopes.values()]
    return {
        "active": True,
        "scope": " ".join(f"{name}:{ACCESS_NAMES[level]}" for name, level in levels if level),
        "token_type": "Bearer",
        "iat": record.created_at // 1000,
        "exp": record.expires_at // 1000,
        "sub": record.owner,
        "jti": record.id,
        "allowed_ips": [str(network) for network in record.allowed_ips],
    }
