"""The OpenAPI 3.1 document of the management API, written from the table of calls and the payloads' own models: it says what the code does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from gateway import __version__
from gateway.management import answers
from gateway.management.calls import ANYBODY, CALLS, CLIENT, Call
from gateway.management.payload import IDEMPOTENCY_KEY
from gateway.management.problem import MANAGEMENT_REASONS

_SCHEMAS: Final = "#/components/schemas/{model}"
_SIGNED_IN: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"session": []}, {"secure_session": []}]
_HEADERS: Final = {
    "Link": {"description": 'Where the next page is: <…>; rel="next" (RFC 8288). Not there on the last one.', "schema": {"type": "string"}},
    "Location": {"description": "The token's own address.", "required": True, "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds.", "required": True, "schema": {"type": "integer", "minimum": 1}},
    "WWW-Authenticate": {"description": "RFC 6750, RFC 7617.", "required": True, "schema": {"type": "string"}},
    "X-Request-Id": {"description": "Names this request in log and audit.", "required": True, "schema": {"type": "string"}},
}
_PARAMETERS: Final = {
    "id": {"description": "The token's id.", "schema": {"type": "string", "pattern": "^[0-9A-Za-z]{12}$"}},
    "owner": {"description": "Whose tokens.", "schema": {"type": "string", "minLength": 1, "maxLength": 255}},
}


class Description:
    """The handler. The document is the same for all, tells nothing of this deployment, and needs no credential: tools ask for it without one."""

    def __init__(self) -> None:
        self._body = b""

    async def show(self, request: web.Request) -> web.Response:
        """The document, of the calls that this port takes."""
        if not self._body:
            self._body = msgspec.json.encode(describe(served(request.app)))
        return web.Response(body=self._body, content_type="application/json")


class _Schema(GenerateJsonSchema):
    """Without a title for each field, and without defaults that only stand for "left out"."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  the library's signature
        return False

    def default_schema(self, schema: Any) -> dict[str, Any]:
        told = super().default_schema(schema)
        if self.mode == "serialization" or told.get("default") in (None, "", 0, []):
            told.pop("default", None)
        return told


def served(app: web.Application) -> list[Call]:
    """The calls of the table that an application has a route for."""
    routes = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}
    return [call for call in CALLS if (call.method, call.path) in routes]


def describe(calls: Iterable[Call]) -> dict[str, Any]:
    """The document of these calls."""
    calls = list(calls)
    taken = {call.body for call in calls if call.body is not None}
    given = {call.answer for call in calls} | {answers.Problem}
    names, schemas = models_json_schema(
        [*((model, "validation") for model in sorted(taken, key=_name)), *((model, "serialization") for model in sorted(given, key=_name))],
        ref_template=_SCHEMAS,
        by_alias=True,
        schema_generator=_Schema,
    )
    paths: dict[str, dict[str, Any]] = {}
    for call in calls:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call, names)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Scopegate management API",
            "version": __version__,
            "description": "Scoped access tokens: make, list, end. Refusals are problem documents (RFC 9457); `code` says why.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "The admin key, or a user's JWT."},
                "session": {"type": "apiKey", "in": "cookie", "name": "scopegate-session", "description": "A browser's session; changes need its Origin too."},
                "secure_session": {"type": "apiKey", "in": "cookie", "name": "__Host-scopegate-session", "description": "The same, by https."},
                "client": {"type": "http", "scheme": "basic", "description": "An introspection client."},
            },
        },
    }


def _operation(call: Call, names: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": _operation_id(call), "summary": call.summary, "parameters": _parameters(call)}
    if call.body is not None:
        needed = any(field.is_required() for field in call.body.model_fields.values())
        kind = "application/x-www-form-urlencoded" if call.form else "application/json"
        operation["requestBody"] = {"required": needed, "content": {kind: {"schema": names[call.body, "validation"]}}}
    operation["responses"] = {
        str(call.status): {
            "description": call.summary,
            "headers": {name: _HEADERS[name] for name in (*call.headers, "X-Request-Id")},
            "content": {"application/json": {"schema": names[call.answer, "serialization"]}},
        },
        **_refusals(call, names[answers.Problem, "serialization"]),
    }
    operation["security"] = [] if call.who == ANYBODY else [{"client": []}, *_SIGNED_IN] if call.who == CLIENT else _SIGNED_IN
    return operation


def _operation_id(call: Call) -> str:
    parts = [part.strip("{}") for part in call.path.removeprefix("/api/v1").split("/") if part]
    return "_".join([call.method.lower(), *parts]).replace("-", "_")


def _parameters(call: Call) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"name": name, "in": "path", "required": True, **facts} for name, facts in _PARAMETERS.items() if f"{{{name}}}" in call.path]
    if call.query is not None:
        properties = call.query.model_json_schema(schema_generator=_Schema)["properties"]
        found += [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in properties.items()]
    if call.once:
        why = "The caller's own name for this call: a repeat within 24 hours changes nothing and is answered 409 already_done with the token."
        schema = {"type": "string", "minLength": 1, "maxLength": 255}
        found.append({"name": IDEMPOTENCY_KEY, "in": "header", "required": False, "description": why, "schema": schema})
    return found


def _refusals(call: Call, problem: dict[str, Any]) -> dict[str, Any]:
    """The refusals by status, each with the codes that it may have."""
    by_status: dict[int, list[str]] = {}
    for code in call.all_codes:
        by_status.setdefault(MANAGEMENT_REASONS[code].status, []).append(code)
    told: dict[str, Any] = {}
    for status, codes in sorted(by_status.items()):
        reasons = [MANAGEMENT_REASONS[code] for code in codes]
        headers = ["X-Request-Id"]
        headers += ["WWW-Authenticate"] * all(reason.challenge is not None for reason in reasons)
        headers += ["Retry-After"] * all(reason.retry_after is not None or status == 429 for reason in reasons)
        told[str(status)] = {
            "description": "; ".join(f"`{reason.code}`: {reason.title}" for reason in reasons),
            "headers": {name: _HEADERS[name] for name in headers},
            "content": {"application/problem+json": {"schema": {"allOf": [problem, {"properties": {"code": {"enum": codes}, "status": {"const": status}}}]}}},
        }
    return told


def _name(model: type[BaseModel]) -> str:
    return f"{model.__module__}.{model.__name__}"
