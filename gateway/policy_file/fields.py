"""Field types for models of files: scalars come as text, and each type decides what its text means. Also for what comes as JSON, already typed."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from gateway.policy_file.units import duration_ms, size_bytes, truth, whole_number


def _truth(value: object) -> object:
    return truth(value) if isinstance(value, str) else _typed(value, bool, "true or false")


def _whole(value: object) -> object:
    return whole_number(value) if isinstance(value, str) else _typed(value, int, "a whole number")


def _duration(value: object) -> object:
    return duration_ms(value) if isinstance(value, str) else _typed(value, None, "a duration such as 250ms")


def _size(value: object) -> object:
    return size_bytes(value) if isinstance(value, str) else _typed(value, None, "a size such as 16KiB")


def _typed(value: object, kind: type | None, what: str) -> object:
    if type(value) is not kind:
        raise ValueError(f"{what} is needed here")
    return value


Truth = Annotated[bool, BeforeValidator(_truth)]
Whole = Annotated[int, BeforeValidator(_whole)]
DurationMs = Annotated[int, BeforeValidator(_duration), WithJsonSchema({"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"})]
SizeBytes = Annotated[int, BeforeValidator(_size), WithJsonSchema({"type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)$"})]
