"""``enforcement: report``: what would be refused is noted and forwarded, so that the gateway can stand before an API that already has users."""

from __future__ import annotations

import base64
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.flow.test_streams import quiet
from tests.harness.fixtures import CREDENTIAL
from tests.harness.gateway import POLICY, GatewayProcess
from tests.harness.upstream import ScriptedUpstream
from tests.harness.waiting import eventually
from tests.harness.wire import request

BASIC = "Basic YW5hOnNlY3JldA=="
DIGEST = 'Digest username="ana", realm="api", nonce="1", uri="/", response="2"'
REPORTING = POLICY.replace("unmapped:", '  - {path: "/4/strict/**", scope: worklogs, enforcement: enforce}\nunmapped:') + "enforcement: report\n"
ONE_ROUTE = POLICY.replace('"/4/teams/**", scope: teams', '"/4/teams/**", scope: teams, enforcement: report')


@pytest.fixture(scope="module")
def api() -> Iterator[ScriptedUpstream]:
    """The API that has users of its own."""
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def reporting(api: ScriptedUpstream) -> Iterator[GatewayProcess]:
    with GatewayProcess(api.url, policy=REPORTING) as gateway:
        yield gateway
        assert "Traceback" not in gateway.log()
        assert "report this" not in gateway.log()


def line_of(gateway: GatewayProcess, request_id: str) -> dict[str, Any]:
    return eventually(lambda: [line for line in gateway.access_lines() if line["request_id"] == request_id], "the line in the log")[0]


@pytest.mark.parametrize("credential", [BASIC, DIGEST, "Bearer of-the-api", "ApiKey k, and more", "Bearer", "Bearer sgt_cut", "Basic sgt_no-base64"])
@pytest.mark.parametrize(("method", "target"), [("GET", "/4/worklogs/1"), ("GET", "/not/mapped"), ("DELETE", "/4/files/a"), ("GET", "/4/worklogs/hidden")])
def test_a_credential_that_is_not_ours_goes_up_unchanged(method: str, target: str, credential: str, reporting: GatewayProcess, api: ScriptedUpstream) -> None:
    api.clear()
    answer = reporting.ask(method, target, f"Authorization: {credential}")
    assert answer.status == 200
    (seen,) = api.seen
    assert (seen.target, seen.one("Authorization")) == (target, credential)
    assert not [name for name in seen.names if name.startswith("x-scopegate")]


def test_what_would_be_refused_is_logged_and_counted(reporting: GatewayProcess) -> None:
    before = reporting.metric("scopegate_reported_total")
    for number, (method, target, code) in enumerate(
        [
            ("GET", "/4/worklogs/1", "token_missing"),
            ("GET", "/not/mapped?q=private", "token_missing"),
            ("GET", "/4/worklogs/1", "token_malformed"),
        ]
    ):
        fields = ["Authorization: Bearer nothing"] if code == "token_malformed" else []
        assert reporting.ask(method, target, f"X-Request-Id: reported-{number}", *fields).status == 200
        line = line_of(reporting, f"reported-{number}")
        assert (line["reported"], line["status"], line["path"], line.get("code")) == (code, 200, target.partition("?")[0], None)
        assert line.get("route", "") == ("" if "not" in target else "/4/worklogs/**")
    assert reporting.metric("scopegate_reported_total") == before + 3
    assert "private" not in reporting.log()
    text = reporting.admin("GET", "/metrics")[2].decode()
    assert 'scopegate_reported_total{code="token_missing",method="GET",route="/4/worklogs/**",status="2xx"}' in text


@pytest.mark.parametrize(
    ("target", "code"),
    [("/4/teams/1", "scope_missing"), ("/not/mapped", "route_unmapped"), ("/4/worklogs/hidden", "route_unmapped"), ("/4/files/x", "method_not_allowed")],
)
def test_a_good_token_that_may_not_is_named_to_the_upstream_and_its_owner_sees_why(
    target: str, code: str, reporting: GatewayProcess, api: ScriptedUpstream
) -> None:
    token = reporting.make("worklogs", owner="ana")
    api.clear()
    assert reporting.ask("DELETE" if "files" in target else "GET", target, f"X-Request-Id: of-{token.id}", token=token.secret).status == 200
    (seen,) = api.seen
    assert (seen.one("X-Scopegate-Token-Id"), seen.one("X-Scopegate-Subject"), seen.one("Authorization")) == (token.id, "ana", None)
    assert (line := line_of(reporting, f"of-{token.id}"))["reported"] == code
    assert (line["token_id"], line["owner"]) == (token.id, "ana")
    (refusal,) = eventually(lambda: reporting.api("GET", f"/tokens/{token.id}/denials")["items"], "the refusal")
    assert refusal["code"] == code


@pytest.mark.parametrize("end", ["revoke", "suspend", "expire", "regenerate"])
def test_an_ended_token_is_forwarded_without_a_name(end: str, reporting: GatewayProcess, api: ScriptedUpstream) -> None:
    token = reporting.make("worklogs")
    if end == "expire":
        reporting.expire(token.id)
    elif end == "revoke":
        reporting.api("DELETE", f"/tokens/{token.id}")
    else:
        reporting.api("POST", f"/tokens/{token.id}/{end}", {})
    api.clear()
    assert reporting.ask("GET", "/4/worklogs/1", token=token.secret).status == 200
    (seen,) = api.seen
    assert not [name for name in seen.names if name.startswith("x-scopegate") or name == "authorization"]
    (refusal,) = eventually(lambda: reporting.api("GET", f"/tokens/{token.id}/denials")["items"], "the refusal")
    assert refusal["code"].startswith("token_")


def test_an_allowed_request_is_not_reported(reporting: GatewayProcess, api: ScriptedUpstream) -> None:
    token = reporting.make("worklogs")
    api.clear()
    assert reporting.ask("GET", "/4/worklogs/1", f"X-Request-Id: allowed-{token.id}", token=token.secret).status == 200
    assert "reported" not in line_of(reporting, f"allowed-{token.id}")
    assert api.seen[0].one("X-Scopegate-Token-Id") == token.id


def test_no_text_of_token_form_goes_up(reporting: GatewayProcess, api: ScriptedUpstream) -> None:
    """Seen to fail with every Authorization passed on."""
    token = reporting.make("worklogs")
    api.clear()
    for credential in (
        f"Bearer {token.secret[:-1]}",
        f"Bearer {token.secret[:20]} {token.secret[20:]}",
        f"Bearer {token.secret.replace('_', '%255F')}",
        *(f"Basic {base64.b64encode(pair.encode()).decode()}" for pair in (f"x:{token.secret}", f"{token.secret}:", f"{token.secret[:-1]}:x")),
        f"Token {token.secret}",
        f"Bearer {token.secret}, Basic x",
        f"Bearer x{token.secret}"[:-1] + " " + token.secret,
        f"Bearer  {token.secret}",
    ):
        assert reporting.ask("GET", "/4/worklogs/1", f"Authorization: {credential}").status == 200
    assert reporting.ask("GET", f"/4/worklogs/{token.secret}").code == "credential_ambiguous"
    api.settle()
    assert len(api.seen) == 10
    assert not any(seen.all("authorization") for seen in api.seen)
    assert token.secret.encode() not in api.received


@pytest.mark.parametrize(
    ("target", "fields", "code"),
    [
        ("/4/worklogs/../teams", [], "path_ambiguous"),
        ("/4/worklogs//1", [], "path_ambiguous"),
        ("/4/worklogs/%2E%2E/1", [], "path_ambiguous"),
        ("/4/worklogs/a%2Fb", [], "path_ambiguous"),
        ("/4/worklogs/1", [f"Authorization: {BASIC}", f"Authorization: {BASIC}"], "credential_ambiguous"),
        ("/4/worklogs/1", ["Content-Length: 1", "Transfer-Encoding: chunked"], "request_invalid"),
    ],
)
def test_what_two_programs_could_read_differently_is_refused_all_the_same(
    target: str, fields: list[str], code: str, reporting: GatewayProcess, api: ScriptedUpstream
) -> None:
    api.clear()
    assert reporting.ask("GET", target, *fields).code == code
    api.settle()
    assert not api.seen


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_methods_that_are_never_forwarded_are_not(method: str, reporting: GatewayProcess) -> None:
    assert reporting.ask(method, "/4/worklogs/1").status == 405


def test_a_route_that_enforces_stays_so_in_a_policy_that_reports(reporting: GatewayProcess) -> None:
    assert reporting.ask("GET", "/4/strict/1").code == "token_missing"
    assert reporting.ask("GET", "/4/strict/1", f"Authorization: {BASIC}").code == "token_missing"


def test_a_public_route_passes_the_credential_too(reporting: GatewayProcess, api: ScriptedUpstream) -> None:
    api.clear()
    assert reporting.ask("GET", "/4/status/1", f"Authorization: {BASIC}").status == 200
    assert api.seen[0].one("Authorization") == BASIC


def test_what_connection_names_goes_no_further(reporting: GatewayProcess, api: ScriptedUpstream) -> None:
    api.clear()
    assert reporting.ask("GET", "/4/worklogs/1", f"Authorization: {BASIC}", "Connection: authorization").status == 200
    assert api.seen[0].one("Authorization") is None


def test_a_rate_limit_counts_and_lets_through(reporting: GatewayProcess) -> None:
    token = reporting.make("worklogs")
    for number in range(4):
        assert reporting.ask("GET", "/4/limited/a", f"X-Request-Id: limit-{number}-{token.id}", token=token.secret).status == 200
    assert [line_of(reporting, f"limit-{number}-{token.id}").get("reported") for number in range(4)] == [None, None, "rate_limited", "rate_limited"]


def test_only_the_route_that_reports_lets_through(api: ScriptedUpstream) -> None:
    with GatewayProcess(api.url, policy=ONE_ROUTE) as gateway:
        assert gateway.ask("GET", "/4/teams/1", f"Authorization: {BASIC}").status == 200
        assert api.seen[-1].one("Authorization") == BASIC
        assert gateway.ask("GET", "/4/worklogs/1", f"Authorization: {BASIC}").code == "token_missing"
        token = gateway.make("worklogs")
        assert gateway.ask("GET", "/not/mapped", token=token.secret).code == "route_unmapped"
        assert gateway.ask("GET", "/4/teams/1", token=token.secret).status == 200


def test_with_credentials_the_upstream_gets_them_and_nothing_else(api: ScriptedUpstream) -> None:
    with GatewayProcess(
        api.url,
        policy=REPORTING,
        upstream={"credentials": {"header": "Authorization", "env": "UPSTREAM_VALUE"}},
        environ={"UPSTREAM_VALUE": CREDENTIAL},
    ) as gateway:
        api.clear()
        assert gateway.ask("GET", "/4/worklogs/1", f"Authorization: {BASIC}").status == 200
        assert api.seen[0].all("Authorization") == [CREDENTIAL]
        assert "whoever reaches" in gateway.log()


def test_an_open_stream_and_a_store_that_is_away_do_not_break_who_was_there_before(api: ScriptedUpstream) -> None:
    with GatewayProcess(api.url, policy=REPORTING, settings={"store": {"data_dir": "data", "timeout": "250ms"}}) as gateway:
        gateway.data_dir = gateway.folder / "data"
        token = gateway.make("worklogs")
        pid = gateway.store_pid()
        assert pid is not None
        with gateway.wire() as wire:
            for _ in range(3):
                gateway.kill_store()
                wire.send(request("GET", "/4/worklogs/1", f"X-Request-Id: away-{token.id}", token=token.secret))
                assert wire.answer().status == 200


def test_a_stream_ends_with_its_token_once_the_policy_enforces(api: ScriptedUpstream) -> None:
    """Seen to fail with the route by which it was let through: the token's end then meant nothing."""
    with GatewayProcess(api.url, policy=REPORTING) as gateway:
        token = gateway.make("worklogs")
        api.script("stream", b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n8\r\ndata: 1\n\r\n", quiet)
        with gateway.wire(timeout=30) as wire:
            wire.send(request("GET", "/4/worklogs/stream", token=token.secret))
            assert wire.head().status == 200
            gateway.policy_file.write_text(REPORTING.replace("enforcement: report", "enforcement: enforce"))
            gateway.tell(signal.SIGHUP)
            gateway.wait_log("policy reloaded")
            gateway.api("DELETE", f"/tokens/{token.id}")
            assert wire.wait_closed()


def test_an_unmapped_path_needs_an_upstream_to_go_to(api: ScriptedUpstream) -> None:
    gateway = GatewayProcess(api.url, policy=REPORTING.replace("scope: worklogs", "scope: worklogs, upstream: api"))
    try:
        gateway.settings["upstreams"]["other"] = {"url": api.url}
        done = gateway.cli("serve")
        assert done.returncode == 2
        assert "enforcement: report: what no route maps needs an upstream" in done.stderr
    finally:
        gateway.close()
