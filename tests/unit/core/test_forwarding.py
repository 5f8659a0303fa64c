"""The table of names, and the small formats. Whole requests are in tests/vectors/forwarding.yaml."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import forwarding
from gateway.core.forwarding import (
    AnswerNames,
    RequestNames,
    connection_options,
    fold,
    header_text,
    identity_block,
    rewrite_address,
    safe_request_id,
    valid_host,
)

NAME = st.text(alphabet="abcXYZ019-_.!#$%&'*+^`|~", min_size=1, max_size=24).map(str.encode)
SEPARATORS = b"-_.!#$%&'*+^`|~"


@pytest.mark.parametrize(
    ("name", "folded"),
    [(b"X-Scopegate-Subject", b"x-scopegate-subject"), (b"x_scopegate.SUBJECT", b"x-scopegate-subject"), (b"A~b!C", b"a-b-c"), (b"host", b"host")],
)
def test_a_name_is_folded_as_cgi_may_read_it(name: bytes, folded: bytes) -> None:
    assert fold(name) == folded


@given(NAME)
def test_folding_twice_changes_nothing_more(name: bytes) -> None:
    assert fold(fold(name)) == fold(name)


@pytest.mark.parametrize(
    "name",
    [b"X-Scopegate-Subject", b"X-Forwarded-For", b"X-Original-URL", b"Forwarded", b"X-Real-IP", b"True-Client-IP", b"X-Rewrite-URL", b"X-HTTP-Method-Override",
     b"X-HTTP-Method", b"X-Method-Override", b"Proxy", b"Content-Length", b"Transfer-Encoding", b"Keep-Alive", b"Proxy-Connection", b"Proxy-Authorization",
     b"X-Upstream-Key", b"HTTP2-Settings", b"Trailer", b"X-Request-Id"],
)  # fmt: skip
def test_no_spelling_of_a_name_that_is_ours_to_set_is_kept(name: bytes) -> None:
    names = RequestNames(["X-Upstream-Key"])
    spellings = {name.lower(), name.upper(), *(name.replace(b"-", bytes([separator])) for separator in SEPARATORS)}
    for spelling in spellings:
        assert names[spelling] != forwarding.KEEP, spelling


@pytest.mark.parametrize(
    "name", [b"Accept", b"X-A", b"Cookie", b"If-Match", b"Content-Type", b"X-Scope", b"Xscopegate", b"Hosts", b"Proxy-Status", b"Via", b"Origin"]
)
def test_other_names_are_kept(name: bytes) -> None:
    assert RequestNames()[name] == forwarding.KEEP


def test_a_field_with_an_operators_credential_is_marked_in_every_spelling() -> None:
    names = RequestNames(["X-Upstream-Key"])
    assert names[b"x_UPSTREAM.key"] == forwarding.CREDENTIAL
    assert RequestNames()[b"X-Upstream-Key"] == forwarding.KEEP


def test_authorization_is_the_credential_only_where_it_is_spelt_so() -> None:
    names = RequestNames(["Authorization"])
    assert names[b"AUTHORIZATION"] == forwarding.AUTHORIZATION
    assert names[b"Authorization"] == forwarding.AUTHORIZATION


@pytest.mark.parametrize("table", [RequestNames(), AnswerNames()])
def test_a_strangers_many_names_do_not_fill_the_table(table: RequestNames | AnswerNames) -> None:
    for number in range(20_000):
        assert table[b"x-%d" % number] == forwarding.KEEP
    assert len(table) <= 4096
    assert table[b"x-scopegate-subject"] == forwarding.DROP


@pytest.mark.parametrize(
    "name", [b"X-Scopegate-Path", b"x_scopegate_path", b"Proxy-Authenticate", b"Trailer", b"TE", b"X-Request-Id", b"Content_Length", b"Transfer.Encoding"]
)
def test_what_an_answer_must_not_say_is_dropped(name: bytes) -> None:
    assert AnswerNames()[name] == forwarding.DROP


@pytest.mark.parametrize(
    ("values", "options"),
    [([], set()), ([b"close"], {b"close"}), ([b"Keep-Alive, X-A ", b"\tx-b"], {b"keep-alive", b"x-a", b"x-b"}), ([b",, ,"], set())],
)
def test_connection_options(values: list[bytes], options: set[bytes]) -> None:
    assert connection_options(values) == options


@pytest.mark.parametrize("value", [b"a", b"4b0f-1", b"A" * 128, b"urn:x/y@z=1+2.3_4"])
def test_a_request_id_of_safe_shape(value: bytes) -> None:
    assert safe_request_id(value)


@pytest.mark.parametrize("value", [b"", b"a b", b"A" * 129, b"-a", b".a", b"a\n", b"a\r\nb", b'a"', b"a{", b"a;b", b"\xff", b"a,b", b"a$b", b"a`b"])
def test_a_request_id_of_another_shape(value: bytes) -> None:
    assert not safe_request_id(value)


@pytest.mark.parametrize("value", [b"a", b"a.b:80", b"192.0.2.1:8080", b"[::1]", b"[2001:db8::1]:443", b"a_b-c~d", b"caf%C3%A9", b"a:"])
def test_a_host(value: bytes) -> None:
    assert valid_host(value)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b":80",
        b"a b",
        b"a/b",
        b"a@b",
        b"a:b",
        b"a:80:80",
        b"a,b",
        b'a"b',
        b"a\n",
        b"[::1",
        b"::1",
        b"[x]",
        b"a%zz",
        b"\xc3\xa9",
        b"a?b",
        b"a#b",
        b"a\\b",
        b"<a>",
    ],
)
def test_no_host(value: bytes) -> None:
    assert not valid_host(value)


@given(st.text(max_size=40))
def test_any_owner_is_one_line_of_ascii_that_reads_back(owner: str) -> None:
    owner = owner.encode("utf-8", "replace").decode("utf-8")
    text = header_text(owner)
    assert text.isascii()
    assert text.isprintable() or text == ""
    assert unquote(text) == owner
    assert len(identity_block(owner, "abcdefghij01", "a:view b:manage").split(b"\r\n")) == 4


def test_two_owners_are_never_one_text() -> None:
    assert header_text("a%20b") != header_text("a b")


UP, PUBLIC = b"http://up:8090", b"https://api.example.com"


@pytest.mark.parametrize(
    ("value", "rewritten"),
    [
        (b"http://up:8090", b"https://api.example.com"),
        (b"http://up:8090/4/x?y#z", b"https://api.example.com/4/x?y#z"),
        (b"http://up:8090?x", b"https://api.example.com?x"),
        (b"http://up:80901/x", None),
        (b"http://up:8090.evil/x", None),
        (b"http://up:8090@evil/x", None),
        (b"https://up:8090/x", None),
        (b"/x?u=http://up:8090/y", None),
        (b"<http://up:8090/a>; rel=next, <http://up:8090/b>", b"<https://api.example.com/a>; rel=next, <https://api.example.com/b>"),
        (b"<http://other/?http://up:8090/a>", None),
        (b"", None),
    ],
)
def test_an_address_of_the_upstream_becomes_ours(value: bytes, rewritten: bytes | None) -> None:
    assert rewrite_address(value, UP, PUBLIC) == (value if rewritten is None else rewritten)


def test_a_value_of_many_addresses_costs_time_in_proportion() -> None:
    value = b"<http://up:8090/a>, " * 3000
    assert rewrite_address(value, UP, PUBLIC).count(PUBLIC) == 3000
    assert re.search(rb"up:8090", rewrite_address(value, UP, PUBLIC)) is None
