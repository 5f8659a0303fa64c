"""Many tokens at once in a store: made by the script that makes each; and used, each once."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from typing import Final

import uvloop

from bench.plan import SMALL
from bench.processes import CannotMeasure
from gateway.core.audit import AuditEntry
from gateway.core.principal import ON_ITS_OWN
from gateway.core.token_text import TokenText, digest, make_token
from gateway.ports import StoreUnavailable, TokenDraft
from gateway.store.connection import StoreOptions
from gateway.store.records import draft_fields
from gateway.store.scripts import CREATE
from gateway.store.server import Store
from gateway.store.session import Session

TOKENS_AN_OWNER: Final = 20
GRANTS: Final = (("worklogs:manage",), ("worklogs:view", "plans:view"), ("worklogs:view", "teams:view", "accounts:manage"), ("worklogs:manage", "plans:manage"))
_YEAR_MS: Final = 365 * 86_400_000
_MOST: Final = 10**6  # tokens an owner
_IN_FLIGHT: Final = 64  # requests sent before their answers are read; together shorter than what the gateway lets wait


def populate(options: StoreOptions, count: int, grants: Sequence[tuple[str, ...]] = GRANTS) -> list[TokenText]:
    """That many new tokens, of some thousands of owners, each with the next of these sets of grants. CannotMeasure."""
    try:
        return uvloop.run(_populate(options, count, grants))
    except StoreUnavailable as why:
        raise CannotMeasure(f"the store takes no tokens: {why}") from None


async def _populate(options: StoreOptions, count: int, sets: Sequence[tuple[str, ...]]) -> list[TokenText]:
    made = [make_token("sgt", os.urandom) for _ in range(count)]
    store = Store(options)
    await store.start()
    try:
        async with store.session() as (session, now_ms):
            for number, token in enumerate(made):
                owner, grants = f"user-{number // TOKENS_AN_OWNER:06}", sets[number % len(sets)]
                draft = TokenDraft(token.id, digest(token.text), f"job {number}", owner, "custom", grants, (), _YEAR_MS, (), "")
                keys = (store.keys.live(token.id), store.keys.info(token.id), store.keys.ids, store.keys.owner(owner), store.keys.ends, store.keys.awaited)
                arguments = (_MOST, store.keys.live_prefix, draft.lifetime_ms, 0, "", *draft_fields(draft))
                answer = await store.chain.run(session, CREATE, keys, arguments, AuditEntry("token.create", ON_ITS_OWN, token.id, owner), now_ms)
                if answer[0] != b"done":
                    raise StoreUnavailable("a token could not be made")
            await _grow_up(session, options)
    finally:
        await store.close()
    return made


async def _grow_up(session: Session, options: StoreOptions) -> None:
    """Wait until the server has run for longer than a lease: one that has just started may have forgotten a worker, so changes wait for a whole
    lease there, which is not what is measured."""
    while True:
        (info,) = await session.ask(("INFO", "server"))
        if int(info.partition(b"uptime_in_seconds:")[2].split()[0]) > options.lease_s + 1:
            return
        await asyncio.sleep(0.1)


def use(port: int, tokens: Sequence[TokenText]) -> None:
    """A request with each of them, on one connection. CannotMeasure where one is not answered with what the upstream says."""
    try:
        _use(port, tokens)
    except OSError as error:
        raise CannotMeasure(f"the gateway does not answer all of {len(tokens):,} tokens: {error}") from None


def _use(port: int, tokens: Sequence[TokenText]) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        for at in range(0, len(tokens), _IN_FLIGHT):
            batch = tokens[at : at + _IN_FLIGHT]
            client.sendall(b"".join(_request(token.text) for token in batch))
            answers = b""
            while answers.count(b"\r\n\r\n") < len(batch) or not answers.endswith(bytes(SMALL)):
                piece = client.recv(1 << 20)
                if not piece:
                    raise CannotMeasure("the gateway closed a connection before it had answered all that came on it")
                answers += piece
                if answers.count(b"HTTP/1.1 ") != answers.count(b"HTTP/1.1 200 "):
                    raise CannotMeasure("the gateway refuses tokens that are good")


def _request(token: str) -> bytes:
    return f"GET /4/worklogs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode("ascii")
