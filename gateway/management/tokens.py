"""The tokens API: each call reads, checks, asks Issuance, tells. What is allowed and what happens is Issuance's to know."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from gateway.core.policy import Policy
from gateway.core.token_record import TokenRecord
from gateway.flow import token_fields
from gateway.flow.issuance import Ended, Issuance, Issued, record_json
from gateway.flow.once import AlreadyDone, Once
from gateway.flow.sign_in import SignIn
from gateway.management.guard import ACTOR
from gateway.management.payload import (
    Checked,
    Leaver,
    Listing,
    NewToken,
    Nothing,
    Regeneration,
    Renaming,
    demand,
    faults_of,
    idempotency_key,
    immutable_fields,
    invalid,
    read_body,
    read_query,
)
from gateway.management.problem import FieldFault, Problem, json_response
from gateway.ports import OnceStore, StoreUnavailable

PATH: Final = "/api/v1/tokens"


class TokenCalls:
    """The handlers. ``policy`` gives the policy in force, ``once`` remembers which calls were done; one who leaves is signed out by ``sign_in``."""

    def __init__(self, issuance: Issuance, policy: Callable[[], Policy], once: OnceStore, sign_in: SignIn) -> None:
        self._issuance = issuance
        self._policy = policy
        self._once = once
        self._sign_in = sign_in

    async def create(self, request: web.Request) -> web.Response:
        """201 with the token and its secret, which is told this once."""
        key, wrong_key = idempotency_key(request)
        body = await read_body(request)
        policy = self._policy()
        faults = [*faults_of(NewToken, body), *wrong_key]
        if faults:
            raise invalid([*faults, *_rule_faults(body, {fault.field for fault in faults}, policy)])
        new = NewToken.model_validate(body.data)
        async with self._doing("create", key, request) as once:
            issued = await self._for(request).create(
                name=new.name,
                policy=policy,
                owner=new.owner,
                full=new.access == "full",
                grants=new.grants,
                expires_in_days=new.expires_in_days,
                allowed_ips=new.allowed_ips,
                description=new.description,
                replaces=new.replaces,
                end_replaced=new.end_replaced,
                begin=once.begin,
            )
        return self._told_once(issued, 201)

    async def list(self, request: web.Request) -> web.Response:
        """One page, newest first, and where the next one is."""
        query = read_query(request)
        asked = demand(Listing, Checked({name: value for name, value in query.data.items() if value}, query.faults))
        page = await self._for(request).list(state=asked.state, owner=asked.owner, q=asked.q, cursor=asked.cursor, limit=asked.limit)
        headers = {}
        if page.next:
            headers["Link"] = f'<{PATH}?{urlencode({**asked.model_dump(exclude_unset=True), "cursor": page.next})}>; rel="next"'
        return json_response({"items": [self._shown(token) for token in page.items], "next": page.next or None}, headers=headers)

    async def show(self, request: web.Request) -> web.Response:
        """One token, ended ones too."""
        return self._told(await self._for(request).get(request.match_info["id"]))

    async def rename(self, request: web.Request) -> web.Response:
        """Another name or description. 409 immutable for what never changes."""
        body = await read_body(request)
        fixed = immutable_fields(body.data)
        if fixed:
            detail = f"A token's {', '.join(fixed)} can't be changed: make a new token."
            raise Problem("immutable", detail, fields=[FieldFault(name, "never changes") for name in fixed])
        wanted = demand(Renaming, body)
        if not wanted.model_fields_set:
            raise invalid([FieldFault("", "must hold name or description")])
        return self._told(await self._for(request).rename(request.match_info["id"], name=wanted.name, description=wanted.description))

    async def regenerate(self, request: web.Request) -> web.Response:
        """A new secret for the same token, told this once."""
        key, wrong_key = idempotency_key(request)
        body = await read_body(request)
        wanted = demand(Regeneration, Checked(body.data, [*body.faults, *wrong_key]))
        async with self._doing("regenerate", key, request) as once:
            issued = await self._for(request).regenerate(request.match_info["id"], wanted.overlap, policy=self._policy(), begin=once.begin)
        return self._told_once(issued, 200)

    async def suspend(self, request: web.Request) -> web.Response:
        """Stop the token until it is resumed."""
        demand(Nothing, await read_body(request))
        return self._told_ended(await self._for(request).suspend(request.match_info["id"]))

    async def resume(self, request: web.Request) -> web.Response:
        """Let a suspended token work again."""
        demand(Nothing, await read_body(request))
        return self._told(await self._for(request).resume(request.match_info["id"]))

    async def revoke(self, request: web.Request) -> web.Response:
        """End the token for good."""
        return self._told_ended(await self._for(request).revoke(request.match_info["id"]))

    async def revoke_owner(self, request: web.Request) -> web.Response:
        """End all tokens of one who leaves, and its browser sessions first, so that none makes another."""
        demand(Nothing, await read_body(request))
        if not request[ACTOR].principal.admin:
            raise Problem("admin_only", "Only an admin ends all tokens of an owner.")
        faults = token_fields.Faults()
        owner = faults.of("owner", token_fields.owner, request.match_info["owner"])
        if faults.found:
            raise invalid([FieldFault(*fault) for fault in faults.found.items()])
        return await self._end_all_of(owner, request)

    async def revoke_leaver(self, request: web.Request) -> web.Response:
        """The same with the owner in the body. A path can't hold every subject: a backslash, ``.`` and ``%2e`` are ambiguous there."""
        if not request[ACTOR].principal.admin:
            raise Problem("admin_only", "Only an admin ends all tokens of an owner.")
        return await self._end_all_of(demand(Leaver, await read_body(request)).owner, request)

    async def _end_all_of(self, owner: str, request: web.Request) -> web.Response:
        """What both do."""
        await self._sign_in.leave_everywhere(owner, request[ACTOR])
        try:
            ended = await self._for(request).revoke_owner(owner)
        except StoreUnavailable as why:
            raise StoreUnavailable(str(why), written=True) from why  # sessions may have ended
        return json_response({"owner": owner, "revoked": [token.id for token in ended.tokens], **ended.reach._asdict()})

    @asynccontextmanager
    async def _doing(self, call: str, key: str, request: web.Request) -> AsyncIterator[Once]:
        """What is done with an idempotency key. A repeat is told of the token, never of its secret: that is nowhere any more."""
        try:
            async with Once(self._once, self._for(request), call, key) as once:
                yield once
        except AlreadyDone as done:
            if done.token is None:
                raise Problem("already_done", "A call with this Idempotency-Key is being done: ask again.", facts={"token": None}) from None
            why = "A call with this Idempotency-Key was done already. Its secret is not told again: if it was lost, regenerate with another key."
            raise Problem("already_done", why, facts={"token": self._shown(done.token)}) from None

    def _for(self, request: web.Request) -> Issuance:
        return self._issuance.acting_for(request[ACTOR])

    def _shown(self, token: TokenRecord) -> dict[str, Any]:
        return record_json(token, self._issuance.now_ms(), self._policy())

    def _told(self, token: TokenRecord) -> web.Response:
        return json_response({"token": self._shown(token)})

    def _told_ended(self, ended: Ended) -> web.Response:
        return json_response({"token": self._shown(ended.token), **ended.reach._asdict()})

    def _told_once(self, issued: Issued, status: int) -> web.Response:
        facts = {"token": self._shown(issued.token), "secret": issued.secret}
        if status == 201:
            return json_response(facts, status, headers={"Location": f"{PATH}/{issued.token.id}"})
        return json_response(facts | issued.reach._asdict(), status)


def _rule_faults(body: Checked, wrong: set[str], policy: Policy) -> list[FieldFault]:
    """What Issuance would say of the fields whose type is right, where others' types are wrong: it is not asked then, and all is told at once."""
    fine = NewToken.model_validate({"name": "", **{name: value for name, value in body.data.items() if name in NewToken.model_fields and name not in wrong}})
    faults = token_fields.Faults()
    faults.of("name", token_fields.name, fine.name)
    if fine.owner is not None:
        faults.of("owner", token_fields.owner, fine.owner)
    if fine.expires_in_days is not None:
        faults.of("expires_in_days", token_fields.days, fine.expires_in_days, policy.max_expiry_days)
    if not wrong & {"access", "grants"}:
        faults.of("grants", token_fields.grants, fine.grants, fine.access == "full", policy)
    faults.of("allowed_ips", token_fields.networks, fine.allowed_ips)
    faults.of("description", token_fields.description, fine.description)
    return [FieldFault(name, message) for name, message in faults.found.items() if name not in wrong]
