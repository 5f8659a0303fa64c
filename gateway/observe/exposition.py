"""The exposition of the counts for Prometheus: a collector that reads plain integers when ``/metrics`` is asked.

Apart from ``observe.metrics``, so that workers, which only count, need not load prometheus-client.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from gateway import __version__
from gateway.core.policy import Policy
from gateway.core.route import METHODS
from gateway.observe.metrics import Counters, RequestKey

_METHOD_LABELS: Final = {method: method for method in METHODS}
_REQUEST_LABELS: Final = ("route", "method", "status", "code")


class GatewayCollector(Collector):
    """Turns Counters into metric families when asked."""

    def __init__(self, counters: Counters, policy: Callable[[], Policy]) -> None:
        self._counters = counters
        self._policy = policy

    def describe(self) -> list[Metric]:
        """Nothing: the names are known only to ``collect``, and asking for them at registration would read a policy that may not be there yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families."""
        counters, policy = self._counters, self._policy()
        yield _requests("scopegate_requests", "Requests answered on the data plane; the route is empty until the token was proved.", counters.requests)
        yield _requests("scopegate_reported", "Requests let through because their route only reports, by what would have refused them.", counters.reported)
        yield _requests("scopegate_management_requests", "Requests answered on the management port.", counters.management)
        for name, text, value in (
            ("scopegate_request_body_bytes", "Bytes of request bodies sent to upstreams.", counters.bytes_up),
            ("scopegate_response_body_bytes", "Bytes of answer bodies sent to clients.", counters.bytes_down),
            ("scopegate_connections", "Client connections accepted on the data plane.", counters.connections),
            ("scopegate_store_lookups", "Tokens asked of the store by requests.", counters.lookups),
            ("scopegate_store_errors", "Requests of the data plane that the store did not answer.", counters.store_errors),
            ("scopegate_upstream_retries", "Requests sent again because a kept upstream connection had ended.", counters.upstream_retries),
            ("scopegate_policy_reloads", "Policies loaded while running.", counters.policy_reloads),
            ("scopegate_policy_reloads_refused", "Policies that were faulty: the one before stayed.", counters.policy_reloads_refused),
            ("scopegate_worker_restarts", "Workers and management processes that ended by themselves and were started again.", counters.worker_restarts),
        ):
            yield CounterMetricFamily(name, text, value)
        yield GaugeMetricFamily("scopegate_connections_open", "Client connections open on the data plane now.", counters.connections_open)
        yield GaugeMetricFamily("scopegate_streams_open", "Answers with a token that outlast their first piece, and tunnels, open now.", counters.streams_open)
        yield GaugeMetricFamily("scopegate_cache_records", "Records of live tokens that workers remember now.", counters.cache_records)
        yield GaugeMetricFamily("scopegate_cache_negatives", "Ended and unknown tokens that workers remember now.", counters.cache_negatives)
        yield GaugeMetricFamily(
            "scopegate_policy_refused", "1 while the policy file that was read last is faulty: the one before stays.", counters.policy_refused
        )
        yield GaugeMetricFamily("scopegate_policy_scopes", "Scopes of the loaded policy.", len(policy.scopes))
        yield GaugeMetricFamily("scopegate_policy_routes", "Routes of the loaded policy, those left out on purpose included.", len(policy.routes))
        yield InfoMetricFamily("scopegate_policy", "The loaded policy, by the SHA-256 of its file.", {"hash": policy.hash})
        yield InfoMetricFamily("scopegate_build", "The program.", {"version": __version__})


class Exposition:
    """The text of ``/metrics``, from a registry of its own: libraries that count in the default one add nothing to it."""

    def __init__(self, counters: Counters, policy: Callable[[], Policy]) -> None:
        self._registry: Final = CollectorRegistry(auto_describe=False)
        self._registry.register(GatewayCollector(counters, policy))
        ProcessCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The metrics and their content type, in the format that an Accept field prefers: Prometheus text or OpenMetrics."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


def _requests(name: str, text: str, counts: Mapping[RequestKey, int]) -> Metric:
    """One family: several statuses of a class, and several unknown methods, add up in one series."""
    series: defaultdict[tuple[str, str, str, str], int] = defaultdict(int)
    for (route, method, status, code), count in counts.items():
        series[route, _METHOD_LABELS.get(method, "other"), status_class(status), code] += count
    family = CounterMetricFamily(name, text, labels=_REQUEST_LABELS)
    for labels, count in sorted(series.items()):
        family.add_metric(labels, count)
    return family


def status_class(status: int) -> str:
    """``2xx`` and so on; ``none`` where there was no answer."""
    return f"{status // 100}xx" if 100 <= status <= 599 else "none"
