"""What a client asks of the sample upstream: read from query and body, or refused as the API refuses."""

from __future__ import annotations

import json
from datetime import date
from typing import Any, Final

from aiohttp import web

from gateway.sample.data import FIRST_DAY, LAST_DAY, Collection, Item, worklog


class Refused(Exception):
    """The API's own refusal: its status and messages."""

    def __init__(self, status: int, *messages: str) -> None:
        super().__init__(*messages)
        self.status: Final = status
        self.messages: Final = messages


def found(collection: Collection, key: str) -> Item:
    """The item that the path names, or 404."""
    if key not in collection.items:
        raise Refused(404, f"{collection.path}: {key} was not found")
    return collection.items[key]


def number_of(request: web.Request, name: str, default: int, least: int) -> int:
    """A whole number of the query."""
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= least):
        raise Refused(400, f"{name} must be a whole number, at least {least}")
    return int(text)


def period(asked: Any) -> tuple[date, date]:
    """``from`` and ``to`` of a query or a body, both included."""
    start, end = _day(asked.get("from", FIRST_DAY.isoformat()), "from"), _day(asked.get("to", LAST_DAY.isoformat()), "to")
    if end < start or (end - start).days > 3660:
        raise Refused(400, "to must not be before from, nor over ten years after it")
    return start, end


def _day(text: Any, name: str) -> date:
    try:
        day = date.fromisoformat(text)
    except (TypeError, ValueError):
        raise Refused(400, f"{name} must be a date: YYYY-MM-DD") from None
    if not 1900 <= day.year < 3000:  # so that a week more or less is a date too
        raise Refused(400, f"{name} must be a date between 1900 and 2999")
    return day


def in_period(collection: Collection, start: date, end: date) -> list[Item]:
    """The items that begin in the period; all of a collection whose items have no date."""
    first, last = start.isoformat(), end.isoformat()
    return [item for item in collection.items.values() if "startDate" not in item or first <= str(item["startDate"]) <= last]


async def body_of(request: web.Request) -> Item:
    """The body's JSON object."""
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError):
        raise Refused(400, "the body must be JSON") from None
    if not isinstance(body, dict):
        raise Refused(400, "the body must be a JSON object")
    return body


def chosen(body: Item, name: str) -> list[Any]:
    """The values that a search wants of one field; none: all."""
    wanted = body.get(name) or []
    if not isinstance(wanted, list):
        raise Refused(400, f"{name} must be a list")
    return wanted


def as_worklog(body: Item, number: int, before: Item | None) -> Item:
    """A worklog from what a client sends; every missing or wrong field is told at once."""
    issue = before["issue"]["id"] if before else body.get("issueId")
    seconds, author, text = body.get("timeSpentSeconds"), body.get("authorAccountId"), body.get("description") or ""
    faults = [
        *(["authorAccountId must be set"] if not isinstance(author, str) or not author else []),
        *(["issueId must be a number"] if type(issue) is not int else []),
        *(["timeSpentSeconds must be a number above 0"] if type(seconds) is not int or seconds <= 0 else []),
    ]
    if faults or not isinstance(author, str) or type(issue) is not int or type(seconds) is not int:
        raise Refused(400, *faults)
    return worklog(number, author, issue, _day(body.get("startDate"), "startDate").isoformat(), seconds, str(text))
