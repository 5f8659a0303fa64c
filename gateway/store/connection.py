"""How the store is reached: its address, one connection of redis-py, and its errors as StoreUnavailable.

redis-py's own read limit, retries and health checks are off: whoever asks sets one limit for all that it asks, and decides whether to
connect again. RESP2 is enough but for the link (``store/link.py``), to which the store pushes. No password is ever part of a text made here.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from redis import exceptions as redis_errors
from redis.asyncio.connection import AbstractConnection, Connection, UnixDomainSocketConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.ports import StoreUnavailable
from gateway.settings import StoreSettings, TlsFiles
from gateway.store import tls

FAILURES: Final = (redis_errors.RedisError, OSError, TimeoutError)
_SCHEMES: Final = {"redis", "rediss", "unix"}
_LOST: Final = "the connection was lost"
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
    """Where the store is and how it is asked. ``data_dir`` holds ``store.id``; ``embedded`` makes a failed WAITAOF count; ``tls`` is for ``rediss://``."""

    url: str
    data_dir: Path
    prefix: str = "sg:"
    timeout_s: float = 0.25
    lease_s: float = 2.0
    alone: bool = False
    embedded: bool = False
    allow_eviction: bool = False
    tls: TlsFiles = field(default_factory=TlsFiles)

    def __repr__(self) -> str:
        return f"StoreOptions({address(self.url)!r}, prefix={self.prefix!r})"


def store_options(settings: StoreSettings, embedded_url: str = "") -> StoreOptions:
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
        valid = parts.scheme in _SCHEMES and (parts.port or 1) > 0 and (parts.scheme != "unix" or len(parts.path) > 1)
    except ValueError:
        valid, query = False, {}
    if not valid:
        return "store.url is no address: write redis://HOST:PORT/DB, rediss://HOST:PORT/DB, unix:///PATH?db=N or embedded"
    unknown = sorted(set(query) - _QUERY)
    if unknown:
        return f"store.url: the option {unknown[0]!r} is not known; there are db, username and password"
    database = query.get("db", ["" if parts.scheme == "unix" else parts.path.strip("/")])[-1]
    if database and not (database.isascii() and database.isdigit()):
        return "store.url: the database is a number"
    return None


def new_connection(options: StoreOptions, protocol: int = 2) -> AbstractConnection:
    """A connection of redis-py that is not yet open. ValueError with check_url's line where the URL is wrong; StoreUnavailable where a file of ``tls`` is."""
    fault = check_url(options.url)
    if fault:
        raise ValueError(fault)
    arguments: dict[str, Any] = dict(parse_url(options.url))
    made = arguments.pop("connection_class", Connection)
    if made is not UnixDomainSocketConnection:
        arguments.setdefault("host", "localhost")
        arguments["socket_keepalive"] = True
    if urlsplit(options.url).scheme == "rediss":
        made = _TlsConnection
        arguments["context"] = tls.client_context(options.tls)
    connection: AbstractConnection = made(
        **arguments,
        protocol=protocol,
        socket_timeout=None,
        socket_connect_timeout=options.timeout_s,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        health_check_interval=0,
        driver_info=None,
    )
    return connection


class _TlsConnection(Connection):
    """A connection by TLS with a context of ours: redis-py's own keeps the system's authorities beside a private one, and is made for each connection."""

    def __init__(self, *, context: ssl.SSLContext, **arguments: Any) -> None:
        self._context = context
        super().__init__(**arguments)

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {**super()._connection_arguments(), "ssl": self._context}


async def connect(options: StoreOptions, protocol: int = 2) -> AbstractConnection:
    """An open connection; the caller limits the time. redis-py's errors as they come."""
    connection = new_connection(options, protocol)
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
    except BaseException:  # redis-py leaves the socket of a handshake that was broken off open
        await connection.disconnect(nowait=True)
        raise
    return connection


def unavailable(error: BaseException, options: StoreOptions, *, written: bool = False) -> StoreUnavailable:
    """A foreign error as StoreUnavailable: one plain line that says what to do. ``written``: the change may have been made."""
    if isinstance(error, StoreUnavailable):
        return error
    where = f"the store at {address(options.url)}"
    cause = _cause(error)
    if isinstance(cause, redis_errors.TimeoutError | TimeoutError):
        return StoreUnavailable(
            f"{where} did not answer within {options.timeout_s * 1000:g} ms (store.timeout): look at its load, or raise the limit", written=written
        )
    code = _code(cause)
    if code in _ADVICE:
        return StoreUnavailable(f"{where} {_ADVICE[code]}", written=written)
    if code:
        return StoreUnavailable(f"{where} refused a command ({code}): look at its log", written=written)
    handshake = tls.trouble(cause, options.tls)
    if handshake:
        return StoreUnavailable(f"{where} {handshake}", written=written)
    reason = _reason(cause)
    if reason == _LOST and urlsplit(options.url).scheme == "rediss":
        return StoreUnavailable(f"{where} {tls.closed(options.tls)}", written=written)
    return StoreUnavailable(f"{where} cannot be reached: {reason}; start it, or mend store.url", written=written)


def is_refusal(error: BaseException) -> bool:
    """Whether the server itself said no, and so did nothing."""
    return bool(_code(_cause(error)))


def _cause(error: BaseException) -> BaseException:
    """What redis-py's ConnectionError stands for: it wraps the system's errors and the refusals of a handshake alike."""
    inner = error.__cause__ or error.__context__
    return inner if type(error) is redis_errors.ConnectionError and isinstance(inner, OSError | redis_errors.RedisError) else error


def _code(error: BaseException) -> str:
    """The first word of a server's refusal, "" where it is none."""
    if not isinstance(error, redis_errors.RedisError):
        return ""
    if str(error) == "max number of clients reached":  # redis-py takes its code, ERR, away
        return "MAXCLIENTS"
    code: str | None = error.status_code
    if code is None and isinstance(error, redis_errors.ResponseError):
        code = str(error).split(" ", 1)[0]
    return code or ""


def _reason(error: BaseException) -> str:
    for kind, plain in _REASONS.items():
        if isinstance(error, kind):
            return plain
    return _LOST
