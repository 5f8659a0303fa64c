"""What the policy has, and what it would say: the form's choices, and ``policy explain`` for who has no command line."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from gateway.core.explain import Holder, explain, holder_of
from gateway.core.path import canonicalise
from gateway.core.policy import Policy
from gateway.core.principal import Principal
from gateway.core.route import METHODS, Route
from gateway.core.scope import ACCESS_NAMES, MANAGE, VIEW, Scope, parse_grants
from gateway.flow import token_fields
from gateway.flow.issuance import Issuance
from gateway.management.guard import ACTOR
from gateway.management.payload import Question, demand, invalid, read_body
from gateway.management.problem import FieldFault, json_response

_NAME: Final = re.compile(r"\{[^{}]*\}")


class PolicyCalls:
    """The handlers. ``policy`` gives the policy in force, ``own_prefix`` is what the gateway answers itself under."""

    def __init__(self, issuance: Issuance, policy: Callable[[], Policy], own_prefix: str = "") -> None:
        self._issuance = issuance
        self._own_prefix = own_prefix
        self._policy = policy

    async def scopes(self, request: web.Request) -> web.Response:
        """The scopes in the policy's order, each with what the caller may grant of it, and the rules for new tokens."""
        policy = self._policy()
        who = request[ACTOR].principal
        rules = {name: getattr(policy, name) for name in ("default_expiry_days", "max_expiry_days", "max_per_owner")}
        return json_response({"policy": policy.hash, "tokens": rules, "scopes": [_told(scope, policy, who) for scope in policy.scopes.values()]})

    async def explain(self, request: web.Request) -> web.Response:
        """What the gateway would answer to a request by a token with these grants, or by this one."""
        asked = demand(Question, await read_body(request))
        policy = self._policy()
        holder = await self._holder(asked, policy, request)
        return json_response(explain(policy, asked.method, asked.path, holder.grants, holder.created_ms, holder.refusal, self._own_prefix).facts())

    async def _holder(self, asked: Question, policy: Policy, request: web.Request) -> Holder:
        if asked.token_id is None:
            faults = token_fields.Faults()
            faults.of("grants", _known, asked.grants, policy)
            if faults.found:
                raise invalid([FieldFault(*fault) for fault in faults.found.items()])
            return Holder(parse_grants(asked.grants))
        if asked.grants:
            raise invalid([FieldFault(name, "say grants or token_id, not both") for name in ("grants", "token_id")])
        record = await self._issuance.acting_for(request[ACTOR]).get(asked.token_id)
        return holder_of(record, self._issuance.now_ms())


def _known(texts: list[str], policy: Policy) -> None:
    """ValueError for what is no grant, or of a scope that the policy does not have."""
    if texts:
        token_fields.grants(texts, False, policy)


def _told(scope: Scope, policy: Policy, who: Principal) -> dict[str, Any]:
    level = MANAGE if who.grants is None else who.grants.levels.get(scope.id, 0)
    return {
        "id": scope.id,
        "title": scope.title,
        "resources": list(scope.resources),
        "since": dt.datetime.fromtimestamp(scope.since_ms / 1000, dt.UTC).date().isoformat() if scope.since_ms else None,
        "was": list(scope.was),
        "grantable": ACCESS_NAMES.get(level),
        "example": example(scope, policy),
    }


def example(scope: Scope, policy: Policy) -> dict[str, str] | None:
    """A request that a token with this scope may make, the plainest there is: one that only views, a GET, without a name in its path. None if there is none."""
    found = [
        ((route.needs(method) != VIEW, method != "GET", "{" in route.template), method, _path(route))
        for route in policy.routes
        for method in _methods(route, scope)
    ]
    for _, method, path in sorted(found, key=lambda candidate: candidate[0]):
        canonical = canonicalise(path)
        # A narrower route may take this very path away.
        met = policy.table.find(path, method) if getattr(canonical, "path", "") == path else None
        if isinstance(met, Route) and met.scope is scope and not met.unmapped:
            return {"method": method, "path": path}
    return None


def _methods(route: Route, scope: Scope) -> list[str]:
    return [method for method in METHODS if method in route.methods and method not in {"HEAD", "OPTIONS"}] if route.scope is scope else []


def _path(route: Route) -> str:
    return _NAME.sub("1", route.template.removesuffix("/**")) or "/"
