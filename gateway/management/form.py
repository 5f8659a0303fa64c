"""Bodies of the OAuth endpoints: ``application/x-www-form-urlencoded``, as RFC 6749 appendix B writes it. What is wrong with one is told as its section 5.2
has it, for ready clients: 400 and ``error``, in a problem document that names every wrong field as elsewhere.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from gateway.management.payload import Checked, P, demand, read_bytes
from gateway.management.problem import FieldFault, Problem

_TYPE: Final = "application/x-www-form-urlencoded"
_WRONG: Final = {"invalid", "media_type_unsupported"}  # 422 and 415 in the API


async def read_form(model: type[P], request: web.Request) -> P:
    """The form. A field that is empty counts as left out, one that is given twice as wrong (RFC 6749 section 3.2)."""
    try:
        return demand(model, await _fields(request))
    except Problem as wrong:
        code = "form_invalid" if wrong.reason.code in _WRONG else wrong.reason.code
        raise Problem(code, wrong.detail, fields=wrong.fields, facts={"error": "invalid_request"}) from None


async def _fields(request: web.Request) -> Checked:
    if request.content_type != _TYPE or (request.charset or "utf-8").lower() not in {"utf-8", "utf8"}:
        raise Problem("media_type_unsupported", f"Send the body as Content-Type: {_TYPE}.")
    raw = await read_bytes(request)
    try:
        pairs = parse_qsl(raw.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise Problem("invalid", "The body is no form in UTF-8.", fields=[FieldFault("", f"must be {_TYPE} in UTF-8")]) from None
    names = [name for name, value in pairs if value]
    return Checked(
        {name: value for name, value in pairs if value}, [FieldFault(name, "is given twice") for name in dict.fromkeys(names) if names.count(name) > 1]
    )
