"""How the store is reached: its address, one connection to it, and its errors as StoreUnavailable.

Whoever asks sets one limit for all that it asks, and decides whether to connect again. RESP2 is enough but for the link (``store/link.py``),
to which the store pushes. No password is ever part of a text made here.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import hiredis

from gateway.ports import StoreUnavailable
from gateway.settings import StoreSettings, TlsFiles
from gateway.store import tls
from gateway.store.channel import Channel, Command

FAILURES: Final = (hiredis.HiredisError, OSError)
_SCHEMES: Final = {"redis", "rediss", "unix"}
_QUERY: Final = {"db", "username", "password"}
_ADVICE: Final = {
    "OOM": "is full (OOM): raise its maxmemory",
    "READONLY": "is a read-only replica: name its primary in store.url",
    "LOADING": "is still loading its data: wait until it is done",
    "MISCONF": "refuses writes because it cannot save (MISCONF): free its disk, and look at its log",
    "NOAUTH": "asks for a password: put it into store.url",
    "WRONGPASS": "refuses the user or the password of store.url: mend them there",
    "NOPERM": "does not let this user do what the gateway needs: widen its ACL to the keys and commands",
    "NOREPLICAS": "refuses writes because too few replicas follow it (NOREPLICAS): mend them, or lower its min-replicas-to-write",
    "BUSY": "is held up by somebody's script (BUSY): end it by SCRIPT KILL",
    "MASTERDOWN": "has lost its primary: name the primary in store.url",
    "CLUSTERDOWN": "is a cluster that is down: name a server that is none in store.url",
    "MAXCLIENTS": "has as many clients as it takes: raise its maxclients",
}
_REASONS: Final[dict[type[BaseException], str]] = {
    ConnectionRefusedError: "nothing listens there",
    FileNotFoundError: "there is no such socket",
    PermissionError: "this user may not use that socket",
    socket.gaierror: "its name does not resolve",
}


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """Where the store is and how it is asked. ``data_dir`` holds ``store.id``; ``embedded`` makes a failed WAITAOF count; ``tls`` is for ``rediss://``;
    ``audit_key_file`` signs the audit log, None for the file ``audit.key`` in ``data_dir``."""

    url: str
    data_dir: Path
    prefix: str = "sg:"
    timeout_s: float = 0.25
    lease_s: float = 2.0
    alone: bool = False
    embedded: bool = False
    allow_eviction: bool = False
    tls: TlsFiles = field(default_factory=TlsFiles)
    audit_key_file: Path | None = None

    def __repr__(self) -> str:
        return f"StoreOptions({address(self.url)!r}, prefix={self.prefix!r})"


def store_options(settings: StoreSettings, embedded_url: str = "", audit_key_file: Path | None = None) -> StoreOptions:
    """The configured store; ``embedded_url`` is where its embedded server listens, where there is one."""
    return StoreOptions(
        url=embedded_url or settings.url,
        data_dir=settings.data_dir,
        prefix=settings.prefix,
        timeout_s=settings.timeout_ms / 1000,
        lease_s=settings.lease_ms / 1000,
        embedded=bool(embedded_url),
        allow_eviction=settings.allow_eviction,
        tls=settings.tls,
        audit_key_file=audit_key_file,
    )


def address(url: str) -> str:
    """The URL as it may be shown: without user, password and options."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def check_url(url: str) -> str | None:
    """What is wrong with a store URL, in one line without a secret; None if it is fine."""
    try:
        parts = urlsplit(url)
        query = parse_qs(parts.query, keep_blank_values=True)
        valid = parts.scheme in _SCHEMES and parts.port != 0 and (parts.scheme != "unix" or len(parts.path) > 1)
    except ValueError:
        valid, query = False, {}
    if not valid:
        return "store.url is no address: write redis://HOST:PORT/DB, rediss://HOST:PORT/DB, unix:///PATH?db=N or embedded"
    unknown = sorted(set(query) - _QUERY)
    if unknown:
        return f"store.url: the option {unknown[0]!r} is not known; there are db, username and password"
    databases = [*query.get("db", ()), "" if parts.scheme == "unix" else parts.path.strip("/")]
    if any(database and not (database.isascii() and database.isdigit()) for database in databases):
        return "store.url: the database is a number"
    return None


async def connect(options: StoreOptions, protocol: int = 2) -> Channel:
    """A connection that is let in, and in its database; the caller limits the time. FAILURES as they come; ValueError with check_url's line where the
    URL is wrong; StoreUnavailable where a file of ``tls`` is."""
    fault = check_url(options.url)
    if fault:
        raise ValueError(fault)
    parts = urlsplit(options.url)
    greeting = _greeting(parts, protocol)
    channel = await _opened(parts, options)
    for reply in await channel.ask(*greeting):
        if isinstance(reply, hiredis.ReplyError):
            channel.abort()
            raise reply
    return channel


def _greeting(parts: SplitResult, protocol: int) -> list[Command]:
    """What is said first: by which protocol, who we are, and in which database. What the query says of us counts where nothing stands before the host."""
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    user = unquote(parts.username or "") or query.get("username", "")
    password = unquote(parts.password or "") or query.get("password", "")
    database = query.get("db") or ("" if parts.scheme == "unix" else parts.path.strip("/"))
    greeting: list[Command] = []
    if protocol == 3:
        greeting.append(("HELLO", 3, "AUTH", user or "default", password) if user or password else ("HELLO", 3))
    elif user or password:
        greeting.append(("AUTH", user, password) if user else ("AUTH", password))
    if int(database or 0):
        greeting.append(("SELECT", int(database)))
    return greeting


async def _opened(parts: SplitResult, options: StoreOptions) -> Channel:
    loop = asyncio.get_running_loop()
    try:
        if parts.scheme == "unix":
            return (await loop.create_unix_connection(Channel, unquote(parts.path)))[1]
        host = unquote(parts.hostname or "localhost")
        context = tls.client_context(options.tls) if parts.scheme == "rediss" else None
        made = await loop.create_connection(Channel, host, parts.port or 6379, ssl=context, server_hostname=host if context else None)
    except OSError:  # SSLCertVerificationError is a ValueError too
        raise
    except ValueError as error:  # a name that can't be one
        raise socket.gaierror(str(error)) from error
    return made[1]


def unavailable(error: BaseException, options: StoreOptions, *, written: bool = False) -> StoreUnavailable:
    """A foreign error as StoreUnavailable: one plain line that says what to do. ``written``: the change may have been made."""
    if isinstance(error, StoreUnavailable):
        return error
    where = f"the store at {address(options.url)}"
    if isinstance(error, TimeoutError):
        return StoreUnavailable(
            f"{where} did not answer within {options.timeout_s * 1000:g} ms (store.timeout): look at its load, or raise the limit", written=written
        )
    if isinstance(error, hiredis.ProtocolError):
        return StoreUnavailable("what answers at the store's address does not speak RESP: check store.url", written=written)
    if isinstance(error, hiredis.ReplyError):
        refusal = code(error)
        return StoreUnavailable(f"{where} {_ADVICE.get(refusal) or f'refused a command ({refusal}): look at its log'}", written=written)
    handshake = tls.trouble(error, options.tls)
    if handshake:
        return StoreUnavailable(f"{where} {handshake}", written=written)
    reason = next((plain for kind, plain in _REASONS.items() if isinstance(error, kind)), "")
    if not reason and urlsplit(options.url).scheme == "rediss":
        return StoreUnavailable(f"{where} {tls.closed(options.tls)}", written=written)
    return StoreUnavailable(f"{where} cannot be reached: {reason or 'the connection was lost'}; start it, or mend store.url", written=written)


def code(reply: object) -> str:
    """The first word of an error reply, "" where it is none."""
    if not isinstance(reply, hiredis.ReplyError):
        return ""
    return "MAXCLIENTS" if str(reply) == "ERR max number of clients reached" else str(reply).partition(" ")[0]
