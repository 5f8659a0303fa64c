"""The configuration file as it is written: every key that this gateway knows, with its default.

Keys of features that are not built yet are known too, and refused: ignoring one could widen access or drop a protection.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Final, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from gateway.core.own_routes import DEFAULT_PREFIX
from gateway.settings import values
from gateway.settings.shape import Address, Secret
from gateway.settings.values import UpstreamUrl

NotYet = Annotated[None, BeforeValidator(values.later)]
Flag = Annotated[bool, values.yes_or_no()]
OneUrl = Annotated[UpstreamUrl, BeforeValidator(values.upstream_url)]

_KIB: Final = 1024
_MIB: Final = 1024 * 1024


class Section(BaseModel):
    """A mapping of the file. An empty section, list or map (``admin:``) counts as left out; an empty single value does not."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_empty_sections(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or not holds_more(cls, key)}


def holds_more(section: type[Section], key: str) -> bool:
    """Is the key's value a section, a list or a map?"""
    field = section.model_fields.get(key)
    if field is None:
        return False
    kind = field.annotation
    return kind is type(None) or get_origin(kind) in {tuple, dict, Mapping} or (isinstance(kind, type) and issubclass(kind, Section))


class JwtSection(Section):
    issuer: Annotated[str, values.reading(values.text_value)]
    audience: Annotated[str, values.reading(values.text_value)]
    algorithms: tuple[Annotated[str, values.one_of(*values.JWT_ALGORITHMS)], ...]
    jwks_url: Annotated[str | None, values.reading(values.https_url)] = None
    public_key_file: Annotated[Path | None, values.reading(values.file_path)] = None
    secret_env: Annotated[str | None, values.reading(values.text_value)] = None
    subject_claim: Annotated[str, values.reading(values.text_value)] = "sub"
    admin_claim: Annotated[str | None, values.reading(values.admin_claim)] = None
    grants_claim: Annotated[str | None, values.reading(values.text_value)] = None

    @model_validator(mode="after")
    def _one_kind_of_key(self) -> JwtSection:
        if sum(source is not None for source in (self.jwks_url, self.public_key_file, self.secret_env)) != 1:
            raise ValueError("name one source of the key: jwks_url, public_key_file or secret_env")
        if not self.algorithms:
            raise ValueError("algorithms: name at least one, as in [RS256]")
        wrong = [name for name in self.algorithms if name.startswith("HS") != (self.secret_env is not None)]
        if wrong:
            kind = "a shared secret (secret_env)" if self.secret_env is not None else "a public key"
            raise ValueError(f"algorithms: {', '.join(wrong)} does not go with {kind}: one kind of key an entry")
        return self


class OidcSection(Section):
    issuer: Annotated[str, values.reading(values.https_url)]
    client_id: Annotated[str, values.reading(values.text_value)]
    client_secret_env: Annotated[str | None, values.reading(values.text_value)] = None
    scopes: tuple[Annotated[str, values.reading(values.oauth_scope)], ...] = ("openid",)
    subject_claim: Annotated[str, values.reading(values.text_value)] = "sub"
    admin_claim: Annotated[str | None, values.reading(values.admin_claim)] = None
    grants_claim: Annotated[str | None, values.reading(values.text_value)] = None
    label: Annotated[str, values.reading(values.text_value)] = "your company account"

    @model_validator(mode="after")
    def _asks_for_an_id_token(self) -> OidcSection:
        if "openid" not in self.scopes:
            raise ValueError("scopes: openid must be one of them")
        return self


class IntrospectionSection(Section):
    client_id: Annotated[str, values.reading(values.text_value)]
    secret_env: Annotated[str, values.reading(values.text_value)]


class AdminSection(Section):
    listen: Annotated[Address, values.reading(values.address)] = Address("127.0.0.1", 8081)
    key: Annotated[Secret | None, values.reading(values.admin_key)] = None
    hosts: tuple[Annotated[str, values.reading(values.host_name)], ...] = ()
    users_may_grant_all: Flag = False
    public_url: Annotated[str | None, values.reading(values.pages_url)] = None
    jwt: tuple[JwtSection, ...] = ()
    embed_origins: tuple[Annotated[str, values.reading(values.origin)], ...] = ()
    oidc: OidcSection | None = None
    introspection: tuple[IntrospectionSection, ...] = ()


class StoreTlsSection(Section):
    ca_file: Annotated[Path | None, values.reading(values.file_path)] = None
    cert_file: Annotated[Path | None, values.reading(values.file_path)] = None
    key_file: Annotated[Path | None, values.reading(values.file_path)] = None

    @model_validator(mode="after")
    def _certificate_with_key(self) -> StoreTlsSection:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together: name both, or neither")
        return self


class StoreSection(Section):
    url: Annotated[str, values.reading(values.store_url)] = "embedded"
    data_dir: Annotated[Path, values.reading(values.file_path)] = Path("data")
    prefix: Annotated[str, values.reading(values.store_prefix)] = "sg:"
    lease: Annotated[int, values.duration("100ms", "60s")] = 2000
    timeout: Annotated[int, values.duration("1ms", "60s")] = 250
    fsync: Annotated[str, values.one_of("everysec", "always")] = "everysec"
    server: Annotated[Path | None, values.reading(values.file_path)] = None
    allow_eviction: Flag = False
    tls: StoreTlsSection = StoreTlsSection()


class AuditSection(Section):
    key_file: Annotated[Path | None, values.reading(values.file_path)] = None


class LimitsSection(Section):
    request_line: Annotated[int, values.size("256B", "1MiB")] = 8 * _KIB
    head: Annotated[int, values.size("1KiB", "16MiB")] = 32 * _KIB
    headers: Annotated[int, values.number(1, 10_000)] = 100
    body: Annotated[int, values.size("1B", "1024GiB")] = 100 * _MIB
    header_timeout: Annotated[int, values.duration("1ms", "24h")] = 10_000
    body_idle: Annotated[int, values.duration("1ms", "24h")] = 30_000
    keepalive: Annotated[int, values.duration("1ms", "24h")] = 75_000


class TimeoutsSection(Section):
    connect: Annotated[int, values.duration("1ms", "24h")] = 5_000
    response: Annotated[int, values.duration("1ms", "24h")] = 60_000
    idle: Annotated[int, values.duration("1ms", "24h")] = 60_000


class CredentialsSection(Section):
    header: Annotated[str, values.reading(values.field_name)] = "Authorization"
    env: Annotated[str | None, values.reading(values.text)] = None
    file: Annotated[Path | None, values.reading(values.file_path)] = None

    @model_validator(mode="after")
    def _one_source(self) -> CredentialsSection:
        if (self.env is None) == (self.file is None):
            raise ValueError("name one source of the value: env or file")
        return self


class UpstreamSection(Section):
    url: OneUrl
    timeouts: TimeoutsSection = TimeoutsSection()
    max_connections: Annotated[int, values.number(1, 100_000)] = 256
    preserve_host: Flag = False
    credentials: CredentialsSection | None = None
    identity: Annotated[str, values.one_of("headers", "none", later=("jwt",))] = "headers"
    rewrite_urls: Flag = False
    tls: NotYet = None


class CacheSection(Section):
    records: Annotated[int, values.number(0, 100_000_000)] = 100_000


class NoticesSection(Section):
    url: Annotated[str | None, values.reading(values.webhook_url)] = None
    secret_env: Annotated[str | None, values.reading(values.text_value)] = None
    allow_private: Flag = False
    days: tuple[Annotated[int, values.number(0, 365)], ...] = (14, 3, 0)

    @model_validator(mode="after")
    def _signed(self) -> NoticesSection:
        if (self.url is None) != (self.secret_env is None):
            raise ValueError("url and secret_env go together: each notice is signed")
        if self.url is not None and self.url.startswith("http:") and not self.allow_private:
            raise ValueError("url: http:// is for a receiver on this machine, and needs allow_private: true")
        return self


class GatewayFile(Section):
    listen: Annotated[Address, values.reading(values.address)] = Address("127.0.0.1", 8080)
    public_url: Annotated[str | None, values.reading(values.public_url)] = None
    workers: Annotated[int, values.number(1, 256)] = 1
    policy: Annotated[Path, values.reading(values.file_path)] = Path("policies/tempo.yaml")
    policy_watch: Flag = True
    trusted_proxies: tuple[Annotated[IPv4Network | IPv6Network, values.reading(values.network)], ...] = ()
    admin: AdminSection = AdminSection()
    store: StoreSection = StoreSection()
    audit: AuditSection = AuditSection()
    limits: LimitsSection = LimitsSection()
    upstreams: dict[Annotated[str, values.reading(values.upstream_name)], UpstreamSection] = {}
    default_upstream: Annotated[str | None, values.reading(values.text)] = None
    token_prefix: Annotated[str, values.reading(values.token_prefix)] = "sgt"  # noqa: S105  no password
    access_log: Annotated[str, values.reading(values.access_log)] = "stdout"
    drain_timeout: Annotated[int, values.duration("0ms", "24h")] = 25_000
    own_prefix: Annotated[str, values.reading(values.own_prefix)] = DEFAULT_PREFIX
    openapi: Annotated[Path | None, values.reading(values.file_path)] = None
    errors: Annotated[str, values.one_of("problem", "tempo")] = "problem"
    cache: CacheSection = CacheSection()
    notices: NoticesSection = NoticesSection()
    cors: NotYet = None
    decide: NotYet = None
