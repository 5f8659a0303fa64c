"""A token as JSON, and how far a change has got in words. The record itself goes through tests/flow/test_management_tokens.py."""

from __future__ import annotations

import pytest

from gateway.flow.token_json import reach_in_words
from gateway.ports import Reach


@pytest.mark.parametrize(
    ("reach", "words"),
    [
        (Reach(3, 3), "ended everywhere; all 3 nodes have confirmed"),
        (Reach(3, 2), "ended everywhere; 2 of 3 nodes confirmed, the other had stopped deciding from memory"),
        (Reach(3, 1), "ended everywhere; 1 of 3 nodes confirmed, the other 2 had stopped deciding from memory"),
        (Reach(1, 1), "ended everywhere; the node has confirmed"),
        (Reach(1, 0), "ended everywhere; 0 of 1 nodes confirmed, the node had stopped deciding from memory"),
        (Reach(0, 0), "ended everywhere; no node was deciding from memory"),
    ],
)
def test_reach_is_told_in_words(reach: Reach, words: str) -> None:
    assert reach_in_words(reach) == words


def test_old_secret_with_an_overlap_is_not_said_to_have_ended() -> None:
    assert reach_in_words(Reach(3, 3), overlap=True) == "the old secret works until the overlap ends, then nowhere; all 3 nodes have confirmed"
