"""Whether an operation by POST only reads, as its id or its summary says: such a one asks for view, not for manage.

The words are taken whole (``search``, not ``research``), and only where they say what is done: as the first word of the id or the summary (``searchOrders``,
"List the holders"), or as the last of the id (``orders.search``). "Revoke a list of credentials" is none, and no word counts beside one that says that
something is changed ("Find or create"). What is missed here asks for manage, which opens nothing.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

from gateway.openapi.operations import Operation


def _word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VERBS: Final = frozenset({"search", "query", "find", "list", "filter", "lookup"})
_THIRD_PERSON: Final = frozenset({"searches", "queries", "finds", "lists", "filters", "lookups"})
_LAST: Final = frozenset({"search", "query", "find", "lookup"})  # as the last word, list and filter are things that may be made
_CHANGES: Final = _word_set(
    "abort activate add adds allocate append apply approve assign attach buy cancel clear clone commit configure confirm create creates "
    "creating deactivate decline delete deletes deny deploy destroy detach disable dismiss drop duplicate edit enable enqueue execute expire "
    "fork generate grant ingest insert install invite invoke kill launch merge modify mutate mutation notify overwrite patch perform "
    "provision publish purge put reassign refund register reindex reject remove removes rename renew reopen reorder replace rerun reserve "
    "reset restart restore resume retry revoke rotate run save saved saves send sends submit subscribe suspend sync synchronize terminate "
    "transfer trigger unassign unlink unlock unsubscribe update updates upload upsert write writes"
)
# Things as often as deeds: they count where a deed stands.
_MAY_CHANGE: Final = _word_set(
    "archive batch block book bulk change charge close complete copy export import index issue join leave link lock make mark move new open "
    "order pay post process promote queue record refresh release reload schedule seed set share sign start stop store tag"
)
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z]{2})(?=[A-Z][a-z]{2})")
_PARTS: Final = re.compile(r"[./:#]+")
_LETTERS: Final = re.compile(r"[A-Za-z]+")


def reads(operation: Operation) -> str:
    """What says that this POST only reads, for a comment: ``its id "searchOrders"``; "" if nothing does, or something says that it changes things."""
    if operation.method != "POST":
        return ""
    of_id, of_summary = _words(operation.id), _words(operation.summary)
    if any(map(_changes, (of_id, of_summary))) or (of_summary and of_summary[0] in _MAY_CHANGE):
        return ""
    parts = [words for words in map(_words, _PARTS.split(operation.id)) if words]
    if parts and (parts[-1][0] in _VERBS or (parts[-1][-1] in _LAST and (parts[-1][0] == "post" or parts[-1][0] not in _MAY_CHANGE))):
        return f'its id "{operation.id}"'
    if of_summary and (of_summary[0] in _VERBS | _THIRD_PERSON or of_summary[:2] == ["look", "up"]):
        return f'its summary "{operation.summary}"'
    return ""


def may_read(operation: Operation) -> bool:
    """Whether the path of a POST ends like that of a search though neither id nor summary says that it is one."""
    last = _words(operation.path.rstrip("/").rpartition("/")[2])
    return operation.method == "POST" and bool(last) and last[-1] in _LAST | {"filter"} and not reads(operation)


def _changes(words: list[str]) -> bool:
    """Whether one of the words says that something is changed: by itself, or joined to the deed by "and" or "or"."""
    joined = {word for before, word in pairwise(words) if before in {"and", "or"}}
    return bool(_CHANGES.intersection(words) or _MAY_CHANGE & joined)


def _words(text: str) -> list[str]:
    return [word.lower() for word in _LETTERS.findall(_HUMP.sub(" ", text))]
