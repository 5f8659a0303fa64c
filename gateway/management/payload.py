"""What callers send: bodies and queries, checked so that every wrong field is named at once."""

from __future__ import annotations

import asyncio
import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar

from aiohttp import web
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from gateway.management.problem import FieldFault, Problem
from gateway.policy_file.units import duration_ms

MAX_BODY: Final = 64 * 1024  # bytes
BODY_TIMEOUT_S: Final = 10.0

_JSON_TYPES: Final = frozenset({"application/json", "application/merge-patch+json"})  # RFC 8259, RFC 7396
_TYPE_MESSAGES: Final = {
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "bool_type": "must be true or false",
    "missing": "is missing",
}


def _unicode(text: str) -> str:
    """JSON can name half of a surrogate pair (RFC 8259 section 8.2): no text that can be stored."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must be Unicode: half of a surrogate pair stands alone")
    return text


Text = Annotated[str, AfterValidator(_unicode)]


class Payload(BaseModel):
    """A body or query. Strict: ``true`` and ``1.0`` are no whole numbers, and ``null`` is no value."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _whole(value: object) -> object:
    """None is what stands where the field was left out; a caller's null is no number."""
    if value is None:
        raise ValueError("must be a whole number")
    return value


def _text(value: object) -> object:
    if value is None:
        raise ValueError("must be a text")
    return value


class NewToken(Payload):
    """Of POST /tokens."""

    name: Text
    access: Literal["full", "custom"] = "custom"
    grants: list[Text] = []
    expires_in_days: Annotated[int | None, BeforeValidator(_whole)] = None
    allowed_ips: list[Text] = []
    description: Text = ""
    owner: Annotated[Text | None, BeforeValidator(_text)] = None
    replaces: Annotated[Text | None, BeforeValidator(_text)] = None
    end_replaced: bool = False


class Renaming(Payload):
    """Of PATCH /tokens/ID; None where a field was left out."""

    name: Annotated[Text | None, BeforeValidator(_text)] = None
    description: Annotated[Text | None, BeforeValidator(_text)] = None


class Regeneration(Payload):
    """Of POST /tokens/ID/regenerate: a duration such as ``1h``."""

    overlap: Text = "0s"


class Nothing(Payload):
    """Of calls that take no fields."""


class Listing(Payload):
    """The query of GET /tokens, without what is empty."""

    state: Literal["active", "suspended", "revoked", "expired"] | None = None
    owner: Text | None = None
    q: Text = ""
    cursor: Text = ""
    limit: Text = "50"


P = TypeVar("P", bound=Payload)


class Checked(NamedTuple):
    """A body with what is wrong about it; ``data`` holds the fields as sent."""

    data: dict[str, Any]
    faults: list[FieldFault]


async def read_body(request: web.Request) -> Checked:
    """The JSON object of the body, {} where there is none. Problem for a wrong type, too many bytes, or what is no JSON object.

    Only the repetition of keys is told as a fault of a field: RFC 8259 section 4 leaves open which of them counts.
    """
    if request.body_exists:
        if request.content_type not in _JSON_TYPES or (request.charset or "utf-8").lower() not in {"utf-8", "utf8"}:
            raise Problem("media_type_unsupported", "Send the body as Content-Type: application/json.")
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Problem("media_type_unsupported", "Send the body without a Content-Encoding.")
    raw = await _read(request)
    if not raw:
        return Checked({}, [])
    repeated: list[str] = []

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            repeated.extend(key for key in found if sum(key == other for other, _ in pairs) > 1)
        return found

    def no_constant(name: str) -> object:
        raise ValueError(name)

    try:
        data = json.loads(raw.decode("utf-8"), object_pairs_hook=unique, parse_constant=no_constant)
    except (ValueError, RecursionError):
        raise Problem("json_invalid", "The body must be one JSON object in UTF-8.") from None
    if not isinstance(data, dict):
        raise Problem("invalid", "The body must be a JSON object.", fields=[FieldFault("", "must be an object")])
    return Checked(data, [FieldFault(key, "is given twice") for key in repeated])


async def _read(request: web.Request) -> bytes:
    if request.content_length is not None and request.content_length > MAX_BODY:
        raise _too_large()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _too_large() from None
    except TimeoutError:
        raise Problem("request_timeout", f"The body did not arrive within {BODY_TIMEOUT_S:g} s.") from None
    except (web.RequestPayloadError, ConnectionError):
        raise Problem("request_invalid", "The body is cut off or badly framed.") from None


def _too_large() -> Problem:
    return Problem("body_too_large", f"The body may hold {MAX_BODY // 1024} KiB.")


def read_query(request: web.Request) -> Checked:
    """The query as a mapping of texts."""
    data = dict(request.query)
    return Checked(data, [FieldFault(name, "is given twice") for name in data if len(request.query.getall(name)) > 1])


def faults_of(model: type[Payload], checked: Checked) -> list[FieldFault]:
    """Every fault of the fields by themselves: repeated, unknown, missing, or of the wrong type."""
    try:
        model.model_validate(checked.data)
    except ValidationError as error:
        return [*checked.faults, *(_told(details, model) for details in error.errors(include_url=False))]
    return list(checked.faults)


def demand(model: type[P], checked: Checked) -> P:
    """The payload. Problem(invalid) that names every wrong field."""
    faults = faults_of(model, checked)
    if faults:
        raise invalid(faults)
    return model.model_validate(checked.data)


def invalid(faults: Iterable[FieldFault]) -> Problem:
    """A Problem that names the wrong fields, each once for each fault."""
    told = list(dict.fromkeys(faults))
    names = list(dict.fromkeys(fault.field or "the body" for fault in told))
    return Problem("invalid", f"Something is wrong with {', '.join(names[:20])}.", fields=told)


def seconds(text: str) -> int:
    """Whole seconds of a duration such as ``1h``. Problem(invalid) of the field overlap."""
    try:
        milliseconds = duration_ms(text)
    except ValueError as error:
        raise invalid([FieldFault("overlap", str(error))]) from None
    if milliseconds % 1000:
        raise invalid([FieldFault("overlap", "must be whole seconds")])
    return milliseconds // 1000


def _told(details: ErrorDetails, model: type[Payload]) -> FieldFault:
    loc = details["loc"]
    field = str(loc[0]) if loc else ""
    if details["type"] == "extra_forbidden":
        near = difflib.get_close_matches(field, model.model_fields, 1)
        return FieldFault(_shown(field), f"is no field of this call{f': did you mean {near[0]}?' if near else ''}")
    if details["type"] == "literal_error":
        message = f"must be {details['ctx']['expected']}"
    elif details["type"] == "value_error":
        message = str(details["ctx"]["error"])
    else:
        message = _TYPE_MESSAGES.get(details["type"], "is wrong")
    return FieldFault(field, f"item {loc[1] + 1} {message}" if len(loc) > 1 and isinstance(loc[1], int) else message)


def _shown(name: str) -> str:
    """A caller's own key, short, and such that it can be sent back."""
    return name.encode("utf-8", "replace").decode("utf-8")[:100]


def immutable_fields(data: Mapping[str, Any]) -> list[str]:
    """The fields of a payload that never change in a token's life."""
    return [name for name in ("access", "grants", "owner", "allowed_ips", "policy_scopes", "id", "created_at", "expires_at", "expires_in_days") if name in data]
