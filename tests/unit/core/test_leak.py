"""Tokens in bytes, however they are cut into pieces."""

from __future__ import annotations

import random
from random import Random

import pytest

from gateway.core.leak import Leak, find_leaks
from gateway.core.token_text import make_token

# Made here, so that no file holds a token; alike in each run, so that tests have the same names.
TOKEN = make_token("sgt", Random(1).randbytes)
OTHER = make_token("sgt", Random(2).randbytes)
TEXT = TOKEN.text.encode()


def test_a_token_is_found_with_its_line_wherever_it_stands() -> None:
    data = b"\x00\xff first\nkey=" + TEXT + b";\r\n\n" + OTHER.text.encode()
    assert list(find_leaks([data], "sgt")) == [Leak(2, TOKEN.id, TOKEN.text), Leak(4, OTHER.id, OTHER.text)]


@pytest.mark.parametrize("size", [1, 2, 55, 56, 57, 100])
def test_a_token_over_a_seam_is_found_once_and_its_line_is_right(size: int) -> None:
    """Seen to fail without the end of a piece kept for the next one."""
    data = (b"a\n" * 100 + TEXT + b"\n") * 3
    assert [(leak.line, leak.token_id) for leak in find_leaks((data[at : at + size] for at in range(0, len(data), size)), "sgt")] == [
        (101 * number, TOKEN.id) for number in (1, 2, 3)
    ]


def test_pieces_of_any_size_find_the_same() -> None:
    chance = random.Random(7)
    data = b"".join(chance.choice((b"\n", b"sgt_", TEXT, TEXT[:-1], b"xyz" * 20)) for _ in range(300))
    whole = list(find_leaks([data], "sgt"))
    cuts = sorted(chance.sample(range(len(data)), 50))
    pieces = [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert len(whole) == data.count(TEXT)
    assert list(find_leaks(pieces, "sgt")) == whole


@pytest.mark.parametrize("text", [TEXT[:-1], TEXT[:-1] + (b"0" if TEXT[-1:] != b"0" else b"1"), TEXT.replace(b"sgt_", b"abc_"), b"sgt_" * 40, TEXT.upper()])
def test_what_is_no_token_is_not_found(text: bytes) -> None:
    assert list(find_leaks([text + b"\n"], "sgt")) == []


def test_the_repr_keeps_the_text() -> None:
    assert TOKEN.text not in repr(Leak(1, TOKEN.id, TOKEN.text))
