"""gateway/observe/redaction.py."""

from __future__ import annotations

import pytest

from gateway.observe.redaction import Redaction

TOKEN = "sgt_AbCdEfGh1234_zyxwvutsrqponmlkjihgfedcba9876542lvVtJ"


@pytest.mark.parametrize("text", [TOKEN, TOKEN[:-1] + "K", TOKEN[:40], TOKEN[:18], f"x{TOKEN}", TOKEN + TOKEN])
def test_a_token_whole_cut_off_or_mistyped_keeps_only_its_id(text: str) -> None:
    shown = Redaction("sgt")(f"/4/worklogs/{text}/1")
    assert "zyxw" not in shown
    assert "sgt_AbCdEfGh1234…" in shown or len(text) < 18
    assert shown.startswith("/4/worklogs/")
    assert shown.endswith("/1")


def test_other_text_stays_as_it_is() -> None:
    for text in ("/4/worklogs/1", "/sgt/1_2", "sgt", ""):
        assert Redaction("sgt")(text) == text
