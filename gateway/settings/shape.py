"""The deployment, as the rest of the gateway sees it: frozen, checked, with units in the names."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final


class Secret:
    """A value that must not be seen: only ``reveal`` gives it out, never repr, str or a log."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value: Final = value

    def reveal(self) -> str:
        """The value itself, for the one place that sends or compares it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(Secret)  # equal for all: a hash of the value would be a trace of it


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. ``host`` is "" for every address of the machine; ``port`` is 0 for one that the system chooses."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class JwtIssuer:
    """Whose users' JWTs are taken. One source of keys: ``jwks_url``, else ``public_key`` (PEM), else ``secret``. ``algorithms`` are of that kind alone.

    ``admin_claim`` is NAME (the claim must be true) or NAME=VALUE (it must be VALUE, or a list that holds it), "" for none. ``grants_claim`` is "" where
    users may grant all scopes.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    jwks_url: str
    public_key: str
    secret: Secret | None
    subject_claim: str
    admin_claim: str
    grants_claim: str


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """The OpenID provider that people sign in with in a browser. ``client_secret`` is None for a public client; ``admin_claim`` and ``grants_claim`` are as
    those of JwtIssuer; ``label`` is what the page calls the provider.
    """

    issuer: str
    client_id: str
    client_secret: Secret | None
    scopes: tuple[str, ...]
    subject_claim: str
    admin_claim: str
    grants_claim: str
    label: str


@dataclass(frozen=True, slots=True)
class IntrospectionClient:
    """Who may ask what a token is good for, by HTTP Basic authentication."""

    client_id: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """The management port. ``key`` is None where none is configured: ``ensure_admin_key`` then makes one. ``hosts`` are further names that it answers to.
    ``public_url`` is where browsers reach it, without a final slash; ``embed_origins`` are the origins of pages that may show its pages in a frame."""

    listen: Address
    key: Secret | None
    hosts: tuple[str, ...]
    users_may_grant_all: bool
    public_url: str = ""
    jwt: tuple[JwtIssuer, ...] = ()
    embed_origins: tuple[str, ...] = ()
    oidc: OidcSettings | None = None
    introspection: tuple[IntrospectionClient, ...] = ()


@dataclass(frozen=True, slots=True)
class NoticeSettings:
    """Webhooks. ``url`` is "" where none are sent; it may hold a secret part and is therefore left out of the repr. ``secret`` signs them, in the form
    ``whsec_BASE64``. ``allow_private``: the receiver may have an address that is not of the public internet. ``days`` before a token's expiry."""

    url: str = field(default="", repr=False)
    secret: Secret = field(default_factory=lambda: Secret(""))
    allow_private: bool = False
    days: tuple[int, ...] = (14, 3, 0)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files for TLS to the store. Without ``ca_file`` the system's certificate authorities count; with it, no other. ``cert_file`` and ``key_file``
    are what we show of ourselves: both or neither.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The token store. ``url`` may hold a password and is therefore left out of the repr. ``server`` is the path of a server program for
    ``embedded``, "" where the shipped one or one on PATH counts. ``tls`` counts for ``rediss://`` alone.
    """

    url: str = field(repr=False)
    data_dir: Path
    prefix: str
    lease_ms: int
    timeout_ms: int
    fsync: str  # "everysec" or "always"
    server: str
    allow_eviction: bool
    tls: TlsFiles = TlsFiles()


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """``key_file`` holds the key that signs the audit log; None where each node has its own, in ``data_dir``."""

    key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Limits on a client: sizes in bytes, times in seconds, ``headers`` a number of fields."""

    request_line: int
    head: int
    headers: int
    body: int
    header_timeout_s: float
    body_idle_s: float
    keepalive_s: float


@dataclass(frozen=True, slots=True)
class Credential:
    """The gateway's own credential for an upstream: the whole value of the field ``header``."""

    header: str
    value: Secret


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """A service that receives forwarded requests. ``url`` is scheme, host and port without a path: ``https://api.example.com``."""

    name: str
    url: str
    host: str
    port: int
    tls: bool
    connect_timeout_s: float
    response_timeout_s: float
    idle_timeout_s: float
    max_connections: int
    preserve_host: bool
    credentials: Credential | None
    identity: str  # "headers" or "none"
    rewrite_urls: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """Configuration file and environment, merged and checked.

    ``default_upstream`` is "" where there are several upstreams and none is chosen. ``access_log`` is "stdout", "off" or a file's path.
    ``errors`` is "problem" or "tempo". ``public_url`` is "" where it is not set, else without a final slash.
    ``own_prefix`` begins and ends with a slash, "" where it is off; ``openapi`` is the API's description for those who ask there.
    """

    listen: Address
    public_url: str
    workers: int
    policy: Path
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    admin: AdminSettings
    store: StoreSettings
    limits: LimitSettings
    upstreams: Mapping[str, UpstreamSettings]
    default_upstream: str
    token_prefix: str
    access_log: str
    drain_timeout_s: float
    errors: str
    cache_records: int
    policy_watch: bool = True
    audit: AuditSettings = AuditSettings()
    notices: NoticeSettings = NoticeSettings()
    own_prefix: str = ""
    openapi: Path | None = None
