"""Texts of policy and configuration that stand for a number: durations, sizes, whole numbers, truth. ValueError says what is wrong and what would be right."""

from __future__ import annotations

import re
from typing import Final

_DURATIONS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_SIZES: Final = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_AMOUNT: Final = re.compile(r"([0-9]{1,12})([A-Za-z]+)\Z")
_WHOLE: Final = re.compile(r"-?[0-9]{1,18}\Z")


def duration_ms(text: str) -> int:
    """``250ms``, ``2s``, ``5m``, ``1h`` in milliseconds. A number without a unit is refused: it could mean either."""
    return _amount(text, _DURATIONS, "a duration: write a whole number and ms, s, m or h, as in 250ms")


def size_bytes(text: str) -> int:
    """``512B``, ``16KiB``, ``10MiB``, ``1GiB`` in bytes."""
    return _amount(text, _SIZES, "a size: write a whole number and B, KiB, MiB or GiB, as in 16KiB")


def whole_number(text: str) -> int:
    """Decimal digits, perhaps with a minus sign; no blanks, underscores, fractions or other bases."""
    if not _WHOLE.match(text):
        raise ValueError(f"{_cut(text)} is no whole number")
    return int(text)


def truth(text: str) -> bool:
    """``true`` or ``false``, and nothing else: ``yes`` and ``on`` mean different things to different readers of YAML."""
    if text not in {"true", "false"}:
        raise ValueError(f"{_cut(text)} is neither true nor false")
    return text == "true"


def _amount(text: str, units: dict[str, int], what: str) -> int:
    match = _AMOUNT.match(text)
    if not match or match[2] not in units:
        raise ValueError(f"{_cut(text)} is not {what}")
    return int(match[1]) * units[match[2]]


def _cut(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
