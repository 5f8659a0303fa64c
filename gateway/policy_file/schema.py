"""The JSON Schema (draft 2020-12) of the policy file, made from its model, so that editors complete and check what the loader reads."""

from __future__ import annotations

import json
from typing import Final

from gateway.policy_file.model import PolicyModel

# Pydantic does not translate these where a validator runs before them.
_BOUNDS: Final = {"ge": "minimum", "le": "maximum"}


def policy_schema() -> str:
    """The schema as JSON text, ending with a newline."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **PolicyModel.model_json_schema()}
    schema["title"] = "Scopegate policy"
    return json.dumps(_without_nulls(schema), indent=2, ensure_ascii=False) + "\n"


def _without_nulls(part: object) -> object:
    """The schema as an editor should have it: optional fields are left out, never null; no titles made up from names; bounds by their right names."""
    if isinstance(part, list):
        return [_without_nulls(item) for item in part]
    if not isinstance(part, dict):
        return part
    choices = part.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        (only,) = (choice for choice in choices if choice != {"type": "null"})
        part = {**only, **{key: value for key, value in part.items() if key not in {"anyOf", "title"} and (key != "default" or value is not None)}}
    plain = {_BOUNDS.get(key, key): _without_nulls(value) for key, value in part.items()}
    if isinstance(plain.get("title"), str) and "properties" not in plain:
        del plain["title"]
    return plain
