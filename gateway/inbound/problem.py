"""Denial -> the bytes of a refusal: an RFC 9457 problem document with its challenge (RFC 6750 section 3)."""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import msgspec

from gateway.core.decision import Denial
from gateway.core.explain import Reasons

REALM: Final = "scopegate"
_UNQUOTABLE: Final = re.compile(r"[^\x20\x21\x23-\x5B\x5D-\x7E]")
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus} | {413: "Content Too Large", 414: "URI Too Long"}


def challenge(denial: Denial) -> str | None:
    """The WWW-Authenticate value, or None where the reason carries none."""
    error = denial.reason.challenge
    if error is None:
        return None
    parts = [f'Bearer realm="{REALM}"']
    if error:
        described = _UNQUOTABLE.sub("'", denial.detail)
        parts += [f'error="{error}"', f'error_description="{described}"']
    if denial.required_scope:
        parts.append(f'scope="{denial.required_scope}"')
    return ", ".join(parts)


def document(denial: Denial, request_id: str, reasons: Reasons | None = None) -> dict[str, object]:
    """The problem document (RFC 9457 section 3) as a mapping. ``reasons`` are for the holder of a good token alone."""
    reason = denial.reason
    facts: dict[str, object] = {
        "type": f"urn:scopegate:problem:{reason.code}",
        "title": reason.title,
        "status": reason.status,
        "detail": denial.detail,
        "code": reason.code,
        "request_id": request_id,
    }
    if denial.required_scope:
        facts |= {"required_scope": denial.required_scope, "granted": list(denial.granted), "missing": list(denial.missing)}
    return facts if reasons is None else facts | reasons.facts()


def render(
    denial: Denial,
    request_id: str,
    *,
    close: bool,
    head: bool = False,
    http10: bool = False,
    form: str = "problem",
    further: bytes = b"",
    reasons: Reasons | None = None,
) -> bytes:
    """The whole answer. ``form`` is "problem", or "tempo" for ``{"errors": [{"message": …}]}``; ``further`` is one more field line. A refused HEAD has no
    body."""
    reason = denial.reason
    if form == "tempo":
        kind, body = "application/json", msgspec.json.encode({"errors": [{"message": denial.detail}]})
    else:
        kind, body = "application/problem+json", msgspec.json.encode(document(denial, request_id, reasons))
    lines = [
        f"HTTP/1.1 {reason.status} {_PHRASES.get(reason.status, 'Refused')}",
        f"Date: {formatdate(time.time(), usegmt=True)}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        f"X-Request-Id: {request_id}",
    ]
    if further:
        lines.append(further.decode("ascii"))
    words = challenge(denial)
    if words is not None:
        lines.append(f"WWW-Authenticate: {words}")
    if denial.allow:
        lines.append(f"Allow: {', '.join(denial.allow)}")
    after = denial.retry_after or reason.retry_after
    if after is not None:
        lines.append(f"Retry-After: {after}")
    if close:
        lines.append("Connection: close")
    elif http10:
        lines.append("Connection: keep-alive")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii") + (b"" if head else body)
