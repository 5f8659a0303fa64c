"""One finished exchange -> counters, usage, access log. Never fails the request, and names no route before the token was proved."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gateway.observe.access_log import AccessLine, AccessLog
from gateway.observe.metrics import Counters
from gateway.observe.redaction import Redaction
from gateway.ports import UsageLedger

if TYPE_CHECKING:
    from gateway.inbound.ending import Ending


class Account:
    """Where finished exchanges are written down."""

    def __init__(self, counters: Counters, log: AccessLog, usage: UsageLedger, redact: Redaction) -> None:
        self.counters = counters
        self._redact = redact
        self._log = log
        self._usage = usage

    def __call__(self, exchange: Ending, ended: float) -> None:
        """Note one exchange; ``ended`` is loop time."""
        request, verdict, code, status = exchange.request, exchange.verdict, exchange.code, exchange.status
        bytes_in, bytes_out, opening, upstream = exchange.bytes_in, exchange.bytes_out, exchange.opening, exchange.upstream
        record = route = None
        template = scope = path = token_id = owner = ""
        if verdict is not None:
            record, route = verdict.record, verdict.route
            if record is not None:
                token_id, owner = record.id, record.owner
                if not code:
                    self._usage.used(token_id, exchange.plane.engine.store_ms)
            if route is not None and (record is not None or route.public):
                template = route.template
                if route.scope is not None:
                    scope = route.scope.id
                if opening is not None:
                    path = self._redact(opening.path.path)
        method = request.method if request is not None else ""
        counters = self.counters
        counters.requests[template, method, status, code] += 1
        counters.bytes_up += bytes_in
        counters.bytes_down += bytes_out
        if code == "store_unavailable":
            counters.store_errors += 1
        if self._log.enabled:
            name = upstream.name if upstream is not None else ""
            begun, taken_ms = int(time.time() * 1000) / 1000, int((ended - exchange.started) * 100_000) / 100
            self._log.add(
                AccessLine(
                    begun,
                    exchange.request_id,
                    exchange.address_text,
                    method,
                    status,
                    taken_ms,
                    path,
                    template,
                    scope,
                    name,
                    code,
                    token_id,
                    owner,
                    bytes_in,
                    bytes_out,
                )
            )
