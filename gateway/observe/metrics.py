"""Counts: plain integers, added to on the hot path, carried between processes and added up.

A labelled counter of prometheus-client costs several microseconds, more than a decision; ``observe.exposition`` reads these when ``/metrics`` is
asked. A request is counted under a route only once its token was proved (or the route is public): before that a forger could move a route's
counter, so it counts under route "". Labels are bounded by the policy: the route's template, never a path; the seven methods and "other";
classes of status; the codes of ``core.reason``.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import msgspec

RequestKey = tuple[str, str, int, str]


class Counters(msgspec.Struct):
    """What has happened since the start, as plain integers for one thread: ``counters.requests[route, method, status, code] += 1``.

    ``requests`` counts the data plane's answers, ``management`` those of the management port: route template ("" before the token is proved),
    method as sent, status (0 where the client was gone before an answer), reason code ("" where the request was allowed). ``reported`` counts those of the
    data plane that were let through because their route only reports, under the code that they would have been refused with.
    ``bytes_up`` and ``bytes_down`` are bytes of bodies sent to upstreams and to clients. ``connections_open`` and ``streams_open`` are what is open now,
    ``cache_records`` and ``cache_negatives`` what is remembered now. ``policy_refused`` is 1 while the policy file that was read last is not in force.
    """

    requests: dict[RequestKey, int] = msgspec.field(default_factory=lambda: defaultdict(int))
    reported: dict[RequestKey, int] = msgspec.field(default_factory=lambda: defaultdict(int))
    management: dict[RequestKey, int] = msgspec.field(default_factory=lambda: defaultdict(int))
    bytes_up: int = 0
    bytes_down: int = 0
    connections: int = 0
    connections_open: int = 0
    streams_open: int = 0
    cache_records: int = 0
    cache_negatives: int = 0
    lookups: int = 0
    store_errors: int = 0
    upstream_retries: int = 0
    policy_reloads: int = 0
    policy_reloads_refused: int = 0
    policy_refused: int = 0
    worker_restarts: int = 0

    def add(self, other: Counters) -> None:
        """Add another process's counts to these."""
        for mine, theirs in ((self.requests, other.requests), (self.reported, other.reported), (self.management, other.management)):
            for key, count in theirs.items():
                mine[key] = mine.get(key, 0) + count
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def keep(self, other: Counters) -> None:
        """Add the last counts of a process that has ended: what it had open is closed and what it knew is gone, what it did stays."""
        self.add(other)
        for name in _NOW:
            setattr(self, name, getattr(self, name) - getattr(other, name))


_NOW: Final = ("policy_refused", "connections_open", "streams_open", "cache_records", "cache_negatives")
_NUMBERS: Final = tuple(name for name in Counters.__struct_fields__ if name not in {"requests", "reported", "management"})


class WorkerFacts(msgspec.Struct, frozen=True):
    """One worker as its supervisor sees it: whether it is up and answers, and the hash of the policy that it runs."""

    number: int
    up: bool
    policy: str


class RefusedPolicy(msgspec.Struct, frozen=True):
    """A policy file that was read last and is not in force: the SHA-256 of its bytes ("" where it could not be read), and how many faults it has."""

    hash: str
    faults: int


class Overview(msgspec.Struct):
    """All processes of a node but the one that asks: their counts added up, the workers, whether the node is shutting down, and the policy that was
    refused, if the last one was."""

    counters: Counters = msgspec.field(default_factory=Counters)
    workers: list[WorkerFacts] = msgspec.field(default_factory=list)
    draining: bool = False
    refused: RefusedPolicy | None = None
