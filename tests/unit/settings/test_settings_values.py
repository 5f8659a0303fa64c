"""What single texts of the configuration mean, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.settings import Address, Secret, values
from gateway.settings.values import UpstreamUrl


@pytest.mark.parametrize(
    ("text", "host", "port", "back"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, "127.0.0.1:8080"),
        ("[::1]:8080", "::1", 8080, "[::1]:8080"),
        ("[0:0::1]:80", "::1", 80, "[::1]:80"),
        (":8080", "", 8080, ":8080"),
        ("localhost:0", "localhost", 0, "localhost:0"),
        ("Gate.Example:65535", "gate.example", 65535, "gate.example:65535"),
    ],
)
def test_addresses_to_listen_on(text: str, host: str, port: int, back: str) -> None:
    assert values.address(text) == Address(host, port)
    assert str(values.address(text)) == back


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8080",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "::1:8080",
        "[::1]",
        "[x]:1",
        "[127.0.0.1]:1",
        "a b:1",
        "*:80",
        "http://a:1",
        "127.1:80",
        "1.2.3.4.5:1",
        "a/b:1",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|host name|brackets"):
        values.address(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://a.example", UpstreamUrl("http://a.example", "a.example", 80, False)),
        ("https://A.Example/", UpstreamUrl("https://a.example", "a.example", 443, True)),
        ("https://a.example:443", UpstreamUrl("https://a.example", "a.example", 443, True)),
        ("http://a.example:443", UpstreamUrl("http://a.example:443", "a.example", 443, False)),
        ("http://[::1]:8090", UpstreamUrl("http://[::1]:8090", "::1", 8090, False)),
        ("HTTP://127.0.0.1:8090", UpstreamUrl("http://127.0.0.1:8090", "127.0.0.1", 8090, False)),
        ("http://my_service:80", UpstreamUrl("http://my_service", "my_service", 80, False)),
    ],
)
def test_upstream_addresses_are_origins(text: str, url: UpstreamUrl) -> None:
    assert values.upstream_url(text) == url


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a.example", "begins with http"),
        ("ftp://a.example", "begins with http"),
        ("http://", "host name"),
        ("http://a.example/api", "no path"),
        ("http://a.example//", "no path"),
        ("http://a.example?x=1", "ends with the host"),
        ("http://a.example?", "ends with the host"),
        ("http://a.example#x", "ends with the host"),
        ("http://user:pw@a.example", "no user"),
        ("http://@a.example", "no user"),
        ("http://a.example:", "port is missing"),
        ("http://a.example:0", "port"),
        ("http://a.example:70000", "port"),
        ("http://a.example:x", "port"),
        ("http://a\\@b.example", "character"),
        ("http://a.example\n", "character"),
        (" http://a.example", "character"),
        ("http://bücher.example", "character"),
        ("http://2130706433", "host name"),
        ("http://127.1", "host name"),
        ("http://0x7f000001", "host name"),
        ("http://0177.0.0.1", "host name"),
        ("http://[::1", "address"),
        ("http://-a-.b..c", "host name"),
    ],
)
def test_what_is_no_upstream_address_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        values.upstream_url(text)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("text", ["https://api.example.com", "http://127.0.0.1:8080", "https://example.com/tempo", "http://[::1]:80"])
def test_public_addresses_lose_only_their_last_slash(text: str) -> None:
    assert values.public_url(text) == text
    assert values.public_url(f"{text}/") == text


@pytest.mark.parametrize(
    "text",
    [
        "api.example.com",
        "https://",
        "https://a.example?x",
        'https://a.example/"',
        "https://user@a.example",
        "https://a.example:99999",
        "https://a.example\\",
        "https://a.example:",
    ],
)
def test_what_is_no_public_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|port|character"):
        values.public_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "embedded",
        "redis://cache",
        "redis://cache:6379/3",
        "redis://:pw@cache:6379",
        "redis://user:p%23w@[::1]:6379/0",
        "redis://cache?db=2",
        "unix:///run/valkey.sock",
        "unix://user:pw@/run/valkey.sock?db=1",
    ],
)
def test_stores_that_this_version_knows(text: str) -> None:
    assert values.store_url(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "memory",
        "redis:cache",
        "redis://",
        "redis://:pw@",
        "redis://cache:pw",
        "redis://cache:0",
        "redis://cache/x",
        "redis://cache?ssl_cert_reqs=none",
        "redis://cache?db=x",
        "redis://:p#w@cache",
        "unix://",
        "unix://run/x",
        "unix:///",
        "http://cache",
        "redis://ca che",
    ],
)
def test_what_is_no_store_is_refused_without_quoting_a_password(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        values.store_url(text)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("text", ["rediss+sentinel://a:1", "redis+sentinel://a:1,b:2/main", "redis+cluster://a:1"])
def test_stores_of_a_later_version_are_named_as_such(text: str) -> None:
    with pytest.raises(ValueError, match="not in this version"):
        values.store_url(text)


@pytest.mark.parametrize("text", ["k" * 31, "k" * 31 + " ", "k" * 40 + "\n", "ü" * 40, ""])
def test_a_weak_or_unsendable_admin_key_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match="key") as caught:
        values.admin_key(text)
    assert "kkk" not in str(caught.value)


def test_an_admin_key_of_32_characters_is_enough() -> None:
    assert values.admin_key("k" * 32) == Secret("k" * 32)


@pytest.mark.parametrize("text", ["sg:", "a", "prod.gate_1:"])
def test_store_prefixes(text: str) -> None:
    assert values.store_prefix(text) == text


@pytest.mark.parametrize("text", ["", "a{b}", "a*", "a b", "x" * 65])
def test_a_store_prefix_that_would_change_keys_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="key prefix"):
        values.store_prefix(text)


@pytest.mark.parametrize("text", ["s", "Sgt", "1gt", "s_t", "x" * 17, ""])
def test_a_token_prefix_that_would_break_the_text_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="token prefix"):
        values.token_prefix(text)


@pytest.mark.parametrize(("text", "prefix"), [("/.scopegate/", "/.scopegate/"), ("/a/b-c/", "/a/b-c/"), ("/%C3%A9/", "/%C3%A9/"), ("off", "")])
def test_own_prefixes(text: str, prefix: str) -> None:
    assert values.own_prefix(text) == prefix


@pytest.mark.parametrize("text", ["", "/", "//", "/a", "a/", "/{x}/", "/**/", "/a//", "/a/../", "/%61/", "/%c3%a9/", "/a%2Fb/", "/a/?b/", "/é/", "on", "/a b/"])
def test_an_own_prefix_that_no_canonical_path_begins_with_or_all_do_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no prefix: write a path without templates"):
        values.own_prefix(text)


@pytest.mark.parametrize("text", ["stdout", "off", "logs/access.log", "access.log", "/var/log/x"])
def test_access_logs(text: str) -> None:
    assert values.access_log(text) == text


@pytest.mark.parametrize("text", ["Stdout", "none", "false", "on", ""])
def test_a_bare_word_is_no_access_log(text: str) -> None:
    with pytest.raises(ValueError, match="not stdout, off or a file"):
        values.access_log(text)


def test_a_path_is_what_was_written() -> None:
    assert values.file_path("policies/x.yaml") == Path("policies/x.yaml")
    with pytest.raises(ValueError, match="path"):
        values.file_path("")


@pytest.mark.parametrize("host", ["", "localhost", "a.localhost", "127.0.0.1", "127.8.8.8", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"])
def test_names_of_this_machine(host: str) -> None:
    assert values.is_local(host)


@pytest.mark.parametrize("host", ["a.example", "localhost.example", "10.0.0.1", "::ffff:10.0.0.1", "128.0.0.1"])
def test_names_of_other_machines(host: str) -> None:
    assert not values.is_local(host)


def test_a_secret_shows_itself_to_reveal_alone() -> None:
    secret = Secret("hunter2")
    assert secret.reveal() == "hunter2"
    assert "hunter2" not in f"{secret} {secret!r} {[secret]} {hash(secret)}"
    assert secret == Secret("hunter2")
    assert secret != Secret("hunter3")
    assert secret != "hunter2"
