"""Configuration file and environment become Settings, or every fault is told with its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.policy_file.document import DocumentFault
from gateway.settings import Address, Settings, TlsFiles
from gateway.settings.load import load_settings

MINIMAL = "upstreams: {api: {url: http://127.0.0.1:8090}}\n"
KEY = "k" * 32

Load = Callable[..., Settings]
Faults = Callable[..., list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str, environ: Mapping[str, str] | None = None, **options: bool) -> Settings:
        file = tmp_path / "gateway.yaml"
        file.write_text(text)
        return load_settings(file, environ or {}, **options)

    return load


@pytest.fixture
def faults(load: Load, tmp_path: Path) -> Faults:
    """The lines told, without the folder."""

    def faults(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(DocumentFault) as caught:
            load(text, environ)
        return str(caught.value).replace(f"{tmp_path}/", "").splitlines()

    return faults


def test_one_upstream_is_enough_and_all_else_has_the_documented_default(load: Load) -> None:
    settings = load(MINIMAL)
    assert settings.listen == Address("127.0.0.1", 8080)
    assert settings.admin.listen == Address("127.0.0.1", 8081)
    assert (settings.workers, settings.token_prefix, settings.access_log, settings.errors) == (1, "sgt", "stdout", "problem")
    assert (settings.store.url, settings.store.data_dir, settings.store.prefix, settings.store.lease_ms) == ("embedded", Path("data"), "sg:", 2000)
    assert (settings.store.timeout_ms, settings.store.fsync, settings.store.server, settings.store.allow_eviction) == (250, "everysec", "", False)
    limits = settings.limits
    assert (limits.request_line, limits.head, limits.headers, limits.body) == (8192, 32768, 100, 104857600)
    assert (limits.header_timeout_s, limits.body_idle_s, limits.keepalive_s, settings.drain_timeout_s) == (10.0, 30.0, 75.0, 25.0)
    upstream = settings.upstreams["api"]
    assert (upstream.name, upstream.url, upstream.host, upstream.port, upstream.tls) == ("api", "http://127.0.0.1:8090", "127.0.0.1", 8090, False)
    assert (upstream.connect_timeout_s, upstream.response_timeout_s, upstream.idle_timeout_s) == (5.0, 60.0, 60.0)
    assert (upstream.identity, upstream.rewrite_urls, upstream.preserve_host, upstream.credentials) == ("headers", False, False, None)
    assert settings.default_upstream == "api"


def test_every_fault_is_told_at_once_with_its_place(faults: Faults) -> None:
    told = faults(
        """\
listen: 127.0.0.1
polcy: p.yaml
public_url:
limits: {body: 5, headers: -1}
limits: {}
trusted_proxies: [10.0.0.1/8]
upstreams:
  Api: {url: http://127.0.0.1:9000}
  b: {url: http://b.example/x, identity: who}
  c: {timeouts: {connect: 5}}
  d: {url: http://localhost:8081, credentials: {env: NO_SUCH}}
""",
        {"SCOPEGATE_ADMIN__KEY": "short", "SCOPEGATE_ADMIN_LISTEN": ":1", "SCOPEGATE_TOKEN_PREFIX": "No"},
    )
    assert [line.partition(": ")[0] for line in told] == [
        "gateway.yaml:1:9",
        "gateway.yaml:2:1",
        "gateway.yaml:3:12",
        "gateway.yaml:4:16",
        "gateway.yaml:4:28",
        "gateway.yaml:5:1",
        "gateway.yaml:6:19",
        "gateway.yaml:8:3",
        "gateway.yaml:9:12",
        "gateway.yaml:9:42",
        "gateway.yaml:10:6",
        "gateway.yaml:10:27",
        "gateway.yaml:11:12",
        "gateway.yaml:11:54",
        "SCOPEGATE_ADMIN_LISTEN",
        "SCOPEGATE_ADMIN__KEY",
        "SCOPEGATE_TOKEN_PREFIX",
    ]
    assert "did you mean 'policy'?" in told[1]
    assert "did you mean 10.0.0.0/8?" in told[6]
    assert "the gateway's own address (admin.listen)" in told[12]
    assert "did you mean SCOPEGATE_ADMIN__LISTEN?" in told[14]


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("workers: 257", "workers: '257' is out of range: write 1 to 256"),
        ("store: {url: 'redis+sentinel://a:1,b:2/main'}", "url: redis+sentinel:// is not in this version"),
        ("store: {url: 'redis+cluster://a:1,b:2'}", "url: redis+cluster:// is not in this version"),
        ("cors: {origins: []}", "cors: not in this version"),
        ("decide: {listen: ':9000'}", "decide: not in this version"),
    ],
)
def test_a_feature_that_is_not_built_is_refused_by_its_key(faults: Faults, written: str, line: str) -> None:
    told = faults(f"{written}\n{MINIMAL}")
    assert len(told) == 1
    assert line in told[0]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("url: [http://a.example, http://b.example]", "url: not in this version"),
        ("url: http://a.example, identity: jwt", "identity: not in this version"),
        ("url: https://a.example, tls: {verify: 'false'}", "tls: not in this version"),
    ],
)
def test_an_upstream_option_that_is_not_built_is_refused(faults: Faults, options: str, line: str) -> None:
    told = faults(f"upstreams: {{api: {{{options}}}}}\n")
    assert len(told) == 1
    assert line in told[0]


def test_what_is_not_built_and_harmless_is_accepted(load: Load) -> None:
    settings = load(f"workers: 1\nadmin: {{users_may_grant_all: true}}\ncache: {{records: 5}}\nstore: {{lease: 5s}}\n{MINIMAL}")
    assert settings.admin.users_may_grant_all
    assert (settings.cache_records, settings.store.lease_ms) == (5, 5000)


def test_empty_sections_count_as_left_out(load: Load) -> None:
    assert load(f"admin:\nlimits:\ntrusted_proxies:\ncors:\n{MINIMAL}") == load(MINIMAL)


def test_a_list_of_one_address_is_one_address(load: Load) -> None:
    assert load("upstreams: {api: {url: ['http://127.0.0.1:8090']}}") == load(MINIMAL)


def test_no_upstream_is_a_fault_at_the_file_itself(faults: Faults) -> None:
    assert faults("workers: 1\n") == [
        "gateway.yaml:1:1: upstreams: name at least one service to forward to, as in upstreams: {api: {url: http://127.0.0.1:8090}}"
    ]


@pytest.mark.parametrize(
    ("listen", "admin", "url"),
    [
        ("127.0.0.1:8080", "127.0.0.1:8081", "http://127.0.0.1:8080"),
        ("127.0.0.1:8080", "127.0.0.1:8081", "http://localhost:8081"),
        (":8080", "127.0.0.1:8081", "http://[::1]:8080"),
        ("0.0.0.0:8080", "127.0.0.1:8081", "http://127.8.0.1:8080"),
        ("127.0.0.1:8080", "0.0.0.0:8081", "http://[::ffff:127.0.0.1]:8081"),
        ("gate.example:80", "127.0.0.1:8081", "http://gate.example"),
        ("10.0.0.1:8080", "127.0.0.1:8081", "http://10.0.0.1:8080"),
    ],
)
def test_the_gateways_own_address_is_no_upstream(faults: Faults, listen: str, admin: str, url: str) -> None:
    told = faults(f"listen: '{listen}'\nadmin: {{listen: '{admin}'}}\nupstreams: {{api: {{url: '{url}'}}}}\n")
    assert len(told) == 1
    assert "url: this is the gateway's own address" in told[0]


def test_another_port_of_this_machine_is_an_upstream(load: Load) -> None:
    assert load("listen: ':8080'\nupstreams: {api: {url: 'http://127.0.0.1:80'}}").upstreams["api"].port == 80


def test_both_ports_on_one_address_is_a_fault(faults: Faults) -> None:
    told = faults(f"listen: ':8081'\n{MINIMAL}")
    assert len(told) == 1
    assert "already listens there" in told[0]


def test_port_zero_never_clashes(load: Load) -> None:
    assert load(f"listen: 127.0.0.1:0\nadmin: {{listen: 127.0.0.1:0}}\n{MINIMAL}").listen.port == 0


def test_rewriting_without_a_public_address_is_a_fault(faults: Faults, load: Load) -> None:
    text = "upstreams: {api: {url: http://a.example, rewrite_urls: true}}\n"
    assert faults(text) == ["gateway.yaml:1:56: rewrite_urls: this needs public_url, the address that clients call"]
    assert load(f"public_url: https://me.example/\n{text}").public_url == "https://me.example"


def test_a_fault_of_two_keys_is_not_told_where_one_of_them_is_wrong_itself(faults: Faults) -> None:
    told = faults("public_url: nowhere\nupstreams: {api: {url: http://a.example, rewrite_urls: true}}\n")
    assert len(told) == 1
    assert "public_url: 'nowhere'" in told[0]


def test_of_several_upstreams_none_is_the_default_unless_chosen(load: Load, faults: Faults) -> None:
    two = "upstreams: {a: {url: http://a.example}, b: {url: http://b.example}}\n"
    assert load(two).default_upstream == ""
    assert load(f"default_upstream: b\n{two}").default_upstream == "b"
    assert faults(f"default_upstream: c\n{two}") == ["gateway.yaml:1:19: default_upstream: 'c' is no upstream: known are a, b"]


def test_networks_are_read_as_cidrs(load: Load) -> None:
    settings = load(f"trusted_proxies: [10.0.0.0/8, '2001:db8::/32', 192.0.2.7]\n{MINIMAL}")
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"), ip_network("192.0.2.7"))


def test_a_credential_comes_from_a_variable_or_a_file(load: Load, tmp_path: Path) -> None:
    (tmp_path / "credential").write_text("Bearer from-file\n")
    settings = load(
        f"""\
upstreams:
  a: {{url: http://a.example, credentials: {{env: STRONG}}}}
  b: {{url: http://b.example, credentials: {{header: X-Api-Key, file: {tmp_path}/credential}}}}
""",
        {"STRONG": "Bearer from-variable"},
    )
    first, second = settings.upstreams["a"].credentials, settings.upstreams["b"].credentials
    assert first is not None
    assert second is not None
    assert (first.header, first.value.reveal()) == ("Authorization", "Bearer from-variable")
    assert (second.header, second.value.reveal()) == ("X-Api-Key", "Bearer from-file")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "the variable is not set"),
        ("", "it is empty"),
        ("Bearer x\r\nX-Evil: 1", "can't carry"),
        ("Bearer x\n", "can't carry"),
        ("Bearer ü", "can't carry"),
        ("Bearer x ", "blank"),
    ],
)
def test_a_credential_that_cannot_be_sent_stops_the_start_and_is_not_shown(faults: Faults, value: str | None, why: str) -> None:
    told = faults("upstreams: {a: {url: http://a.example, credentials: {env: STRONG}}}", {} if value is None else {"STRONG": value})
    assert len(told) == 1
    assert told[0].startswith("gateway.yaml:1:59: env: STRONG gives no credential: ")
    assert why in told[0]
    assert "Bearer" not in told[0]


def test_a_credentials_file_that_is_not_there_is_a_plain_line(faults: Faults) -> None:
    told = faults("upstreams: {a: {url: http://a.example, credentials: {file: /nonexistent/credential}}}")
    assert told == ["gateway.yaml:1:60: file: /nonexistent/credential gives no credential: the file can't be read (no such file or directory)"]


@pytest.mark.parametrize("source", ["env: A, file: B", "header: X-Key"])
def test_a_credential_has_one_source(faults: Faults, source: str) -> None:
    told = faults(f"upstreams: {{a: {{url: http://a.example, credentials: {{{source}}}}}}}", {"A": "x"})
    assert len(told) == 1
    assert "name one source of the value: env or file" in told[0]


@pytest.mark.parametrize("header", ["Host", "Content_Length", "X-Scopegate-Subject", "Transfer-Encoding", "a b", ""])
def test_a_field_that_the_gateway_writes_itself_carries_no_credential(faults: Faults, header: str) -> None:
    told = faults(f"upstreams: {{a: {{url: http://a.example, credentials: {{header: '{header}', env: A}}}}}}", {"A": "x"})
    assert len(told) == 1
    assert "header: " in told[0]


def test_commands_that_forward_nothing_need_no_credential(load: Load) -> None:
    settings = load("upstreams: {a: {url: http://a.example, credentials: {env: STRONG}}}", read_credentials=False)
    credential = settings.upstreams["a"].credentials
    assert credential is not None
    assert credential.value.reveal() == ""


def test_a_missing_file_is_a_plain_line(tmp_path: Path) -> None:
    with pytest.raises(DocumentFault) as caught:
        load_settings(tmp_path / "none.yaml", {})
    assert str(caught.value) == f"{tmp_path}/none.yaml: there is no such file"


@pytest.mark.parametrize("text", ["", "- a\n", "just text\n", "a: [1\n", "a: &x 1\nb: *x\n"])
def test_what_is_no_mapping_is_a_fault(faults: Faults, text: str) -> None:
    assert all(line.startswith("gateway.yaml") for line in faults(text))


def test_no_secret_shows_in_settings_or_faults(load: Load, faults: Faults) -> None:
    text = "store: {url: 'redis://user:hunter2-store@cache:6379/0'}\nupstreams: {a: {url: http://a.example, credentials: {env: STRONG}}}\n"
    environ = {"STRONG": "Bearer hunter2-upstream", "SCOPEGATE_ADMIN__KEY": "hunter2-admin-key-0123456789abcdef"}
    settings = load(text, environ)
    assert "hunter2" not in f"{settings} {settings!r} {settings.store} {settings.upstreams} {settings.admin}"
    assert settings.store.url == "redis://user:hunter2-store@cache:6379/0"
    told = faults(
        "store: {url: 'redis://user:hunter2-store@cache:port'}\nupstreams: {a: {url: 'http://user:hunter2-upstream@a.example'}}\n",
        {"SCOPEGATE_ADMIN__KEY": "hunter2"},
    )
    assert len(told) == 3
    assert "hunter2" not in "".join(told)


def test_settings_do_not_change(load: Load) -> None:
    settings = load(MINIMAL)
    with pytest.raises(AttributeError):
        settings.workers = 2  # type: ignore[misc]


def test_tls_files_of_the_store_are_read(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(f"store: {{url: 'rediss://cache:6380/1', tls: {{ca_file: ca.pem}}}}\n{MINIMAL}")
    environ = {"SCOPEGATE_STORE__TLS__CERT_FILE": "us.pem", "SCOPEGATE_STORE__TLS__KEY_FILE": "us.key"}
    assert load_settings(file, environ).store.tls == TlsFiles(Path("ca.pem"), Path("us.pem"), Path("us.key"))


@pytest.mark.parametrize(
    ("written", "line"),
    [
        (
            "store: {url: 'redis://cache:6379', tls: {ca_file: ca.pem}}",
            "tls: only a rediss:// store is reached by TLS: write rediss:// in store.url, or leave tls out",
        ),
        ("store: {tls: {ca_file: ca.pem}}", "tls: only a rediss:// store is reached by TLS"),
        ("store: {url: 'rediss://cache', tls: {cert_file: us.pem}}", "tls: cert_file and key_file go together: name both, or neither"),
        ("store: {url: 'rediss://cache', tls: {verify: false}}", "unknown key 'verify' in store.tls"),
    ],
)
def test_tls_that_would_not_be_used_as_it_is_written_is_refused(faults: Faults, written: str, line: str) -> None:
    (told,) = faults(f"{written}\n{MINIMAL}")
    assert line in told


def test_a_document_that_nobody_could_ask_for_is_a_fault(load: Load, faults: Faults) -> None:
    one = "upstreams: {a: {url: http://a.example}}\nopenapi: api.json\n"
    assert (load(one).own_prefix, load(one).openapi) == ("/.scopegate/", Path("api.json"))
    assert faults(f"{one}own_prefix: off") == ["gateway.yaml:2:10: openapi: own_prefix is off, so nobody could ask for it: leave one of the two out"]
