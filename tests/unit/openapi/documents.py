"""One small API, described in each version of OpenAPI, in JSON and YAML; and what a test looks at in a document that was cut."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from gateway.core.route import Route
from gateway.core.scope import Scope
from gateway.openapi.cut import cut
from gateway.openapi.take_apart import take_apart

SCOPED = Route(template="/**", methods=("GET",), scope=Scope("any", "Any"))
PUBLIC = Route(template="/**", methods=("GET",), scope=None, public=True)


def described(paths: dict[str, Any], version: str = "3.0.3", **members: Any) -> dict[str, Any]:
    """A document of some version with these paths."""
    return {"swagger" if version == "2.0" else "openapi": version, "info": {"title": "Small", "version": "1"}, "paths": paths, **members}


def answering(schema: object = None) -> dict[str, Any]:
    """An operation (3.x) whose answer has a schema."""
    content = {} if schema is None else {"content": {"application/json": {"schema": schema}}}
    return {"responses": {"200": {"description": "good", **content}}}


def cut_down(document: object, allowed: Callable[[str, str], bool] = lambda _path, _method: True, public_url: str = "") -> Any:
    """The document, cut down to the operations whose path and method are allowed."""
    return json.loads(cut(take_apart(document), lambda path, method: SCOPED if allowed(path, method) else None, public_url))


def only(*wanted: str) -> Callable[[str, str], bool]:
    """Allows what is named, as in ``GET /items``."""
    return lambda path, method: f"{method} {path}" in wanted
