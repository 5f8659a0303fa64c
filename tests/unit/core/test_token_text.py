from __future__ import annotations

import itertools
import os
import random
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.token_text import ALPHABET, PREFIX, digest, find_in, make_text, make_token, parse

VECTORS = yaml.safe_load((Path(__file__).parents[2] / "vectors" / "tokens.yaml").read_text("utf-8"))
TOKEN = "sgt_AbCdEfGh1234_zyxwvutsrqponmlkjihgfedcba9876542lvVtJ"
MISTYPED = TOKEN[:-1] + "K"


@pytest.mark.parametrize("case", VECTORS["parse"], ids=lambda case: case["why"])
def test_text_is_parsed_only_in_token_form(case: dict[str, Any]) -> None:
    assert parse(case["text"], case["prefix"]) == case["id"]


@pytest.mark.parametrize("case", VECTORS["find"], ids=lambda case: case["why"])
def test_token_is_found_anywhere_in_a_text(case: dict[str, Any]) -> None:
    assert find_in(case["text"].replace("T", TOKEN).replace("U", MISTYPED), "sgt") is case["found"]


def codes(text: str) -> str:
    return "".join(f"%{ord(character):02x}" for character in text)


@pytest.mark.parametrize(
    "hidden", [TOKEN.replace("_", "%5F"), TOKEN.replace("_", "%5f"), "%73" + TOKEN[1:], codes(TOKEN), codes(TOKEN).upper().replace("%5F", "_")]
)
def test_token_is_found_behind_percent_codes(hidden: str) -> None:
    assert find_in(f"/4/worklogs?x={hidden}#", "sgt")


@given(st.text())
def test_no_text_is_too_odd_to_look_into(text: str) -> None:
    assert not find_in(text, "sgt")
    assert find_in(text + TOKEN, "sgt")  # a percent sign before it takes nothing of it: s is no hex digit
    assert find_in(f"{text}{TOKEN}{text}", "sgt")


@given(st.randoms(use_true_random=False), st.sampled_from(["sgt", "ab", "a123456789012345"]))
def test_made_token_has_the_form_and_a_true_checksum(noise: random.Random, prefix: str) -> None:
    token = make_token(prefix, lambda count: bytes(noise.randrange(256) for _ in range(count)))
    assert parse(token.text, prefix) == token.id
    head, found_id, rest = token.text.split("_")
    assert (head, found_id, len(found_id), len(rest)) == (prefix, token.id, 12, 38)
    # The checksum again, as a number: big-endian base62.
    value = 0
    for character in token.text[-6:]:
        value = value * 62 + ALPHABET.index(character)
    assert value == zlib.crc32(token.text[:-6].encode())


def test_characters_are_equally_likely() -> None:
    noise = random.Random(62)
    counts = Counter(itertools.chain.from_iterable(make_token("sgt", noise.randbytes).id for _ in range(10_000)))
    assert set(counts) == set(ALPHABET)
    # A byte modulo 62 would give the first eight characters 15.6 % instead of 12.9 %.
    assert 0.124 < sum(counts[character] for character in ALPHABET[:8]) / counts.total() < 0.134


def test_new_text_keeps_the_id_and_changes_the_secret() -> None:
    token = make_token("sgt", os.urandom)
    text = make_text("sgt", token.id, os.urandom)
    assert parse(text, "sgt") == token.id
    assert text != token.text


def test_digest_is_sha_256_of_the_whole_text() -> None:
    assert digest("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_repr_of_a_new_token_hides_its_text() -> None:
    token = make_token("sgt", os.urandom)
    assert token.text not in repr(token)
    assert token.text[17:] not in repr(token)


@pytest.mark.parametrize("filler", ["sgt_" * 40_000, "sgt_AbCdEfGh1234_" * 10_000, "%73" * 60_000, "%" * 160_000, "sgt%5F" * 30_000])
def test_search_is_linear_in_the_length(filler: str) -> None:
    started = time.process_time()
    assert not find_in(filler, "sgt")
    short = time.process_time() - started
    started = time.process_time()
    assert not find_in(filler * 8, "sgt")
    assert time.process_time() - started < 40 * short + 0.5  # eight times the text; a square law would be 64 times and far above


@pytest.mark.parametrize(
    ("prefix", "valid"),
    [("sgt", True), ("a1", True), ("a" * 16, True), ("a", False), ("a" * 17, False), ("1a", False), ("sG", False), ("s_t", False), ("sgt\n", False)],
)
def test_prefix_is_a_short_lower_case_word(prefix: str, valid: bool) -> None:
    assert bool(PREFIX.match(prefix)) is valid
