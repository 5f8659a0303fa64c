"""The audit log as a chain: each entry's hash covers the one before it, and a key that the store has not signs each.

An entry is one line of canonical JSON. Its hash is SHA-256 over the hash before it and that line; the first one follows a hash of the store's id, so
that the logs of two stores can't be swapped. Its signature is HMAC-SHA-256 over number and hash. HMAC, and not a signature by key pair: whoever
appends must hold the key in either case, nobody else has to judge the log, and no process needs a crypto library for it. So one who can write to the
store, and has not the key, can change nothing without a trace but what comes last: a log that is cut at its end is still a whole one. That
shows by what each node remembers of the newest entry that it has seen.
"""

from __future__ import annotations

import datetime as dt
import hmac
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, NamedTuple

from gateway.core.principal import Actor

ACTIONS: Final = (
    *("token.create", "token.regenerate", "token.revoke", "token.suspend", "token.resume", "token.rename", "token.reuse"),
    *("owner.revoke", "session.sign_in", "session.sign_out", "link.offer", "policy.reload", "call.refused", "store.adopt"),
)
_TOKEN: Final = re.compile(r"([a-z][a-z0-9]{1,15}_[0-9A-Za-z]{12})_[0-9A-Za-z]{20,}")
_JWT: Final = re.compile(r"eyJ[0-9A-Za-z_-]+\.[0-9A-Za-z_-]*(?:\.[0-9A-Za-z_-]*)*")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something that somebody did: one of ACTIONS. ``details`` never hold a secret; what looks like a token or a JWT is cut out of every text all the same."""

    action: str
    actor: Actor
    token_id: str = ""
    owner: str = ""
    details: Mapping[str, str | int] = field(default_factory=dict)


class Head(NamedTuple):
    """The newest entry's number (0: there is none) and hash, in hexadecimal."""

    seq: int
    hash: str


class Written(NamedTuple):
    """An entry as the store has it. ``seq`` is its place there, ``text`` its line of JSON, ``key`` says by which key ``signature`` was made."""

    seq: int
    text: str
    hash: str
    signature: str
    key: str

    @property
    def head(self) -> Head:
        """The entry as the newest there is."""
        return Head(self.seq, self.hash)

    def facts(self) -> dict[str, Any]:
        """The entry as people are shown it. ValueError where the text is no entry's."""
        facts = json.loads(self.text)
        if not isinstance(facts, dict):
            raise ValueError("the entry is no JSON object")  # noqa: TRY004 - as all else that is wrong with it
        return {**facts, "hash": self.hash}


class Signer:
    """Signs the entries of one store with one key."""

    def __init__(self, key: bytes, store_id: bytes) -> None:
        self._key: Final = hmac.digest(key, b"scopegate audit 1 " + store_id, "sha256")
        self.name: Final = sha256(b"name " + self._key).hexdigest()[:8]

    def sign(self, head: Head) -> str:
        """The signature of an entry by its number and hash."""
        return hmac.digest(self._key, f"{head.seq} {head.hash}".encode(), "sha256").hex()

    def signed(self, entry: Written) -> bool:
        """Whether we signed this entry at its place."""
        return entry.key == self.name and hmac.compare_digest(entry.signature.encode(), self.sign(entry.head).encode())


def genesis(store_id: bytes) -> Head:
    """What the first entry of a store follows."""
    return Head(0, sha256(b"scopegate audit 1 " + store_id).hexdigest())


def chained(before: str, text: str) -> str:
    """The hash of an entry behind another's hash."""
    return sha256(f"{before} {text}".encode()).hexdigest()


def follow(head: Head, entry: AuditEntry, at_ms: int, signer: Signer) -> Written:
    """The entry behind ``head``; ``at_ms`` is the store's time, in Unix milliseconds."""
    principal = entry.actor.principal
    facts = {
        "seq": head.seq + 1,
        "at": dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}Z",
        "action": entry.action,
        "subject": _shown(principal.subject),
        "via": principal.via,
        "from": entry.actor.address,
        "request_id": _shown(entry.actor.request_id),
        "token_id": entry.token_id,
        "owner": _shown(entry.owner),
        "details": {name: _shown(value) if isinstance(value, str) else value for name, value in entry.details.items()},
    }
    text = json.dumps(facts, separators=(",", ":"))
    new = Head(head.seq + 1, chained(head.hash, text))
    return Written(new.seq, text, new.hash, signer.sign(new), signer.name)


def _shown(text: str) -> str:
    return _JWT.sub("eyJ…", _TOKEN.sub(r"\1_…", text))


class Break(NamedTuple):
    """The first place where the log is not as it was written. ``kind`` is edited, deleted, inserted, reordered, truncated, rewritten or foreign;
    ``seq`` is the number of the entry, and ``text`` one line for people."""

    kind: str
    seq: int
    text: str


class Verifier:
    """Takes a log entry by entry, oldest first, until the first that is wrong. ``remembered`` are heads that this node has seen."""

    def __init__(self, store_id: bytes, signer: Signer, remembered: Iterable[Head] = ()) -> None:
        self._signer = signer
        self._remembered = sorted(remembered)
        self.head = genesis(store_id)

    def take(self, entry: Written) -> bool:
        """Whether the entry is the one that follows. If it is not, ``explain`` says why."""
        expected = self.head.seq + 1
        right = (
            entry.seq == expected
            and entry.hash == chained(self.head.hash, entry.text)
            and self._signer.signed(entry)
            and all(head.hash == entry.hash for head in self._remembered if head.seq == expected)
        )
        if right:
            self.head = entry.head
        return right

    def explain(self, entry: Written, following: Sequence[Written]) -> Break:
        """What is wrong with the entry that was not taken; ``following`` are some of those behind it."""
        expected, own = self.head.seq + 1, _own_seq(entry)
        place = f"entry {expected}"
        moved = own is not None and own != entry.seq and self._signer.signed(entry._replace(seq=own))
        ours = {_own_seq(other) for other in following if self._is_genuine(other)}
        if entry.key != self._signer.name:
            return Break("foreign", expected, f"{place} was signed with another key, or for another store: see audit.key_file")
        if entry.seq < expected:
            return Break("inserted", expected, f"there is another entry {entry.seq} behind the first")
        if entry.seq > expected and expected in ours:
            return Break("reordered", expected, f"{place} stands further down, and entry {entry.seq} in its place")
        if entry.seq != expected and not moved:
            return Break("deleted", expected, f"{_some(expected, entry.seq - 1)} {_are(expected, entry.seq - 1)} gone")
        if moved and own is not None:
            if own < expected:
                return Break("inserted", expected, f"{place} is a copy of entry {own}")
            if expected in ours:
                return Break("reordered", expected, f"{place} stands further down, and entry {own} in its place")
            return Break("deleted", expected, f"{_some(expected, own - 1)} {_are(expected, own - 1)} gone, and the ones behind moved up")
        if self._signer.signed(entry) and entry.hash != chained(self.head.hash, entry.text):
            return Break("edited", expected, f"{place} was changed after it was written")
        if self._signer.signed(entry):
            return Break("rewritten", expected, f"{place} is another than the one that this node has seen")
        if expected in ours:
            return Break("inserted", expected, f"{place} was put there by somebody without the key")
        return Break("edited", expected, f"{place} was changed, and its signature is not true")

    def end(self) -> Break | None:
        """What is wrong where there are no more entries."""
        newest = self._remembered[-1] if self._remembered else self.head
        if newest.seq > self.head.seq:
            first = self.head.seq + 1
            what = f"{_some(first, newest.seq)}, which this node has seen, {_are(first, newest.seq)} gone"
            return Break("truncated", first, f"{what}: the end was cut off, or the store was put back to an older state")
        return None

    def _is_genuine(self, entry: Written) -> bool:
        own = _own_seq(entry)
        return own is not None and self._signer.signed(entry._replace(seq=own))


def verify(entries: Sequence[Written], verifier: Verifier) -> Break | None:
    """The first place where a log that is at hand as a whole is not as it was written; None where there is none."""
    for place, entry in enumerate(entries):
        if not verifier.take(entry):
            return verifier.explain(entry, entries[place + 1 :])
    return verifier.end()


def _own_seq(entry: Written) -> int | None:
    """The number that the entry itself says it has."""
    try:
        seq = entry.facts().get("seq")
    except ValueError:
        return None
    return seq if isinstance(seq, int) else None


def _some(first: int, last: int) -> str:
    return f"entry {first}" if first == last else f"entries {first} to {last}"


def _are(first: int, last: int) -> str:
    return "is" if first == last else "are"
