"""One finished exchange -> counters, usage, access log. Never fails the request, and names no route before the token was proved."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gateway.observe.access_log import AccessLine, AccessLog
from gateway.observe.metrics import Counters
from gateway.observe.redaction import Redaction
from gateway.ports import UsageLedger

if TYPE_CHECKING:
    from gateway.core.route import Route
    from gateway.inbound.proxy import Exchange


class Account:
    """Where finished exchanges are written down."""

    def __init__(self, counters: Counters, log: AccessLog, usage: UsageLedger, redact: Redaction) -> None:
        self.counters = counters
        self._redact = redact
        self._log = log
        self._usage = usage

    def __call__(self, exchange: Exchange, ended: float) -> None:
        """Note one exchange; ``ended`` is loop time."""
        request, verdict = exchange.request, exchange.verdict
        record = exchange.record
        route: Route | None = verdict.route if verdict is not None else None
        named = route is not None and (record is not None or route.public)
        template = route.template if route is not None and named else ""
        method = request.method if request is not None else ""
        counters = self.counters
        counters.requests[template, method, exchange.status, exchange.code] += 1
        counters.bytes_up += exchange.bytes_in
        counters.bytes_down += exchange.bytes_out
        if exchange.code == "store_unavailable":
            counters.store_errors += 1
        now = time.time()
        if record is not None and not exchange.code:
            self._usage.used(record.id, exchange.plane.engine.store_ms)
        if not self._log.enabled:
            return
        line = AccessLine(round(now, 3), exchange.request_id, str(exchange.address), method, exchange.status, round((ended - exchange.started) * 1000, 2))
        line.code = exchange.code
        line.bytes_in, line.bytes_out = exchange.bytes_in, exchange.bytes_out
        if record is not None:
            line.token_id, line.owner = record.id, record.owner
        if named and route is not None:
            line.route = template
            line.scope = route.scope.id if route.scope else ""
            line.path = self._redact(exchange.opening.path.path) if exchange.opening else ""
        if exchange.upstream is not None:
            line.upstream = exchange.upstream.settings.name
        self._log.add(line)
