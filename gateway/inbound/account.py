"""One finished exchange -> counters, usage, access log. Never fails the request, and names no route before the token was proved."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gateway.observe.access_log import AccessLine, AccessLog
from gateway.observe.metrics import Counters
from gateway.observe.redaction import Redaction
from gateway.ports import UsageLedger

if TYPE_CHECKING:
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
        request, verdict, code = exchange.request, exchange.verdict, exchange.code
        record = route = None
        if verdict is not None:
            record, route = verdict.record, verdict.route
            if record is None and route is not None and not route.public:
                route = None
        template = route.template if route is not None else ""
        method = request.method if request is not None else ""
        counters = self.counters
        counters.requests[template, method, exchange.status, code] += 1
        counters.bytes_up += exchange.bytes_in
        counters.bytes_down += exchange.bytes_out
        if code == "store_unavailable":
            counters.store_errors += 1
        if record is not None and not code:
            self._usage.used(record.id, exchange.plane.engine.store_ms)
        if self._log.enabled:
            self._log.add(
                AccessLine(
                    int(time.time() * 1000) / 1000,
                    exchange.request_id,
                    exchange.address_text,
                    method,
                    exchange.status,
                    int((ended - exchange.started) * 100_000) / 100,
                    self._redact(exchange.opening.path.path) if route is not None and exchange.opening is not None else "",
                    template,
                    route.scope.id if route is not None and route.scope is not None else "",
                    exchange.upstream.settings.name if exchange.upstream is not None else "",
                    code,
                    record.id if record is not None else "",
                    record.owner if record is not None else "",
                    exchange.bytes_in,
                    exchange.bytes_out,
                )
            )
