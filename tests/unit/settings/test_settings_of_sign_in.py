"""The settings of who comes in: entries of admin.jwt, admin.oidc, admin.embed_origins. Each fault is told with its place, and no key ever."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gateway.policy_file.document import DocumentFault
from gateway.settings import JwtIssuer, OidcSettings, Secret, Settings
from gateway.settings.load import load_settings

UPSTREAMS = "upstreams: {api: {url: http://127.0.0.1:8090}}\n"
ISSUER = "issuer: https://login.example, audience: scopegate"
GOOD_SECRET = "Zm9ydHktdHdvIHJhbmRvbSBieXRlcyBhcyBiYXNlNjQ"
STRONG = {"STRONG": GOOD_SECRET}


def load(folder: Path, text: str, environ: Mapping[str, str] | None = None, **options: bool) -> Settings:
    file = folder / "gateway.yaml"
    file.write_text(text)
    return load_settings(file, environ or {}, **options)


def faults(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(DocumentFault) as caught:
        load(folder, text, environ)
    assert GOOD_SECRET not in str(caught.value)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def entry(more: str) -> str:
    return f"{UPSTREAMS}admin:\n  jwt:\n    - {{{ISSUER}, {more}}}\n"


def pem(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def private_pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def test_an_entry_is_read_with_its_defaults(tmp_path: Path) -> None:
    (issuer,) = load(tmp_path, entry("algorithms: [RS256, ES256], jwks_url: https://login.example/keys")).admin.jwt
    assert issuer == JwtIssuer("https://login.example", "scopegate", ("RS256", "ES256"), "https://login.example/keys", "", None, "sub", "", "")


def test_a_secret_comes_from_a_variable_and_shows_nowhere(tmp_path: Path) -> None:
    settings = load(tmp_path, entry("algorithms: [HS256], secret_env: STRONG, admin_claim: roles=owner, grants_claim: g, subject_claim: email"), STRONG)
    (issuer,) = settings.admin.jwt
    assert issuer.secret == Secret(GOOD_SECRET)
    assert (issuer.subject_claim, issuer.admin_claim, issuer.grants_claim) == ("email", "roles=owner", "g")
    assert GOOD_SECRET not in repr(settings)


def test_the_variable_of_a_secret_may_begin_like_a_setting(tmp_path: Path) -> None:
    assert load(tmp_path, entry("algorithms: [HS256], secret_env: SCOPEGATE_LOGIN"), {"SCOPEGATE_LOGIN": GOOD_SECRET}).admin.jwt


def test_entries_come_from_the_environment_as_json(tmp_path: Path) -> None:
    written = '[{"issuer": "https://login.example", "audience": "a", "algorithms": ["HS256"], "secret_env": "STRONG"}]'
    assert load(tmp_path, UPSTREAMS, {"SCOPEGATE_ADMIN__JWT": written, **STRONG}).admin.jwt[0].audience == "a"
    assert faults(tmp_path, UPSTREAMS, {"SCOPEGATE_ADMIN__JWT": written}) == ["SCOPEGATE_ADMIN__JWT: secret_env: STRONG gives no key: the variable is not set"]


def test_commands_that_forward_nothing_need_no_key(tmp_path: Path) -> None:
    assert load(tmp_path, entry("algorithms: [HS256], secret_env: NOT_SET"), read_credentials=False).admin.jwt[0].secret == Secret("")


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ("algorithms: [HS256]", "4:7: jwt: name one source of the key: jwks_url, public_key_file or secret_env"),
        (
            "algorithms: [HS256], secret_env: STRONG, jwks_url: https://a.example/k",
            "4:7: jwt: name one source of the key: jwks_url, public_key_file or secret_env",
        ),
        ("algorithms: [], secret_env: STRONG", "4:7: jwt: algorithms: name at least one, as in [RS256]"),
        ("algorithms: [RS256, HS256], jwks_url: https://a.example/k", "4:7: jwt: algorithms: HS256 does not go with a public key: one kind of key an entry"),
        (
            "algorithms: [HS256, ES256], secret_env: STRONG",
            "4:7: jwt: algorithms: ES256 does not go with a shared secret (secret_env): one kind of key an entry",
        ),
        ("algorithms: [none], secret_env: STRONG", None),
        ("algorithms: [PS256], jwks_url: https://a.example/k", None),
        ("algorithms: [RS256], jwks_url: http://a.example/k", None),
        ("algorithms: [RS256], jwks_url: https://me:secret@a.example/k", None),
        ("algorithms: [RS256], jwks_url: file:///etc/passwd", None),
        ("algorithms: [RS256], jwks_url: https://a.example/k, kid: one", None),
        ("secret_env: STRONG", None),
        ("algorithms: [HS256], secret_env: ''", None),
        ("algorithms: [HS256], secret_env: STRONG, subject_claim: ''", None),
        ("algorithms: [HS256], secret_env: STRONG, issuer: https://twice.example", None),
    ],
)
def test_a_wrong_entry_is_refused_with_its_place(tmp_path: Path, more: str, line: str | None) -> None:
    told = faults(tmp_path, entry(more), STRONG)
    assert all(fault.startswith("gateway.yaml:4:") for fault in told)
    if line is not None:
        assert told == [f"gateway.yaml:{line}"]


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (None, "the variable is not set"),
        ("", "it is too short: at least 32 characters are needed"),
        (GOOD_SECRET[:31], "it is too short: at least 32 characters are needed"),
        ("abab" * 16, "it is too simple: make one with openssl rand -base64 32"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "it is a key in PEM: name its public half as public_key_file"),
    ],
)
def test_a_weak_secret_stops_the_start(tmp_path: Path, written: str | None, why: str) -> None:
    """Seen to fail without each of the three rules."""
    told = faults(tmp_path, entry("algorithms: [HS256], secret_env: WEAK"), {} if written is None else {"WEAK": written})
    assert told == [f"gateway.yaml:4:93: secret_env: WEAK gives no key: {why}"]


@pytest.mark.parametrize(
    ("written", "algorithm", "why"),
    [
        (pem(rsa.generate_private_key(65537, 1024)), "RS256", "it has 1024 bits: at least 2048 are needed"),
        (pem(rsa.generate_private_key(65537, 2048)), "ES256", "ES256 needs an EC key on P-256"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "RS256", "RS256 needs an RSA key"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "ES256", "ES256 needs an EC key on P-256"),
        (private_pem(ec.generate_private_key(ec.SECP256R1())), "ES256", "it is no public key in PEM (-----BEGIN PUBLIC KEY-----)"),
        ("ssh-rsa AAAA", "RS256", "it is no public key in PEM (-----BEGIN PUBLIC KEY-----)"),
        ("", "RS256", "it is no public key in PEM (-----BEGIN PUBLIC KEY-----)"),
        (None, "RS256", "the file can't be read (no such file or directory)"),
    ],
)
def test_a_public_key_that_is_weak_or_of_another_kind_stops_the_start(tmp_path: Path, written: str | None, algorithm: str, why: str) -> None:
    """Seen to fail without each of the rules."""
    file = tmp_path / "key.pem"
    if written is not None:
        file.write_text(written)
    (told,) = faults(tmp_path, entry(f"algorithms: [{algorithm}], public_key_file: {file}"))
    assert told.startswith("gateway.yaml:4:")
    assert told.endswith(f"gives no key: {why}")


def test_a_good_public_key_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text(pem(rsa.generate_private_key(65537, 2048)))
    assert load(tmp_path, entry(f"algorithms: [RS256], public_key_file: {file}")).admin.jwt[0].public_key.startswith("-----BEGIN PUBLIC KEY-----")


STRONG_UPSTREAM = "upstreams: {api: {url: http://127.0.0.1:8090, credentials: {env: STRONG}}}\n"
ALL_OPEN = "an upstream has credentials, and these users could grant all that they open: name a grants_claim, or set admin.users_may_grant_all: true"


def test_users_who_could_grant_all_that_our_credentials_open_stop_the_start(tmp_path: Path) -> None:
    """Seen to fail without the rule."""
    users = f"  jwt:\n    - {{{ISSUER}, algorithms: [HS256], secret_env: STRONG}}\n"
    assert faults(tmp_path, f"{STRONG_UPSTREAM}admin:\n{users}", STRONG) == [f"gateway.yaml:4:7: jwt: {ALL_OPEN}"]
    assert load(tmp_path, f"{STRONG_UPSTREAM}admin:\n  users_may_grant_all: true\n{users}", STRONG).admin.users_may_grant_all
    assert load(tmp_path, f"{STRONG_UPSTREAM}admin:\n{users.replace('}', ', grants_claim: g}')}", STRONG).admin.jwt
    assert load(tmp_path, f"{UPSTREAMS}admin:\n{users}", STRONG).admin.jwt
    told = faults(tmp_path, f"{STRONG_UPSTREAM}{OIDC}", STRONG)
    assert [line.partition(": ")[2] for line in told] == [f"oidc: {ALL_OPEN}"]


OIDC = "admin:\n  public_url: https://tokens.example\n  oidc: {issuer: https://login.example, client_id: us}\n"


def test_a_provider_is_read_with_its_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path, UPSTREAMS + OIDC)
    assert settings.admin.oidc == OidcSettings("https://login.example", "us", None, ("openid",), "sub", "", "", "your company account")
    assert settings.admin.hosts == ("tokens.example",)


def test_our_secret_at_the_provider_comes_from_a_variable_and_shows_nowhere(tmp_path: Path) -> None:
    text = UPSTREAMS + OIDC.replace("us}", "us, client_secret_env: SCOPEGATE_AT_LOGIN}")
    settings = load(tmp_path, text, {"SCOPEGATE_AT_LOGIN": GOOD_SECRET})
    assert settings.admin.oidc is not None
    assert settings.admin.oidc.client_secret == Secret(GOOD_SECRET)
    assert GOOD_SECRET not in repr(settings)
    (told,) = faults(tmp_path, text)
    assert told.endswith("client_secret_env: SCOPEGATE_AT_LOGIN gives no secret: the variable is not set")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (("https://login.example", "http://login.example"), "issuer"),
        (("client_id: us", "client_id: ''"), "client_id"),
        ((", client_id: us", ""), "client_id"),
        (("us}", "us, scopes: [profile]}"), "openid must be one of them"),
        (("us}", "us, scopes: ['openid profile']}"), "no scope of OAuth"),
        (("us}", "us, jwks_url: https://login.example/keys}"), "jwks_url"),
        (("  public_url: https://tokens.example\n", ""), "oidc: this needs admin.public_url, to which the provider sends people back"),
        (("https://tokens.example", "https://tokens.example/path"), "has a path"),
    ],
)
def test_a_wrong_provider_is_refused_with_its_place(tmp_path: Path, changed: tuple[str, str], told: str) -> None:
    lines = faults(tmp_path, UPSTREAMS + OIDC.replace(*changed))
    assert any(told in line for line in lines)
    assert all(line.startswith("gateway.yaml:") for line in lines)


def test_without_its_packages_the_start_says_which_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.settings.load.find_spec", lambda name: None)
    (told,) = faults(tmp_path, UPSTREAMS + OIDC)
    assert told.endswith("oidc: two packages are missing for it: pip install 'scopegate[oidc]'")


@pytest.mark.parametrize("written", ["groups=", "=x", "=", "''"])
def test_an_admin_claim_that_a_missing_value_left_behind_is_refused(tmp_path: Path, written: str) -> None:
    """Seen to fail with any text taken: ``groups=`` made an admin of whoever has an empty group."""
    (told,) = faults(tmp_path, entry(f"algorithms: [HS256], secret_env: STRONG, admin_claim: {written}"), STRONG)
    assert "admin_claim" in told


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("https://APP.example.com:443", "https://app.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
    ],
)
def test_an_origin_that_may_embed_is_read_as_browsers_write_it(tmp_path: Path, written: str, read: str) -> None:
    assert load(tmp_path, f"{UPSTREAMS}admin: {{embed_origins: ['{written}']}}\n").admin.embed_origins == (read,)


@pytest.mark.parametrize(
    "written",
    ["http://app.example.com", "*", "https://*.example.com", "https://app.example.com/page", "null", "app.example.com", "https://a.example; script-src *"],
)
def test_what_is_no_origin_or_not_safe_may_not_embed(tmp_path: Path, written: str) -> None:
    told = faults(tmp_path, f"{UPSTREAMS}admin: {{embed_origins: ['{written}']}}\n")
    assert all(line.startswith("gateway.yaml:2:") and "upstream" not in line for line in told)
