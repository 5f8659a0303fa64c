"""Variables win over the file; a name that means no key is a fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.policy_file.document import DocumentFault
from gateway.settings import Address, Settings
from gateway.settings.load import load_settings

FILE = """\
listen: 127.0.0.1:1111
limits: {body: 5MiB, headers: 50}
upstreams:
  my-api: {url: http://a.example, timeouts: {connect: 1s}}
"""


def _load(tmp_path: Path, environ: dict[str, str], text: str = FILE) -> Settings:
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    return load_settings(file, environ)


def _faults(tmp_path: Path, environ: dict[str, str], text: str = FILE) -> list[str]:
    with pytest.raises(DocumentFault) as caught:
        _load(tmp_path, environ, text)
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


def test_a_variable_wins_over_the_file(tmp_path: Path) -> None:
    settings = _load(tmp_path, {"SCOPEGATE_LISTEN": "[::1]:2222", "SCOPEGATE_LIMITS__BODY": "7MiB"})
    assert settings.listen == Address("::1", 2222)
    assert (settings.limits.body, settings.limits.headers) == (7 * 1024 * 1024, 50)


def test_a_variable_makes_sections_that_the_file_does_not_have(tmp_path: Path) -> None:
    settings = _load(tmp_path, {"SCOPEGATE_UPSTREAMS__TEMPO__URL": "https://tempo.example", "SCOPEGATE_STORE__TIMEOUT": "1s"}, "workers: 1\n")
    assert settings.upstreams["tempo"].url == "https://tempo.example"
    assert settings.store.timeout_ms == 1000


def test_an_upstream_with_a_dash_is_met_by_an_underscore(tmp_path: Path) -> None:
    settings = _load(tmp_path, {"SCOPEGATE_UPSTREAMS__MY_API__URL": "http://b.example"})
    assert list(settings.upstreams) == ["my-api"]
    assert settings.upstreams["my-api"].host == "b.example"
    assert settings.upstreams["my-api"].connect_timeout_s == 1.0


def test_lists_and_sections_are_json_and_replace_the_whole(tmp_path: Path) -> None:
    settings = _load(
        tmp_path,
        {
            "SCOPEGATE_TRUSTED_PROXIES": '["10.0.0.0/8"]',
            "SCOPEGATE_LIMITS": '{"headers": 60}',
            "SCOPEGATE_LIMITS__HEAD": "16KiB",
            "SCOPEGATE_UPSTREAMS": '{"x": {"url": ["http://x.example"], "rewrite_urls": false, "max_connections": 7}}',
        },
    )
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8"]
    assert (settings.limits.headers, settings.limits.head) == (60, 16 * 1024)
    assert settings.limits.body == 100 * 1024 * 1024, "the file's section was replaced, so this is the default again"
    assert list(settings.upstreams) == ["x"]
    assert settings.upstreams["x"].max_connections == 7


def test_a_url_is_a_text_or_a_list_of_one(tmp_path: Path) -> None:
    for written in ("http://y.example", '["http://y.example"]'):
        assert _load(tmp_path, {"SCOPEGATE_UPSTREAMS__MY_API__URL": written}).upstreams["my-api"].host == "y.example"


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("SCOPEGATE_LISTNE", ":1", "SCOPEGATE_LISTNE: this names no setting: did you mean SCOPEGATE_LISTEN?"),
        ("SCOPEGATE_ADMIN_KEY", "k" * 32, "SCOPEGATE_ADMIN_KEY: this names no setting: did you mean SCOPEGATE_ADMIN__KEY?"),
        ("SCOPEGATE_LISTEN__PORT", "1", "SCOPEGATE_LISTEN__PORT: this names no setting"),
        ("SCOPEGATE_", "1", "SCOPEGATE_: this names no setting"),
        ("SCOPEGATE_UPSTREAMS____URL", "http://x", "SCOPEGATE_UPSTREAMS____URL: this names no setting"),
        ("SCOPEGATE_TRUSTED_PROXIES", "10.0.0.0/8", "SCOPEGATE_TRUSTED_PROXIES: this is not JSON"),
        ("SCOPEGATE_TRUSTED_PROXIES", '"10.0.0.0/8"', "SCOPEGATE_TRUSTED_PROXIES: this is neither a list nor a map"),
        ("SCOPEGATE_TRUSTED_PROXIES", "[" * 100_000, "SCOPEGATE_TRUSTED_PROXIES: this is"),
        ("SCOPEGATE_LIMITS", '{"body": "1MiB", "body": "2MiB"}', "SCOPEGATE_LIMITS: a key is given twice"),
        ("SCOPEGATE_LIMITS", '{"bodi": "1MiB"}', "SCOPEGATE_LIMITS: unknown key 'bodi' in limits: did you mean 'body'?"),
        ("SCOPEGATE_LIMITS__BODY", "", "SCOPEGATE_LIMITS__BODY: body: '' is not a size"),
        ("SCOPEGATE_CORS__ORIGINS", '["*"]', "SCOPEGATE_CORS__ORIGINS: cors: not in this version"),
        ("SCOPEGATE_WORKERS", "0", "SCOPEGATE_WORKERS: workers: '0' is out of range: write 1 to 256"),
        ("SCOPEGATE_ADMIN__USERS_MAY_GRANT_ALL", "yes", "SCOPEGATE_ADMIN__USERS_MAY_GRANT_ALL: users_may_grant_all: 'yes' is neither true nor false"),
    ],
)
def test_a_wrong_variable_is_told_by_its_name(tmp_path: Path, variable: str, value: str, line: str) -> None:
    told = _faults(tmp_path, {variable: value})
    assert len(told) == 1
    assert told[0].startswith(line)


def test_an_empty_key_is_refused_not_taken_for_none(tmp_path: Path) -> None:
    assert _faults(tmp_path, {"SCOPEGATE_ADMIN__KEY": ""}) == ["SCOPEGATE_ADMIN__KEY: key: the key is too short: at least 32 characters are needed"]


def test_variables_that_are_no_settings_are_left_alone(tmp_path: Path) -> None:
    environ = {
        "SCOPEGATE_CONFIG": "other.yaml",
        "SCOPEGATE_SERVICE_HOST": "10.0.0.1",
        "SCOPEGATE_SERVICE_PORT": "8080",
        "SCOPEGATE_SERVICE_PORT_HTTP": "8080",
        "SCOPEGATE_PORT": "tcp://10.0.0.1:8080",
        "SCOPEGATE_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "SCOPEGATE_PORT_8080_TCP_ADDR": "10.0.0.1",
        "SCOPEGATE_ADMIN_SERVICE_HOST": "10.0.0.2",
        "SCOPEGATE_ADMIN_PORT": "tcp://10.0.0.2:8081",
        "scopegate_listen": "lower case is another variable",
        "PATH": "/bin",
    }
    assert _load(tmp_path, environ) == _load(tmp_path, {})


def test_a_port_that_is_no_service_link_is_a_slip(tmp_path: Path) -> None:
    assert _faults(tmp_path, {"SCOPEGATE_ADMIN_PORT": "8081"})[0].startswith("SCOPEGATE_ADMIN_PORT: this names no setting")


def test_a_credentials_variable_may_begin_like_ours(tmp_path: Path) -> None:
    text = "upstreams: {a: {url: http://a.example, credentials: {env: SCOPEGATE_STRONG}}}\n"
    assert _load(tmp_path, {"SCOPEGATE_STRONG": "Bearer x"}, text).upstreams["a"].credentials is not None
    assert _faults(tmp_path, {"SCOPEGATE_STRONG": "Bearer x", "SCOPEGATE_WEAK": "x"}, text)[0].startswith("SCOPEGATE_WEAK: this names no setting")


def test_a_credentials_variable_is_no_slip_where_its_upstream_is_faulty(tmp_path: Path) -> None:
    text = "upstreams: {a: {url: nowhere, credentials: {env: SCOPEGATE_STRONG}}}\n"
    told = _faults(tmp_path, {"SCOPEGATE_STRONG": "Bearer x"}, text)
    assert len(told) == 1
    assert "gateway.yaml:1:22: url: " in told[0]
