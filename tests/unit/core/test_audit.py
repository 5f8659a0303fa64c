"""The chain of the audit log: whatever is done to a log without its key shows, and where."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from gateway.core.audit import AuditEntry, Head, Signer, Verifier, Written, chained, follow, genesis, verify
from gateway.core.principal import ADMIN_KEY, Actor, Principal

STORE, OTHER = b"a" * 32, b"b" * 32
KEY = b"the key that the store has not"
SIGNER = Signer(KEY, STORE)
ACTOR = Actor(Principal("ana", admin=True, via=ADMIN_KEY), "192.0.2.1", "req-1")


def log(count: int, store: bytes = STORE, key: bytes = KEY, action: str = "token.create") -> list[Written]:
    head, signer, entries = genesis(store), Signer(key, store), []
    for number in range(count):
        entries.append(follow(head, AuditEntry(action, ACTOR, f"id{number}", "ana"), 1_700_000_000_000 + number, signer))
        head = entries[-1].head
    return entries


def found(entries: list[Written], *remembered: Head) -> tuple[str, int] | None:
    fault = verify(entries, Verifier(STORE, SIGNER, remembered))
    return None if fault is None else (fault.kind, fault.seq)


def forged(before: Head, seq: int, action: str = "token.revoke") -> Written:
    """What somebody can write who has the store and not the key: all but the signature is right."""
    entry = follow(Head(seq - 1, before.hash), AuditEntry(action, ACTOR, "id"), 1_700_000_000_000, Signer(b"guessed", STORE))
    return entry._replace(key=SIGNER.name)


def renumbered(entries: list[Written]) -> list[Written]:
    return [entry._replace(seq=seq) for seq, entry in enumerate(entries, 1)]


def rechained(entries: list[Written]) -> list[Written]:
    """Every hash made anew, as one does who knows how the chain is made."""
    head, made = genesis(STORE), []
    for entry in entries:
        made.append(entry._replace(hash=chained(head.hash, entry.text)))
        head = made[-1].head
    return made


def edited(entry: Written) -> Written:
    return entry._replace(text=entry.text.replace("ana", "ben"))


LOG = log(6)
TAMPERED: dict[str, tuple[Callable[[], list[Written]], tuple[str, int]]] = {
    "edited": (lambda: [*LOG[:2], edited(LOG[2]), *LOG[3:]], ("edited", 3)),
    "edited, hashes made anew": (lambda: rechained([*LOG[:2], edited(LOG[2]), *LOG[3:]]), ("edited", 3)),
    "the newest edited": (lambda: rechained([*LOG[:5], edited(LOG[5])]), ("edited", 6)),
    "no JSON any more": (lambda: [*LOG[:2], LOG[2]._replace(text="[7"), *LOG[3:]], ("edited", 3)),
    "one deleted": (lambda: [*LOG[:2], *LOG[3:]], ("deleted", 3)),
    "one deleted, renumbered": (lambda: renumbered([*LOG[:2], *LOG[3:]]), ("deleted", 3)),
    "one deleted, renumbered, hashes made anew": (lambda: rechained(renumbered([*LOG[:2], *LOG[3:]])), ("edited", 3)),
    "beginning cut off": (lambda: LOG[2:], ("deleted", 1)),
    "beginning cut off, renumbered": (lambda: renumbered(LOG[2:]), ("deleted", 1)),
    "end cut off": (lambda: LOG[:4], ("truncated", 5)),
    "emptied": (list, ("truncated", 1)),
    "end cut off and written on with the key": (
        lambda: [*LOG[:5], follow(LOG[4].head, AuditEntry("x", ACTOR), 1_700_000_000_000, SIGNER)],
        ("rewritten", 6),
    ),
    "two change places": (lambda: renumbered([*LOG[:2], LOG[3], LOG[2], *LOG[4:]]), ("reordered", 3)),
    "one put in between": (lambda: renumbered([*LOG[:2], forged(LOG[1].head, 3), *LOG[2:]]), ("inserted", 3)),
    "a copy put in between": (lambda: renumbered([*LOG[:4], LOG[1], *LOG[4:]]), ("inserted", 5)),
    "one put at the end": (lambda: [*LOG, forged(LOG[5].head, 7)], ("edited", 7)),
    "another store's": (lambda: log(6, OTHER), ("foreign", 1)),
    "signed with another key": (lambda: log(6, key=b"another key"), ("foreign", 1)),
    "no signature": (lambda: [*LOG[:2], LOG[2]._replace(signature=""), *LOG[3:]], ("edited", 3)),
}


def test_a_log_as_it_was_written_is_whole() -> None:
    assert found(LOG, LOG[3].head, LOG[5].head) is None
    assert found([]) is None


@pytest.mark.parametrize("name", TAMPERED)
def test_what_was_done_to_a_log_is_found_with_its_place(name: str) -> None:
    """Seen to fail with the signature, the hash, or what is remembered left out of ``Verifier.take``."""
    tamper, expected = TAMPERED[name]
    assert found(tamper(), LOG[5].head) == expected


def test_every_single_byte_of_every_entry_counts() -> None:
    for place, entry in enumerate(LOG):
        for at in range(0, len(entry.text), 7):
            text = entry.text[:at] + chr(ord(entry.text[at]) ^ 1) + entry.text[at + 1 :]
            assert found([*LOG[:place], entry._replace(text=text), *LOG[place + 1 :]]) is not None


def test_a_cut_end_is_not_found_by_one_who_has_not_seen_it() -> None:
    """The reason for what a node remembers."""
    assert found(LOG[:4]) is None


def test_a_head_that_was_gone_at_another_look_is_missed_for_ever() -> None:
    grown = [*LOG[:4], *[follow(LOG[3].head, AuditEntry("x", ACTOR), 1_700_000_000_000, SIGNER)]]
    assert found(grown, LOG[4].head, grown[4].head) == ("rewritten", 5)


def test_the_line_says_who_did_what_from_where() -> None:
    facts = follow(genesis(STORE), AuditEntry("token.create", ACTOR, "abc", "ben", {"days": 30}), 1_700_000_000_123, SIGNER).facts()
    assert len(facts.pop("hash")) == 64
    assert facts == {
        "seq": 1,
        "at": "2023-11-14T22:13:20.123Z",
        "action": "token.create",
        "subject": "ana",
        "via": "admin_key",
        "from": "192.0.2.1",
        "request_id": "req-1",
        "token_id": "abc",
        "owner": "ben",
        "details": {"days": 30},
    }


def test_what_looks_like_a_secret_is_cut_out_of_every_text() -> None:
    """Seen to fail without ``_shown``."""
    token = "sgt_abcdefghijkl_" + "S" * 38
    jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"
    actor = Actor(Principal(jwt, admin=False, via="jwt"), "", token)
    text = follow(genesis(STORE), AuditEntry("x", actor, owner=token, details={"a": token, "b": jwt}), 0, SIGNER).text
    assert "S" * 20 not in text
    assert "c2lnbmF0dXJl" not in text
    assert json.loads(text)["request_id"] == "sgt_abcdefghijkl_…"
