"""Counts, and what Prometheus is told of them."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.core.policy import Policy
from gateway.observe.exposition import Exposition, status_class
from gateway.observe.metrics import Counters
from gateway.policy_file.load import parse_policy

POLICY = parse_policy(b"version: 1\nscopes: {a: {title: A}}\nroutes:\n  - {path: /a, scope: a}\n", "policy.yaml")


def _samples(counters: Counters, policy: Policy = POLICY) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by its name and labels, as Prometheus' own parser reads them."""
    text = Exposition(counters, lambda: policy).render("")[0].decode()
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for family in text_string_to_metric_families(text) for sample in family.samples}


def _requests(samples: dict[tuple[str, tuple[tuple[str, str], ...]], float]) -> dict[tuple[str, ...], float]:
    """(code, method, route, status) -> count"""
    return {tuple(value for _, value in labels): count for (name, labels), count in samples.items() if name == "scopegate_requests_total"}


def test_requests_are_counted_by_route_method_class_and_code() -> None:
    counters = Counters()
    counters.requests["/a/{id}", "GET", 200, ""] += 3
    counters.requests["/a/{id}", "GET", 204, ""] += 1
    counters.requests["/a/{id}", "GET", 403, "scope_missing"] += 2
    counters.requests["", "POST", 401, "token_unknown"] += 5
    assert _requests(_samples(counters)) == {
        ("", "GET", "/a/{id}", "2xx"): 4,
        ("scope_missing", "GET", "/a/{id}", "4xx"): 2,
        ("token_unknown", "POST", "", "4xx"): 5,
    }


def test_methods_that_no_route_takes_share_one_label() -> None:
    counters = Counters()
    for method in ("PROPFIND", "BREW", "", "get"):
        counters.requests["", method, 405, "method_not_allowed"] += 1
    assert _requests(_samples(counters)) == {("method_not_allowed", "other", "", "4xx"): 4}


@pytest.mark.parametrize(("status", "label"), [(101, "1xx"), (200, "2xx"), (308, "3xx"), (499, "4xx"), (599, "5xx"), (0, "none"), (999, "none")])
def test_statuses_are_told_by_class(status: int, label: str) -> None:
    assert status_class(status) == label


def test_a_template_with_odd_characters_stays_one_label() -> None:
    counters = Counters()
    counters.requests['/a"b\\c\n', "GET", 200, ""] += 1
    assert ("", "GET", '/a"b\\c\n', "2xx") in _requests(_samples(counters))


def test_plain_counts_have_their_own_names() -> None:
    counters = Counters()
    counters.bytes_up, counters.bytes_down, counters.connections, counters.connections_open = 1, 2, 3, 4
    counters.lookups, counters.store_errors, counters.upstream_retries, counters.policy_reloads, counters.policy_reloads_refused = 5, 6, 7, 8, 9
    counters.streams_open, counters.worker_restarts, counters.cache_records, counters.cache_negatives = 10, 11, 12, 13
    counters.policy_refused = 1
    samples = _samples(counters)
    assert {name: samples[name, ()] for name, labels in samples if not labels and name.startswith("scopegate_")} == {
        "scopegate_request_body_bytes_total": 1,
        "scopegate_response_body_bytes_total": 2,
        "scopegate_connections_total": 3,
        "scopegate_connections_open": 4,
        "scopegate_store_lookups_total": 5,
        "scopegate_store_errors_total": 6,
        "scopegate_upstream_retries_total": 7,
        "scopegate_policy_reloads_total": 8,
        "scopegate_policy_reloads_refused_total": 9,
        "scopegate_policy_refused": 1,
        "scopegate_streams_open": 10,
        "scopegate_worker_restarts_total": 11,
        "scopegate_cache_records": 12,
        "scopegate_cache_negatives": 13,
        "scopegate_policy_scopes": 1,
        "scopegate_policy_routes": 1,
    }


def test_the_policy_in_force_is_told_by_its_hash() -> None:
    assert _samples(Counters())["scopegate_policy_info", (("hash", POLICY.hash),)] == 1


def test_every_family_has_a_help_line_and_a_registry_of_its_own() -> None:
    first, second = Exposition(Counters(), lambda: POLICY), Exposition(Counters(), lambda: POLICY)
    text = first.render("")[0].decode()
    assert second.render("")[0]
    families = {line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    assert families == {line.split(" ")[2] for line in text.splitlines() if line.startswith("# HELP ") and line.split(" ", 3)[3]}
    assert "process_resident_memory_bytes" in families
    assert "python_gc_objects_collected_total" not in families, "another's registry was asked"


def test_nothing_is_asked_of_the_policy_before_metrics_are() -> None:
    def none() -> Policy:
        raise AssertionError("asked too early")

    Exposition(Counters(), none)


def test_of_a_process_that_has_ended_what_it_did_stays_and_what_it_had_is_gone() -> None:
    last, past = Counters(), Counters()
    for name in ("connections", "lookups", "connections_open", "streams_open", "cache_records", "cache_negatives"):
        setattr(last, name, 5)
    past.keep(last)
    assert (past.connections, past.lookups) == (5, 5)
    assert (past.connections_open, past.streams_open, past.cache_records, past.cache_negatives) == (0, 0, 0, 0)
