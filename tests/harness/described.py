"""Holds an answer of the management API against its description: status, code, header fields and body are those that are told."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator

from gateway.management.calls import CALLS
from gateway.management.description import describe

DOCUMENT: dict[str, Any] = json.loads(json.dumps(describe(CALLS)))


@lru_cache
def validator(reference: str) -> Draft202012Validator:
    return Draft202012Validator({**json.loads(reference), "components": DOCUMENT["components"]}, format_checker=Draft202012Validator.FORMAT_CHECKER)


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """What is told of this call, None where it is none of the API's."""
    for template, operations in DOCUMENT["paths"].items():
        pattern = template.replace("{id}", "[0-9A-Za-z]{12}").replace("{owner}", "[^/]+")
        if re.fullmatch(pattern, path) and method.lower() in operations:
            found: dict[str, Any] = operations[method.lower()]
            return found
    return None


def assert_described(method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """The description tells of this answer. ``headers`` by names in small letters."""
    operation = operation_of(method, path)
    if operation is None:
        return
    assert str(status) in operation["responses"], f"{method} {path}: {status} is not described: {body!r}"
    told = operation["responses"][str(status)]
    kind = headers["content-type"].split(";")[0]
    assert kind in told["content"], f"{method} {path}: {status} {kind} is not described"
    faults = [error.message for error in validator(json.dumps(told["content"][kind]["schema"])).iter_errors(json.loads(body))]
    assert faults == [], f"{method} {path}: {status} {body!r}: {faults}"
    for name, header in told["headers"].items():
        assert name.lower() in headers or not header.get("required"), f"{method} {path}: {status} lacks {name}"
