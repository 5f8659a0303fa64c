"""The tables of tests/vectors, which unit tests and socket tests both run. Text in them is latin-1: one character a byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[1] / "vectors"


def table(name: str) -> dict[str, Any]:
    """A whole file."""
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return loaded


def cases(name: str, part: str) -> list[Any]:
    """The cases of one part of a file, as parameters named by their ``name``, which must be unique."""
    found = table(name)[part]
    names = [case["name"] for case in found]
    assert len(set(names)) == len(names), f"{name}.yaml, {part}: two cases of one name"
    return [pytest.param(case, id=case["name"].replace(" ", "-")) for case in found]


def raw(text: str) -> bytes:
    return text.encode("latin-1")
