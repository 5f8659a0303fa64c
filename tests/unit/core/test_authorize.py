"""The judgement of one record. The whole order of steps is in tests/vectors/decisions.yaml."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.authorize import check_grant, check_token, find_route, refuse_method
from gateway.core.decision import Denial
from gateway.core.path import CanonicalPath, canonicalise
from gateway.core.route import Route
from gateway.core.scope import parse_grants
from gateway.core.token_record import ACTIVE, REVOKED, SUSPENDED, LiveRecord
from gateway.policy_file.load import parse_policy

NOW = 1_800_000_000_000
SECRET, PREVIOUS, OTHER = b"s" * 32, b"p" * 32, b"o" * 32
HOME = ip_address("192.0.2.7")
POLICY = parse_policy(
    b"""
version: 1
scopes:
  worklogs: {}
  plans: {since: 2026-03-01, was: [planning]}
routes:
  - {path: /worklogs/**, scope: worklogs}
  - {path: /worklogs/search, methods: [POST], scope: worklogs, access: view}
  - {path: /plans/**, scope: plans}
  - {path: "/files/{name}", methods: [GET], scope: worklogs, encoded_slash: true}
  - {path: /status, methods: [GET], public: true}
  - {path: /live, methods: [GET], scope: worklogs, access: view}
unmapped: [GET /worklogs/hidden]
""",
    "policy.yaml",
)


def record(**facts: object) -> LiveRecord:
    known = {
        "id": "abcdefghij01",
        "owner": "u1",
        "grants": parse_grants(["worklogs"]),
        "state": ACTIVE,
        "created_at": NOW - 1000,
        "expires_at": NOW + 1000,
        "version": 1,
        "digest": SECRET,
    }
    return LiveRecord(**(known | facts))  # type: ignore[arg-type]


def code(denial: Denial | None) -> str:
    return denial.reason.code if denial else ""


@pytest.mark.parametrize(
    ("now", "expected"),
    [(NOW + 999, ""), (NOW + 1000, "token_expired"), (NOW + 1001, "token_expired"), (NOW - 10_000_000, "")],
)
def test_a_token_expires_at_the_millisecond_and_not_before(now: int, expected: str) -> None:
    assert code(check_token(record(), SECRET, now, HOME)) == expected


def test_the_detail_of_an_expiry_names_its_time() -> None:
    denial = check_token(record(expires_at=1_796_083_200_000), SECRET, NOW, HOME)
    assert denial is not None
    assert "2026-12-01T00:00:00Z" in denial.detail


@pytest.mark.parametrize(("now", "expected"), [(NOW + 499, ""), (NOW + 500, "token_regenerated")])
def test_the_previous_secret_works_until_its_overlap_ends(now: int, expected: str) -> None:
    found = record(previous=PREVIOUS, overlap_until=NOW + 500)
    assert code(check_token(found, PREVIOUS, now, HOME)) == expected
    assert code(check_token(found, SECRET, now, HOME)) == ""


def test_a_token_that_was_never_regenerated_has_no_previous_secret_that_could_be_guessed() -> None:
    for guess in (b"\0" * 32, OTHER):
        assert code(check_token(record(), guess, NOW, HOME)) == "token_unknown"


@pytest.mark.parametrize("guess", [b"\0" * 32, b"", SECRET])
def test_no_record_is_an_unknown_token_whatever_is_sent(guess: bytes) -> None:
    assert code(check_token(None, guess, NOW, HOME)) == "token_unknown"


@given(
    state=st.sampled_from([ACTIVE, SUSPENDED, REVOKED]),
    expired=st.booleans(),
    overlap=st.booleans(),
    elsewhere=st.booleans(),
    sent=st.sampled_from([SECRET, PREVIOUS, OTHER]),
)
def test_which_refusal_wins(state: str, expired: bool, overlap: bool, elsewhere: bool, sent: bytes) -> None:
    found = record(
        state=state,
        expires_at=NOW if expired else NOW + 1,
        previous=PREVIOUS,
        overlap_until=NOW + 1 if overlap else 0,
        allowed_ips=(ip_network("198.51.100.0/24"),) if elsewhere else (),
    )
    verdict = check_token(found, sent, NOW, HOME)
    order = [
        (sent == OTHER, "token_unknown"),
        (state == REVOKED, "token_revoked"),
        (expired, "token_expired"),
        (state == SUSPENDED, "token_suspended"),
        (sent == PREVIOUS and not overlap, "token_regenerated"),
        (elsewhere, "ip_not_allowed"),
    ]
    assert code(verdict) == next((name for holds, name in order if holds), "")
    # The record, and so its owner, is told of only to who proved a secret.
    assert verdict is None or (verdict.record is None) == (sent == OTHER)


@pytest.mark.parametrize(
    ("networks", "address", "allowed"),
    [
        (["192.0.2.0/24"], "192.0.2.255", True),
        (["192.0.2.0/24"], "192.0.3.0", False),
        (["2001:db8::/32"], "2001:db8::1", True),
        (["2001:db8::/32"], "192.0.2.1", False),
        (["192.0.2.7/32"], "2001:db8::1", False),
        (["198.51.100.0/24", "192.0.2.7/32"], "192.0.2.7", True),
        ([], "192.0.2.7", True),
    ],
)
def test_an_allowed_address(networks: list[str], address: str, allowed: bool) -> None:
    found = record(allowed_ips=tuple(ip_network(text) for text in networks))
    assert (check_token(found, SECRET, NOW, ip_address(address)) is None) == allowed


# -- routes


def route(method: str, target: str) -> Route | Denial:
    path = canonicalise(target)
    assert isinstance(path, CanonicalPath)
    return find_route(POLICY, path, method)


@pytest.mark.parametrize(
    ("method", "target", "found"),
    [
        ("GET", "/worklogs/1", "/worklogs/**"),
        ("POST", "/worklogs/search", "/worklogs/search"),
        ("GET", "/worklogs/search", "/worklogs/**"),
        ("HEAD", "/status", "/status"),
        ("GET", "/files/a%2Fb", "/files/{name}"),
        ("GET", "/worklogs/hidden", "route_unmapped"),
        ("POST", "/worklogs/hidden", "/worklogs/**"),
        ("GET", "/nothing", "route_unmapped"),
        ("POST", "/status", "method_not_allowed"),
        ("GET", "/worklogs/a%2Fb", "path_ambiguous"),
        ("GET", "/nothing/a%2Fb", "path_ambiguous"),
        ("POST", "/files/a%2Fb", "path_ambiguous"),
        ("GET", "/files/a%2F..", "path_ambiguous"),
    ],
)
def test_a_request_finds_its_route_or_its_refusal(method: str, target: str, found: str) -> None:
    verdict = route(method, target)
    assert (verdict.template if isinstance(verdict, Route) else verdict.reason.code) == found


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_connect_and_trace_are_refused_with_the_seven_methods(method: str) -> None:
    denial = refuse_method(method)
    assert denial is not None
    assert denial.allow == ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@pytest.mark.parametrize("method", ["GET", "POST", "PROPFIND", "connect", ""])
def test_other_methods_are_left_to_the_routes(method: str) -> None:
    assert refuse_method(method) is None


# -- grants


@pytest.mark.parametrize(
    ("grants", "method", "target", "websocket", "missing"),
    [
        ("worklogs:view", "GET", "/worklogs/1", False, ""),
        ("worklogs:view", "OPTIONS", "/worklogs/1", False, ""),
        ("worklogs:view", "POST", "/worklogs/1", False, "worklogs:manage"),
        ("worklogs:view", "POST", "/worklogs/search", False, ""),
        ("worklogs", "DELETE", "/worklogs/1", False, ""),
        ("plans", "GET", "/worklogs/1", False, "worklogs:view"),
        ("", "GET", "/worklogs/1", False, "worklogs:view"),
        ("worklogs:view", "GET", "/worklogs/1", True, "worklogs:manage"),
        ("worklogs:view", "GET", "/live", True, ""),
        ("worklogs", "GET", "/worklogs/1", True, ""),
        ("", "GET", "/status", False, ""),
        ("worklogs:other", "GET", "/worklogs/1", False, "worklogs:view"),
    ],
)
def test_a_grant_is_enough_or_what_is_missing_is_told(grants: str, method: str, target: str, websocket: bool, missing: str) -> None:
    found = route(method, target)
    assert isinstance(found, Route)
    held = parse_grants([grant for grant in grants.split() if not grant.endswith("other")])
    denial = check_grant(found, held, NOW, method, websocket=websocket)
    if not missing:
        assert denial is None
        return
    assert denial is not None
    assert (denial.required_scope, denial.missing, denial.granted) == (missing, (missing,), tuple(held.text.split()))


def test_a_token_older_than_its_scope_does_not_hold_it_and_an_old_name_counts() -> None:
    since = 1_772_323_200_000  # 2026-03-01
    found = route("GET", "/plans/1")
    assert isinstance(found, Route)
    assert check_grant(found, parse_grants(["plans"]), since, "GET") is None
    assert code(check_grant(found, parse_grants(["plans"]), since - 1, "GET")) == "scope_missing"
    assert check_grant(found, parse_grants(["planning:view"]), since, "GET") is None
