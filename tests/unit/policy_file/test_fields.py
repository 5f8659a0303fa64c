from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from gateway.policy_file.fields import DurationMs, SizeBytes, Truth, Whole


class Model(BaseModel):
    truth: Truth = False
    whole: Whole = 0
    duration: DurationMs = 0
    size: SizeBytes = 0


def test_text_becomes_what_the_field_is() -> None:
    assert Model(truth="true", whole="12", duration="2s", size="1KiB").model_dump() == {"truth": True, "whole": 12, "duration": 2000, "size": 1024}  # type: ignore[arg-type]


def test_typed_values_of_json_are_taken_where_they_have_one_meaning() -> None:
    assert Model(truth=True, whole=3).model_dump() == {"truth": True, "whole": 3, "duration": 0, "size": 0}


@pytest.mark.parametrize(
    ("field", "value"), [("truth", 1), ("truth", None), ("whole", True), ("whole", 1.0), ("duration", 5), ("size", 5), ("whole", []), ("duration", None)]
)
def test_value_of_another_kind_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValidationError, match="is needed here"):
        Model(**{field: value})
