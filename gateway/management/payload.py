"""What callers send: bodies and queries, checked so that every wrong field is named at once."""

from __future__ import annotations

import asyncio
import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar

from aiohttp import web
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from gateway.core.route import KNOWN_METHODS
from gateway.flow import token_fields
from gateway.flow.issuance import MAX_OVERLAP_S, MAX_PAGE, STATES
from gateway.flow.once import LONGEST
from gateway.flow.token_fields import LONGEST_DESCRIPTION, LONGEST_NAME, LONGEST_OWNER, MOST_NETWORKS, shown, within
from gateway.management.problem import FieldFault, Problem
from gateway.policy_file.units import duration_ms, whole_number

MOST_FAULTS: Final = 100
MAX_BODY: Final = 64 * 1024  # bytes
BODY_TIMEOUT_S: Final = 10.0
LONGEST_TARGET: Final = 8192  # as long as a request line may be, unless set otherwise

_JSON_TYPES: Final = frozenset({"application/json", "application/merge-patch+json"})  # RFC 8259, RFC 7396
_TYPE_MESSAGES: Final = {
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "bool_type": "must be true or false",
    "string_too_short": "must not be empty",
    "string_too_long": "is too long",
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


def _method(value: object) -> object:
    if isinstance(value, str) and value.upper() not in METHODS_ASKED_OF:
        raise ValueError(f"{shown(value)} is no method that the gateway knows")
    return value.upper() if isinstance(value, str) else value


def _overlap(value: object) -> object:
    """Whole seconds of a duration such as ``1h``."""
    if not isinstance(value, str):
        raise ValueError("must be a text")  # noqa: TRY004  told as a fault of the field
    milliseconds = duration_ms(_unicode(value))
    if milliseconds % 1000:
        raise ValueError("must be whole seconds")
    return within(milliseconds // 1000, 0, MAX_OVERLAP_S, "seconds, at most 7 days")


def _limit(value: object) -> object:
    return within(whole_number(str(value)), 1, MAX_PAGE)


IDEMPOTENCY_KEY: Final = "Idempotency-Key"
_KEY: Final = re.compile(rf"[!-~](?:[ -~]{{0,{LONGEST - 2}}}[!-~])?\Z")
METHODS_ASKED_OF: Final = KNOWN_METHODS | {"CONNECT", "TRACE"}
Grants = Annotated[list[Text], Field(description="SCOPE, SCOPE:view or SCOPE:manage; manage includes view, and SCOPE alone means manage.")]
_DESCRIPTION: Final = {"type": "string", "maxLength": LONGEST_DESCRIPTION}
_LEFT_OUT: Final = ["", None]  # in a query: a form sends its empty fields too
Limit = Annotated[int, BeforeValidator(_limit), WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_PAGE}, {"enum": _LEFT_OUT}]})]
_NAME: Final = {"type": "string", "minLength": 1, "maxLength": LONGEST_NAME, "description": "Any script, no control characters."}


class NewToken(Payload):
    """Of POST /tokens."""

    name: Annotated[Text, WithJsonSchema(_NAME)]
    access: Literal["full", "custom"] = "custom"
    grants: Grants = []
    expires_in_days: Annotated[int | None, BeforeValidator(_whole), WithJsonSchema({"type": "integer", "minimum": 1})] = None
    allowed_ips: Annotated[list[Text], Field(description="Addresses and CIDR blocks.", json_schema_extra={"maxItems": MOST_NETWORKS})] = []
    description: Annotated[Text, WithJsonSchema(_DESCRIPTION)] = ""
    owner: Annotated[
        Text | None,
        BeforeValidator(_text),
        WithJsonSchema({"type": "string", "minLength": 1, "maxLength": LONGEST_OWNER, "description": "Whom an admin makes it for; else who asks."}),
    ] = None
    replaces: Annotated[
        Text | None, BeforeValidator(_text), WithJsonSchema({"type": "string", "description": "The id of a token of the same owner, whose place it takes."})
    ] = None
    end_replaced: Annotated[bool, Field(description="Revoke that token when this one is first used.")] = False


class Renaming(Payload):
    """Of PATCH /tokens/ID; None where a field was left out."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    name: Annotated[Annotated[Text, AfterValidator(token_fields.name)] | None, BeforeValidator(_text), WithJsonSchema(_NAME)] = None
    description: Annotated[Annotated[Text, AfterValidator(token_fields.description)] | None, BeforeValidator(_text), WithJsonSchema(_DESCRIPTION)] = None


class Regeneration(Payload):
    """Of POST /tokens/ID/regenerate: for how long the old secret works on."""

    overlap: Annotated[
        int, BeforeValidator(_overlap), WithJsonSchema({"type": "string", "examples": ["1h"], "description": "A duration such as 1h, at most 7 days."})
    ] = 0


class Question(Payload):
    """Of POST /explain: a request, and what its sender holds: grants, or a token's."""

    method: Annotated[Text, BeforeValidator(_method), WithJsonSchema({"type": "string", "enum": sorted(METHODS_ASKED_OF), "description": "In any case."})]
    path: Annotated[Text, Field(description="The request target, as a client would send it.", min_length=1, max_length=LONGEST_TARGET)]
    grants: Grants = []
    token_id: Annotated[Text | None, BeforeValidator(_text), WithJsonSchema({"type": "string", "description": "Instead of grants."})] = None


class Leaver(Payload):
    """Of POST /owners/revoke."""

    owner: Annotated[
        Text,
        AfterValidator(token_fields.owner),
        WithJsonSchema({"type": "string", "minLength": 1, "maxLength": LONGEST_OWNER, "description": "Whose tokens."}),
    ]


class Nothing(Payload):
    """Of calls that take no fields."""


class Listing(Payload):
    """The query of GET /tokens, without what is empty."""

    state: Annotated[Literal["active", "suspended", "revoked", "expired"] | None, WithJsonSchema({"enum": [*STATES, *_LEFT_OUT]})] = None
    owner: Annotated[Text | None, WithJsonSchema({"type": "string"})] = None
    q: Annotated[Text, Field(description="Looked for in name, owner and description, without case; or an id.")] = ""
    cursor: Annotated[Text, AfterValidator(token_fields.cursor), Field(description="What the page before named as next.")] = ""
    limit: Limit = 50


class AuditListing(Payload):
    """The query of GET /audit, without what is empty."""

    action: Annotated[Text, Field(description="Only entries of this action, as token.create.")] = ""
    subject: Annotated[Text, Field(description="Only what this one did.")] = ""
    token: Annotated[Text, Field(description="Only what was done to this token.", serialization_alias="token_id")] = ""
    cursor: Annotated[Text, Field(description="What the page before named as next.")] = ""
    limit: Limit = 50


class TokenForm(BaseModel):
    """Of POST /oauth2/introspect (RFC 7662) and /oauth2/revoke (RFC 7009). Other fields are ignored (RFC 6749 section 3.2)."""

    model_config = ConfigDict(frozen=True)

    token: str
    token_type_hint: Annotated[str | None, WithJsonSchema({"type": "string"})] = None


P = TypeVar("P", bound=BaseModel)


class Checked(NamedTuple):
    """A body with what is wrong about it; ``data`` holds the fields as sent."""

    data: dict[str, Any]
    faults: list[FieldFault]


async def read_body(request: web.Request) -> Checked:
    """The JSON object of the body, {} where there is none. Problem for a wrong type, too many bytes, or what is no JSON object.

    Only the repetition of keys is told as a fault of a field: RFC 8259 section 4 leaves open which of them counts.
    """
    if request.body_exists and (request.content_type not in _JSON_TYPES or (request.charset or "utf-8").lower() not in {"utf-8", "utf8"}):
        raise Problem("media_type_unsupported", "Send the body as Content-Type: application/json.")
    raw = await read_bytes(request)
    if not raw:
        return Checked({}, [])
    repeated: list[str] = []

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            repeated.extend(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
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


async def read_bytes(request: web.Request) -> bytes:
    """The whole body. Problem for one that is too long, compressed, cut off or late."""
    if request.body_exists and request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem("media_type_unsupported", "Send the body without a Content-Encoding.")
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


def idempotency_key(request: web.Request) -> tuple[str, list[FieldFault]]:
    """The caller's own key for this call, "" where there is none, with what is wrong about it."""
    sent = request.headers.getall(IDEMPOTENCY_KEY, [])
    if not sent:
        return "", []
    if len(sent) > 1:
        return "", [FieldFault(IDEMPOTENCY_KEY, "is given twice")]
    if not _KEY.match(sent[0]):
        return "", [FieldFault(IDEMPOTENCY_KEY, f"write 1 to {LONGEST} printable ASCII characters")]
    return sent[0], []


def read_query(request: web.Request) -> Checked:
    """The query as a mapping of texts."""
    data = dict(request.query)
    return Checked(data, [FieldFault(name, "is given twice") for name in data if len(request.query.getall(name)) > 1])


def faults_of(model: type[BaseModel], checked: Checked) -> list[FieldFault]:
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
    if len(told) > MOST_FAULTS:  # a short body can hold thousands of wrong items
        told = [*told[:MOST_FAULTS], FieldFault("", f"and {len(told) - MOST_FAULTS} more faults")]
    names = list(dict.fromkeys(fault.field or "the body" for fault in told))
    return Problem("invalid", f"Something is wrong with {', '.join(names[:20])}.", fields=told)


def _told(details: ErrorDetails, model: type[BaseModel]) -> FieldFault:
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
