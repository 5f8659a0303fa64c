from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.decision import Denial
from gateway.core.path import CanonicalPath, canonicalise, slashes_are_safe
from tests.harness.vectors import table

TABLE = table("paths")
_UNRESERVED = re.compile(r"%(?:2[DE]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])")
# Targets made of the parts that matter, in every order.
PIECES = st.sampled_from(
    ["/", "//", "/.", "/..", ".", "%2e", "%2E", "%2f", "%2F", "%5c", "\\", "%25", "%", "2e", "2F", ";", "%3b", "?", "#", "a", "Z", "~", "%7e", "%41",
     "%c3%a9", "%c3", "%ff", "%00", "%0d", "%7f", "%c2%85", " ", "\t", "é", "\x00", "\x7f", "=", "&", "{", "}", '"', "%20", "%3F"]
)  # fmt: skip
TARGETS = st.lists(PIECES, max_size=12).map(lambda parts: "/" + "".join(parts))


@pytest.mark.parametrize("case", TABLE["canonical"], ids=lambda case: ascii(case["target"]))
def test_a_target_has_this_canonical_path(case: dict[str, Any]) -> None:
    found = canonicalise(case["target"])
    assert found == CanonicalPath(case["path"], case.get("query", ""), case.get("slash", False))


@pytest.mark.parametrize("case", TABLE["refused"], ids=lambda case: ascii(case["target"]))
def test_a_target_is_refused(case: dict[str, Any]) -> None:
    found = canonicalise(case["target"])
    if case.get("slash"):
        assert isinstance(found, CanonicalPath)
        assert found.encoded_slash
    else:
        assert isinstance(found, Denial)
        assert found.reason.code == "path_ambiguous"
        assert found.detail.endswith(".")


@given(TARGETS | st.text(max_size=40).map(lambda text: "/" + text))
@example("/%25%32%65")
@example("/%2e%2e")
@example("/a%2Fb")
def test_a_canonical_path_is_its_own_canonical_path_and_holds_nothing_that_could_be_read_otherwise(target: str) -> None:
    found = canonicalise(target)
    if isinstance(found, Denial):
        return
    assert canonicalise(found.path + found.query) == found
    assert target.endswith(found.query)
    assert re.fullmatch(r"(?:/[!\"$-.0-:<-\[\]-~]*)+", found.path)
    assert "//" not in found.path
    assert not {".", ".."} & set(found.path.split("/"))
    assert _UNRESERVED.search(found.path) is None
    assert found.encoded_slash == ("%2F" in found.path)
    assert found.path.count("%") == len(re.findall("%[0-9A-F]{2}", found.path))
    # Whoever decodes it once reads what was sent, and whoever decodes it again reads nothing new.
    once = unquote_to_bytes(found.path)
    assert once == unquote_to_bytes(target.partition("?")[0])
    assert unquote_to_bytes(once) == once
    assert b"\\" not in once
    assert once.decode("utf-8").isprintable() or not any(character < " " or "\x7f" <= character < "\xa0" for character in once.decode("utf-8"))


@given(st.text(alphabet="ab.%2Ff/", max_size=20).map(lambda text: "/" + text))
def test_a_safe_encoded_slash_leads_to_no_dot_and_no_empty_segment(target: str) -> None:
    found = canonicalise(target)
    if isinstance(found, Denial) or not found.encoded_slash or not slashes_are_safe(found.path):
        return
    segments = unquote_to_bytes(found.path).decode().split("/")[1:]
    assert not {".", ".."} & set(segments)
    assert "" not in segments[:-1]


@pytest.mark.parametrize("piece", ["../", "%2e%2e/", "%41", "%25", "%c3%a9", "a/", "/", ";", "%", "%2F"])
def test_a_long_target_costs_time_in_proportion_to_its_length(piece: str) -> None:
    def cost(count: int) -> float:
        target = "/" + piece * count
        best = 1.0
        for _ in range(5):
            begun = time.thread_time()  # of our own work alone, whatever else the machine does
            canonicalise(target)
            best = min(best, time.thread_time() - begun)
        return best

    # Twenty times as long: quadratic work would take 400 times as long, each time that one looks.
    assert any(cost(20_000) < 100 * max(cost(1_000), 20e-6) for _ in range(5))
