from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy_file.document import survey
from gateway.policy_file.yaml_text import comment, quoted, scalar

WORDS = ["null", "Null", "~", "true", "no", "On", "y", "1", "012", "1e3", "1:30", ".5", "-", "a b", "a: b", "a #b", '"', "{id}", "orders", "/4/teams"]


@pytest.mark.parametrize("text", WORDS)
@pytest.mark.parametrize("written", [scalar, quoted])
def test_a_text_means_itself_to_every_reader_as_key_and_value(text: str, written: object) -> None:
    """Seen to fail with words left plain."""
    line = f"{{{written(text)}: {written(text)}}}"  # type: ignore[operator]
    document, faults = survey(line, "p.yaml")
    assert not faults
    assert document is not None
    assert document.data == yaml.safe_load(line) == {text: text}


def test_what_means_nothing_to_yaml_stays_plain() -> None:
    assert [scalar(text) for text in ("orders", "/4/teams", "work-items")] == ["orders", "/4/teams", "work-items"]


@given(st.text() | st.sampled_from(["x\npublic: true", "x\r\ny", "x\u2028y", "x\x85y", "\ufeff", "a" * 500]))
def test_no_text_leaves_its_comment(text: str) -> None:
    line = comment(text)
    assert yaml.safe_load(f"a: 1\n{line}\nb: 2\n") == {"a": 1, "b": 2}
    assert len(line) <= 402
    assert line.isprintable()
