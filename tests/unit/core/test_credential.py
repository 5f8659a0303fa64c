from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.credential import read_bearer
from gateway.core.decision import Denial


@pytest.mark.parametrize("value", [b"Bearer abc", b"bearer abc", b"BEARER abc", b"Bearer  abc", b"Bearer abc ", b"Bearer \tabc\t"])
def test_the_text_after_bearer_is_the_credential(value: bytes) -> None:
    assert read_bearer([value]) == "abc"


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([], "token_missing"),
        ([b""], "token_missing"),
        ([b"abc"], "token_missing"),
        ([b"Basic abc"], "token_missing"),
        ([b"Bearer\tabc"], "token_missing"),
        ([b"BearerX abc"], "token_missing"),
        ([b"Bearer"], "token_malformed"),
        ([b"Bearer "], "token_malformed"),
        ([b"Bearer \t "], "token_malformed"),
        ([b"Bearer a b"], "token_malformed"),
        ([b"Bearer a\tb"], "token_malformed"),
        ([b"Bearer \xff"], "token_malformed"),
        ([b"Bearer a,b"], "credential_ambiguous"),
        ([b","], "credential_ambiguous"),
        ([b"Basic a,b"], "credential_ambiguous"),
        ([b"Bearer a", b"Bearer a"], "credential_ambiguous"),
        ([b"", b""], "credential_ambiguous"),
        ([b"Basic a", b"Bearer a"], "credential_ambiguous"),
    ],
)
def test_anything_else_has_its_code(values: list[bytes], code: str) -> None:
    found = read_bearer(values)
    assert isinstance(found, Denial)
    assert found.reason.code == code


@given(st.lists(st.binary(max_size=20) | st.binary(max_size=8).map(lambda rest: b"Bearer " + rest), max_size=2))
def test_whatever_is_sent_the_credential_is_one_ascii_word_of_it_and_a_refusal_quotes_nothing(values: list[bytes]) -> None:
    found = read_bearer(values)
    if isinstance(found, str):
        (value,) = values
        assert found.encode("ascii") in value
        assert not set(" \t,") & set(found)
    else:
        assert all(len(value) < 10 or value.decode("latin-1") not in found.detail for value in values)
