"""One finished exchange -> counters, usage, access log. Never fails the request, and names no route before the token was proved."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from gateway.core.decision import Allow, Denial
from gateway.core.explain import EXPLAINED, Reasons, reasons_of, rule_of
from gateway.observe.access_log import AccessLine, AccessLog
from gateway.observe.metrics import Counters
from gateway.observe.redaction import Redaction
from gateway.ports import Decided, DecisionLog, Refusal, UsageLedger

if TYPE_CHECKING:
    from gateway.inbound.ending import Ending

_LET_THROUGH: Final = 500  # statuses from here on are failures of others: the token did its part
_PATH: Final = 1024  # characters of a path that a refusal keeps


class Account:
    """Where finished exchanges are written down."""

    def __init__(self, counters: Counters, log: AccessLog, usage: UsageLedger, decisions: DecisionLog, redact: Redaction) -> None:
        self.counters = counters
        self._decisions = decisions
        self._redact = redact
        self._log = log
        self._usage = usage

    def __call__(self, exchange: Ending, ended: float) -> None:
        """Note one exchange; ``ended`` is loop time."""
        request, verdict, code, status = exchange.request, exchange.verdict, exchange.code, exchange.status
        bytes_in, bytes_out, opening, upstream = exchange.bytes_in, exchange.bytes_out, exchange.opening, exchange.upstream
        reported = exchange.reported
        record = route = None
        template = scope = path = token_id = owner = ""
        method = request.method if request is not None else ""
        if verdict is not None:
            record, route = verdict.record, verdict.route
            if reported is not None:
                record = reported.record
            if record is not None:
                token_id, owner = record.id, record.owner
                now_ms = exchange.plane.engine.store_ms
                if reported is not None:
                    self._usage.refused(token_id, self._refusal(exchange, reported, method, now_ms))
                elif route is not None and (not code or verdict.__class__ is Allow or status >= _LET_THROUGH):
                    upgraded = request is not None and request.websocket
                    self._usage.used(token_id, route, "WEBSOCKET" if upgraded else method, exchange.address_text, now_ms)
                elif isinstance(verdict, Denial):
                    self._usage.refused(token_id, self._refusal(exchange, verdict, method, now_ms))
            refused = reported if reported is not None else verdict
            if isinstance(refused, Denial):
                self._decisions.add(self._decided(exchange, refused, method))
            shown = record is not None or reported is not None or (route is not None and route.public)
            if shown and opening is not None:
                path = self._redact(opening.path.path)
            if shown and route is not None:
                template = route.template
                if route.scope is not None:
                    scope = route.scope.id
        counters = self.counters
        counters.requests[template, method, status, code] += 1
        counters.bytes_up += bytes_in
        counters.bytes_down += bytes_out
        if reported is not None:
            counters.reported[template, method, status, reported.reason.code] += 1
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
                    reported.reason.code if reported is not None else "",
                )
            )

    def _decided(self, exchange: Ending, denial: Denial, method: str) -> Decided:
        """With its reasons, where it was a good token's: others are refused for what their credential or message is."""
        opening, record, engine = exchange.opening, denial.record, exchange.plane.engine
        rule = rule_of(denial.route) if denial.route is not None and record is not None else ""
        reasons = exchange.reasons or Reasons(rule, (), tuple(record.grants) if record is not None else (), denial.missing)
        if not exchange.reasons and opening is not None and record is not None and denial.reason.code in EXPLAINED:
            reasons = reasons_of(engine.policy_of(opening.path), opening.path, method, denial, record.grants)
        return Decided(
            exchange.request_id,
            int(time.time() * 1000),
            exchange.address_text,
            method,
            self._redact(opening.path.path)[:_PATH] if opening is not None else "",
            denial.reason.status,
            denial.reason.code,
            denial.detail,
            engine.policy.hash,
            record.id if record is not None else "",
            record.owner if record is not None else "",
            reasons.rule,
            reasons.tried,
            reasons.granted,
            reasons.missing,
            exchange.reported is denial,
        )

    def _refusal(self, exchange: Ending, denial: Denial, method: str, now_ms: int) -> Refusal:
        opening, route = exchange.opening, denial.route
        return Refusal(
            now_ms,
            exchange.request_id,
            exchange.address_text,
            method,
            self._redact(opening.path.path)[:_PATH] if opening is not None else "",
            route.template if route is not None else "",
            denial.reason.status,
            denial.reason.code,
            denial.required_scope,
            denial.granted,
            denial.missing,
        )
