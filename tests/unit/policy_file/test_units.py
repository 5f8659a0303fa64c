from __future__ import annotations

import pytest

from gateway.policy_file.units import duration_ms, size_bytes, truth, whole_number


@pytest.mark.parametrize(("text", "ms"), [("250ms", 250), ("2s", 2000), ("5m", 300_000), ("1h", 3_600_000), ("0s", 0), ("007s", 7000)])
def test_duration_is_read_in_milliseconds(text: str, ms: int) -> None:
    assert duration_ms(text) == ms


@pytest.mark.parametrize(("text", "size"), [("0B", 0), ("512B", 512), ("16KiB", 16_384), ("10MiB", 10_485_760), ("1GiB", 1_073_741_824)])
def test_size_is_read_in_bytes(text: str, size: int) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "5", "5 s", " 5s", "5s ", "5s\n", "-5s", "+5s", "1.5s", "5S", "5d", "s", "1h30m", "1_0s", "٣s", "1" * 13 + "s"])
def test_text_that_is_no_duration_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration: write a whole number and ms, s, m or h, as in 250ms"):
        duration_ms(text)


@pytest.mark.parametrize("text", ["", "10", "10KB", "10kib", "10MB", "10M", "-1B", "1.5MiB", "1 KiB"])
def test_text_that_is_no_size_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size: write a whole number and B, KiB, MiB or GiB, as in 16KiB"):
        size_bytes(text)


@pytest.mark.parametrize("text", ["", "1.0", "1_000", "0x10", " 1", "1\n", "true", "٣", "1e3", "1" * 19])
def test_text_that_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no whole number"):
        whole_number(text)


def test_whole_number_is_decimal() -> None:
    assert [whole_number(text) for text in ("0", "012", "-3")] == [0, 12, -3]


@pytest.mark.parametrize("text", ["yes", "no", "on", "True", "TRUE", "1", "", "t"])
def test_only_true_and_false_are_truths(text: str) -> None:
    assert truth("true") is True
    assert truth("false") is False
    with pytest.raises(ValueError, match="is neither true nor false"):
        truth(text)


def test_long_text_is_cut_in_the_message() -> None:
    with pytest.raises(ValueError, match=r"x{37}\.\.\.' is no whole number"):
        whole_number("x" * 5000)
