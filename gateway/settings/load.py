"""Configuration file and environment -> Settings, or every fault at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from pydantic import ValidationError

from gateway.policy_file.document import KEY, Document, DocumentFault, Fault, Path_, read_bytes, shown, survey
from gateway.policy_file.model_faults import located, place
from gateway.settings import values
from gateway.settings.environment import overlay
from gateway.settings.file_model import CredentialsSection, GatewayFile, JwtSection, OidcSection, StoreTlsSection, UpstreamSection
from gateway.settings.key_file import KEY_LENGTH
from gateway.settings.public_key import check_public_key
from gateway.settings.shape import (
    Address,
    AdminSettings,
    AuditSettings,
    Credential,
    IntrospectionClient,
    JwtIssuer,
    LimitSettings,
    NoticeSettings,
    OidcSettings,
    Secret,
    Settings,
    StoreSettings,
    TlsFiles,
    UpstreamSettings,
)

_SECOND: Final = 1000
_ALL_OPEN: Final = "an upstream has credentials, and these users could grant all that they open: name a grants_claim, or set admin.users_may_grant_all: true"
_NOTICES: Final = ""
_MOST_CREDENTIAL: Final = 16 * 1024  # bytes of a credential's file; no server takes a longer field


class _Found(NamedTuple):
    """A fault by its path in the settings; ``about`` are further paths that it speaks of: where one of them is wrong itself, this is not told."""

    path: Path_
    message: str
    about: tuple[Path_, ...] = ()


def load_settings(path: Path, environ: Mapping[str, str], *, read_credentials: bool = True) -> Settings:
    """The settings of a file with ``environ`` laid over it. Relative paths in it are relative to the current directory.

    DocumentFault with every fault: those of the file with line and column, those of a variable with its name. Without ``read_credentials``
    the upstreams' credentials are empty and their sources are not looked at: for commands that forward nothing.
    """
    document, faults = survey(read_bytes(path), str(path))
    if document is None or not isinstance(document.data, dict):
        raise DocumentFault(faults or [Fault(str(path), 1, 1, "the file must be a mapping: KEY: VALUE")])
    merged = overlay(document.data, environ)
    faults += merged.faults
    named = _credential_variables(merged.data)
    model, found = _validate(merged.data)
    secrets: dict[str, Secret] = {}
    keys: dict[int, Secret] = {}
    client_secret: list[Secret] = []
    clients: dict[int, Secret] = {}
    if model is not None:
        known = {found_fault.path for found_fault in found}
        crossed = [*_contradictions(model)]
        if read_credentials:
            crossed += [*_credentials(model, environ, secrets), *_jwt_keys(model, environ, keys), *_oidc_secret(model, environ, client_secret)]
            crossed += _client_secrets(model, environ, clients)
            crossed += _notice_secret(model, environ, secrets)
        found += [fault for fault in crossed if not any(_touches(about, bad) for about in (fault.path, *fault.about) for bad in known)]
    faults += [_placed(fault, document, str(path), merged.sources) for fault in found]
    faults += [fault for name, fault in merged.unknown.items() if name not in named]
    if faults or model is None:
        raise DocumentFault(list(dict.fromkeys(faults)))
    return _settings(model, secrets, _admin(model, keys, next(iter(client_secret), None), clients))


def _credential_variables(data: Mapping[str, Any]) -> set[object]:
    """The variables that credentials and keys are read from: one may begin like ours and is no setting then."""
    upstreams = data.get("upstreams")
    sections = [section.get("credentials") for section in upstreams.values() if isinstance(section, dict)] if isinstance(upstreams, dict) else []
    admin = data.get("admin")
    issuers = admin.get("jwt") if isinstance(admin, dict) else None
    named = [section.get("env") for section in sections if isinstance(section, dict)]
    oidc = admin.get("oidc") if isinstance(admin, dict) else None
    named += [oidc.get("client_secret_env")] if isinstance(oidc, dict) else []
    notices = data.get("notices")
    named += [notices.get("secret_env")] if isinstance(notices, dict) else []
    named += [issuer.get("secret_env") for issuer in issuers if isinstance(issuer, dict)] if isinstance(issuers, list) else []
    clients = admin.get("introspection") if isinstance(admin, dict) else None
    named += [client.get("secret_env") for client in clients if isinstance(client, dict)] if isinstance(clients, list) else []
    return {name for name in named if isinstance(name, str)}


def _validate(data: dict[str, Any]) -> tuple[GatewayFile | None, list[_Found]]:
    """The model, with what is wrong. Wrong parts are taken out and the rest is judged again, so that no fault hides one that spans several keys."""
    found: list[_Found] | None = None
    for _ in range(4):  # the file; without wrong values; without sections that lost a value they need
        try:
            return GatewayFile.model_validate(data), found or []
        except ValidationError as error:
            errors = error.errors(include_url=False)
        if found is None:
            found = [_Found(*located(details, GatewayFile)) for details in errors]
        for details in errors:
            loc = details["loc"]
            _remove(data, loc[:-1] if details["type"] == "missing" or loc[-1] == KEY else loc)
    return None, found or []


def _remove(data: Any, loc: Path_) -> None:
    """Take out what stands at a place, a whole list with a wrong item."""
    at = data
    for position, part in enumerate(loc):
        if not isinstance(at, dict) or part not in at:
            return
        if position == len(loc) - 1 or not isinstance(at[part], dict):
            del at[part]
            return
        at = at[part]


def _touches(path: Path_, other: Path_) -> bool:
    """Is one of the two inside the other, or the same?"""
    return all(mine == theirs for mine, theirs in zip(path, other, strict=False))


def _placed(found: _Found, document: Document, file: str, sources: Mapping[Path_, str]) -> Fault:
    """The fault at the variable that set the value, else at its place in the file."""
    for length in range(len(found.path), 0, -1):
        variable = sources.get(found.path[:length])
        if variable is not None:
            return Fault(variable, 0, 0, found.message)
    if found.path not in document.places:
        for path, variable in sources.items():
            if path[: len(found.path)] == found.path:
                return Fault(variable, 0, 0, found.message)
    return place(document, file, found.path, found.message)


def _contradictions(model: GatewayFile) -> Iterator[_Found]:
    """What is wrong between keys that are right by themselves."""
    if not model.upstreams:
        yield _Found(("upstreams",), "upstreams: name at least one service to forward to, as in upstreams: {api: {url: http://127.0.0.1:8090}}")
    if model.listen.port and _same_place(model.listen, model.admin.listen):
        yield _Found(("admin", "listen"), "listen: the data plane already listens there: choose another port", (("listen",),))
    if model.store.tls != StoreTlsSection() and not model.store.url.lower().startswith("rediss://"):
        yield _Found(("store", "tls"), "tls: only a rediss:// store is reached by TLS: write rediss:// in store.url, or leave tls out", (("store", "url"),))
    if model.openapi is not None and not model.own_prefix:
        yield _Found(("openapi",), "openapi: own_prefix is off, so nobody could ask for it: leave one of the two out", (("own_prefix",),))
    if model.default_upstream is not None and model.default_upstream not in model.upstreams:
        known = ", ".join(model.upstreams)
        yield _Found(("default_upstream",), f"default_upstream: {shown(model.default_upstream)} is no upstream: known are {known}", (("upstreams",),))
    if any(upstream.credentials for upstream in model.upstreams.values()) and not model.admin.users_may_grant_all:
        for number, issuer in enumerate(model.admin.jwt):
            if issuer.grants_claim is None:
                yield _Found(("admin", "jwt", number), f"jwt: {_ALL_OPEN}", (("upstreams",), ("admin", "users_may_grant_all")))
        if model.admin.oidc is not None and model.admin.oidc.grants_claim is None:
            yield _Found(("admin", "oidc"), f"oidc: {_ALL_OPEN}", (("upstreams",), ("admin", "users_may_grant_all")))
    if model.admin.oidc is not None and model.admin.public_url is None:
        yield _Found(("admin", "oidc"), "oidc: this needs admin.public_url, to which the provider sends people back", (("admin", "public_url"),))
    known_clients = [client.client_id for client in model.admin.introspection]
    for number, client_id in enumerate(known_clients):
        if client_id in known_clients[:number]:
            yield _Found(("admin", "introspection", number, "client_id"), f"client_id: {shown(client_id)} is there already: name each client once")
    for name, upstream in model.upstreams.items():
        at = ("upstreams", name)
        for own, key in ((model.listen, ("listen",)), (model.admin.listen, ("admin", "listen"))):
            if own.port == upstream.url.port and _same_host(own.host, upstream.url.host):
                yield _Found((*at, "url"), f"url: this is the gateway's own address ({'.'.join(key)}): requests would go round in circles", (key,))
        if upstream.rewrite_urls and model.public_url is None:
            yield _Found((*at, "rewrite_urls"), "rewrite_urls: this needs public_url, the address that clients call", (("public_url",),))


def _same_place(one: Address, other: Address) -> bool:
    return one.port == other.port and (one.host in {"", "0.0.0.0", "::", other.host} or other.host in {"", "0.0.0.0", "::"} or _same_host(one.host, other.host))  # noqa: S104


def _same_host(own: str, host: str) -> bool:
    """Would a connection to ``host`` meet a listener on ``own``?"""
    return own == host or (values.is_local(own) and values.is_local(host))


def _credentials(model: GatewayFile, environ: Mapping[str, str], secrets: dict[str, Secret]) -> Iterator[_Found]:
    """Fetch each upstream's credential into ``secrets``."""
    for name, upstream in model.upstreams.items():
        if upstream.credentials is None:
            continue
        key = "env" if upstream.credentials.env is not None else "file"
        try:
            secrets[name] = values.credential_value(_credential_text(upstream.credentials, environ))
        except ValueError as error:
            source = upstream.credentials.env or upstream.credentials.file
            yield _Found(("upstreams", name, "credentials", key), f"{key}: {source} gives no credential: {error}")


def _jwt_keys(model: GatewayFile, environ: Mapping[str, str], keys: dict[int, Secret]) -> Iterator[_Found]:
    """Fetch the key of each issuer that has a fixed one into ``keys``."""
    for number, issuer in enumerate(model.admin.jwt):
        if issuer.jwks_url is not None:
            continue
        key = "secret_env" if issuer.secret_env is not None else "public_key_file"
        try:
            written = _credential_text(CredentialsSection.model_construct(env=issuer.secret_env, file=issuer.public_key_file), environ)
            if issuer.public_key_file is not None:
                check_public_key(written, issuer.algorithms)
            keys[number] = Secret(written) if issuer.secret_env is None else values.signing_secret(written)
        except ValueError as error:
            yield _Found(("admin", "jwt", number, key), f"{key}: {issuer.secret_env or issuer.public_key_file} gives no key: {error}")


def _oidc_secret(model: GatewayFile, environ: Mapping[str, str], secrets: list[Secret]) -> Iterator[_Found]:
    """Fetch the secret that the OpenID provider knows us by into ``secrets``."""
    oidc = model.admin.oidc
    if oidc is None:
        return
    if find_spec("authlib") is None or find_spec("httpx2") is None:
        yield _Found(("admin", "oidc"), "oidc: two packages are missing for it: pip install 'scopegate[oidc]'")
    if oidc.client_secret_env is None:
        return
    try:
        secrets.append(values.credential_value(_credential_text(CredentialsSection.model_construct(env=oidc.client_secret_env, file=None), environ)))
    except ValueError as error:
        yield _Found(("admin", "oidc", "client_secret_env"), f"client_secret_env: {oidc.client_secret_env} gives no secret: {error}")


def _client_secrets(model: GatewayFile, environ: Mapping[str, str], clients: dict[int, Secret]) -> Iterator[_Found]:
    """Fetch the secret of each introspection client into ``clients``."""
    for number, client in enumerate(model.admin.introspection):
        secret = environ.get(client.secret_env)
        if secret is None or len(secret) < KEY_LENGTH:
            why = "the variable is not set" if secret is None else f"it is too short: at least {KEY_LENGTH} characters are needed"
            yield _Found(("admin", "introspection", number, "secret_env"), f"secret_env: {client.secret_env} gives no secret: {why}")
        else:
            clients[number] = Secret(secret)


def _notice_secret(model: GatewayFile, environ: Mapping[str, str], secrets: dict[str, Secret]) -> Iterator[_Found]:
    """Fetch the secret that signs notices into ``secrets``, under a name that no upstream has."""
    name = model.notices.secret_env
    if name is not None:
        try:
            secrets[_NOTICES] = values.webhook_secret(_credential_text(CredentialsSection.model_construct(env=name, file=None), environ))
        except ValueError as error:
            yield _Found(("notices", "secret_env"), f"secret_env: {name} gives no secret: {error}")


def _credential_text(section: CredentialsSection, environ: Mapping[str, str]) -> str:
    if section.env is not None:
        if section.env not in environ:
            raise ValueError("the variable is not set")
        return environ[section.env]
    path = section.file or Path()
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_CREDENTIAL + 1)
    except OSError as error:
        raise ValueError(f"the file can't be read ({os.strerror(error.errno or 0).lower()})") from None
    if len(raw) > _MOST_CREDENTIAL:
        raise ValueError("the file is too long")
    return raw.decode("latin-1").removesuffix("\n").removesuffix("\r")


def _settings(model: GatewayFile, secrets: Mapping[str, Secret], admin: AdminSettings) -> Settings:
    upstreams = {name: _upstream(name, section, secrets.get(name, Secret(""))) for name, section in model.upstreams.items()}
    return Settings(
        listen=model.listen,
        public_url=model.public_url or "",
        workers=model.workers,
        policy=model.policy,
        trusted_proxies=model.trusted_proxies,
        admin=admin,
        store=StoreSettings(
            url=model.store.url,
            data_dir=model.store.data_dir,
            prefix=model.store.prefix,
            lease_ms=model.store.lease,
            timeout_ms=model.store.timeout,
            fsync=model.store.fsync,
            server=str(model.store.server or ""),
            allow_eviction=model.store.allow_eviction,
            tls=TlsFiles(model.store.tls.ca_file, model.store.tls.cert_file, model.store.tls.key_file),
        ),
        limits=LimitSettings(
            request_line=model.limits.request_line,
            head=model.limits.head,
            headers=model.limits.headers,
            body=model.limits.body,
            header_timeout_s=model.limits.header_timeout / _SECOND,
            body_idle_s=model.limits.body_idle / _SECOND,
            keepalive_s=model.limits.keepalive / _SECOND,
        ),
        upstreams=upstreams,
        default_upstream=model.default_upstream or (next(iter(upstreams)) if len(upstreams) == 1 else ""),
        token_prefix=model.token_prefix,
        access_log=model.access_log,
        drain_timeout_s=model.drain_timeout / _SECOND,
        errors=model.errors,
        cache_records=model.cache.records,
        policy_watch=model.policy_watch,
        audit=AuditSettings(model.audit.key_file),
        notices=NoticeSettings(model.notices.url or "", secrets.get(_NOTICES, Secret("")), model.notices.allow_private, model.notices.days),
        own_prefix=model.own_prefix,
        openapi=model.openapi,
    )


def _admin(model: GatewayFile, keys: Mapping[int, Secret], client_secret: Secret | None, clients: Mapping[int, Secret]) -> AdminSettings:
    admin = model.admin
    issuers = [_issuer(section, keys.get(number)) for number, section in enumerate(admin.jwt)]
    return AdminSettings(
        listen=admin.listen,
        key=admin.key,
        hosts=_admin_hosts(model),
        users_may_grant_all=admin.users_may_grant_all,
        public_url=admin.public_url or "",
        jwt=tuple(issuers),
        embed_origins=admin.embed_origins,
        oidc=None if admin.oidc is None else _oidc(admin.oidc, client_secret),
        introspection=tuple(IntrospectionClient(section.client_id, clients.get(number, Secret(""))) for number, section in enumerate(admin.introspection)),
    )


def _oidc(section: OidcSection, client_secret: Secret | None) -> OidcSettings:
    return OidcSettings(
        issuer=section.issuer,
        client_id=section.client_id,
        client_secret=client_secret,
        scopes=section.scopes,
        subject_claim=section.subject_claim,
        admin_claim=section.admin_claim or "",
        grants_claim=section.grants_claim or "",
        label=section.label,
    )


def _issuer(section: JwtSection, key: Secret | None) -> JwtIssuer:
    return JwtIssuer(
        issuer=section.issuer,
        audience=section.audience,
        algorithms=section.algorithms,
        jwks_url=section.jwks_url or "",
        public_key=key.reveal() if key is not None and section.public_key_file is not None else "",
        secret=(key or Secret("")) if section.secret_env is not None else None,
        subject_claim=section.subject_claim,
        admin_claim=section.admin_claim or "",
        grants_claim=section.grants_claim or "",
    )


def _admin_hosts(model: GatewayFile) -> tuple[str, ...]:
    """The configured names, and the one to listen on where it is a name: its address is known by itself."""
    host = model.admin.listen.host
    named = (host,) if host and not values.is_address(host) else ()
    public = urlsplit(model.admin.public_url or "").hostname
    return tuple(dict.fromkeys((*named, *((public,) if public else ()), *model.admin.hosts)))


def _upstream(name: str, section: UpstreamSection, secret: Secret) -> UpstreamSettings:
    return UpstreamSettings(
        name=name,
        url=section.url.url,
        host=section.url.host,
        port=section.url.port,
        tls=section.url.tls,
        connect_timeout_s=section.timeouts.connect / _SECOND,
        response_timeout_s=section.timeouts.response / _SECOND,
        idle_timeout_s=section.timeouts.idle / _SECOND,
        max_connections=section.max_connections,
        preserve_host=section.preserve_host,
        credentials=Credential(section.credentials.header, secret) if section.credentials else None,
        identity=section.identity,
        rewrite_urls=section.rewrite_urls,
    )
