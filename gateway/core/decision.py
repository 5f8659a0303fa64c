"""The verdict of the core: Allow, or Denial with one reason. Both are values; neither is an exception."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from gateway.core.reason import REASONS, Reason
from gateway.core.route import Route
from gateway.core.token_record import LiveRecord


class Allow(msgspec.Struct, frozen=True, gc=False):
    """The request may go up by ``route``; ``record`` is None on a public route. ``refusal`` is what it would have got if the route did not only report;
    ``record`` is then there only where the token itself was good."""

    route: Route
    record: LiveRecord | None
    refusal: Denial | None = None


class Denial(NamedTuple):
    """The request is refused. ``detail`` is one sentence for a person and holds nothing of the request but names of the policy."""

    reason: Reason
    detail: str
    route: Route | None = None
    record: LiveRecord | None = None  # only once its secret was proved
    required_scope: str | None = None
    granted: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()  # the methods that the path takes, for 405
    retry_after: int | None = None  # seconds


def denied(code: str, detail: str, **facts: object) -> Denial:
    """A Denial by its code; KeyError if there is no such reason."""
    return Denial(REASONS[code], detail, **facts)  # type: ignore[arg-type]
