"""Who may come in at the management port, and what it never tells: on real sockets."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from gateway.management import payload
from gateway.management import server as management_server
from gateway.management.server import ManagementServer
from gateway.ports import StoreUnavailable
from gateway.store.server import Store
from tests.flow.management_port import KEY, Answer, Port, management_port

TOKENS = "/api/v1/tokens"


@pytest.fixture
async def port(store: Store) -> AsyncIterator[Port]:
    async with management_port(store, hosts=("Gate.example",)) as running:
        yield running


def refused(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.json["code"]) == (status, code), answer.body
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-request-id"] == answer.json["request_id"]
    assert "aiohttp" not in str(answer)


@pytest.mark.parametrize("path", [TOKENS, f"{TOKENS}/000000000000", f"{TOKENS}/000000000000/suspend", "/api/v1/nothing", "/api/"])
async def test_without_the_key_every_path_of_the_api_answers_alike(port: Port, path: str) -> None:
    answer = await port.ask("POST", path, {"name": "x", "grants": ["worklogs"]}, key=None)
    refused(answer, 401, "admin_key_missing")
    assert answer.headers["www-authenticate"] == 'Bearer realm="scopegate"'


@pytest.mark.parametrize("key", ["guessed", KEY[:-1], KEY + "x", KEY.upper(), "é"])
async def test_a_wrong_key_is_401_and_is_not_repeated(port: Port, key: str) -> None:
    answer = await port.ask("GET", TOKENS, key=key)
    refused(answer, 401, "admin_key_wrong" if key.isascii() else "admin_key_missing")
    assert key not in answer.body.decode()


async def test_the_challenge_of_a_wrong_key_says_invalid_token(port: Port) -> None:
    answer = await port.ask("GET", TOKENS, key="x" * 40)
    refused(answer, 401, "admin_key_wrong")
    assert answer.headers["www-authenticate"].startswith('Bearer realm="scopegate", error="invalid_token"')


@pytest.mark.parametrize("value", [f"Basic {KEY}", KEY, "Bearer", "Bearer "])
async def test_the_key_comes_as_bearer_only(port: Port, value: str) -> None:
    refused(await port.ask("GET", TOKENS, Authorization=value), 401, "admin_key_missing")


async def test_a_token_of_the_data_plane_is_no_key(port: Port) -> None:
    secret = (await port.make())["secret"]
    refused(await port.ask("GET", TOKENS, key=secret), 401, "admin_key_wrong")


async def test_two_credentials_are_refused(port: Port) -> None:
    refused(await port.ask("GET", TOKENS, Authorization=f"Bearer {KEY}, Bearer {KEY}"), 400, "credential_ambiguous")
    twice = f"GET {TOKENS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\r\n"
    refused(await port.send(twice.encode()), 400, "credential_ambiguous")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:1", "localhost", "LOCALHOST:8081", "gate.example", "gate.EXAMPLE:443", "[::ffff:127.0.0.1]:8081"])
async def test_the_ports_own_names_are_answered(port: Port, host: str) -> None:
    assert (await port.ask("GET", TOKENS, Host=host)).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.2", "[::1]", "0.0.0.0", "2130706433", "evil.example:8081"]
)
@pytest.mark.parametrize("path", [TOKENS, "/healthz", "/readyz", "/metrics", "/nothing"])
async def test_any_other_host_gets_nothing_even_with_the_key(port: Port, host: str, path: str) -> None:
    refused(await port.ask("GET", path, Host=host), 421, "host_unknown")


@pytest.mark.parametrize("host", ["", "a b", "localhost/x", "user@localhost", "localhost:port", "[::1"])
async def test_a_missing_or_broken_host_is_400(port: Port, host: str) -> None:
    refused(await port.ask("GET", "/healthz", Host=host), 400, "request_invalid")


async def test_two_hosts_are_refused(port: Port) -> None:
    answer = await port.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    refused(answer, 400, "request_invalid")


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/tokens/../tokens",
        "/api/v1/%74okens",
        "//api/v1/tokens",
        "/api/v1//tokens",
        "/api/v1/tokens;x",
        "/%2e%2e/api/v1/tokens",
        "http://localhost/api/v1/tokens",
        "*",
        "/api/v1/tokens%00",
    ],
)
async def test_a_path_that_can_be_read_in_two_ways_is_refused(port: Port, target: str) -> None:
    method = "OPTIONS" if target == "*" else "GET"
    refused(await port.ask(method, target), 400, "path_ambiguous")


@pytest.mark.parametrize("path", ["/api/v1/tokens/", "/api/v2/tokens", "/favicon.ico", "/metrics/x", "/API/v1/tokens"])
async def test_an_unknown_path_is_404(port: Port, path: str) -> None:
    refused(await port.ask("GET", path), 404, "not_found")


@pytest.mark.parametrize(
    "data",
    [
        b"GET /api/v1/tokens HTTP/1.1\r\nHost: localhost\r\nAuthorization : Bearer " + KEY.encode() + b"\r\n\r\n",
        b"GET /" + KEY.encode() + b"\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00" + KEY.encode() + b"\r\n\r\n",
        b"POST /api/v1/tokens HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + KEY.encode() + b"\r\n\r\n",
        b"GET /" + b"a" * 9000 + KEY.encode() + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nExpect: " + KEY.encode() + b"\r\nConnection: close\r\n\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nExpect: " + KEY.encode() + b"\r\nConnection: close\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused_without_a_word_of_it_in_answer_or_log(port: Port, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answer = await port.send(data)
    assert answer.status in {400, 417}
    refused(answer, answer.status, "expectation_failed" if answer.status == 417 else "request_invalid")
    assert KEY not in answer.body.decode() + str(answer.headers) + caplog.text
    assert "failed" not in caplog.text  # it is no fault of ours, and whoever can reach the port could fill the log


async def test_a_key_in_use_is_in_no_log(port: Port, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await port.make()
    await port.ask("POST", TOKENS, raw=b"{")
    await port.ask("GET", TOKENS, key="w" * 40)
    assert KEY not in caplog.text
    assert "w" * 40 not in caplog.text


async def test_a_failure_is_500_without_details_and_one_log_line_with_its_type(port: Port, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ZeroDivisionError("hunter2")

    port.fails = fail
    refused(await port.ask("GET", "/readyz"), 500, "internal_error")
    lines = [record.getMessage() for record in caplog.records if record.name == "scopegate.management"]
    assert lines == ["a request to the management port failed: ZeroDivisionError"]
    assert "hunter2" not in caplog.text


async def test_a_safe_request_id_is_kept_and_another_replaced(port: Port) -> None:
    assert (await port.ask("GET", "/healthz", X_Request_Id="abc-123")).headers["x-request-id"] == "abc-123"
    answer = await port.ask("GET", "/healthz", X_Request_Id="$(rm)")
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_every_answer_forbids_sniffing_keeping_and_framing(port: Port) -> None:
    await port.make()
    for path in (TOKENS, "/healthz", "/readyz", "/metrics", "/nothing"):
        headers = (await port.ask("GET", path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["server"] == "scopegate"


async def test_health_readiness_and_metrics_need_no_key(port: Port) -> None:
    assert (await port.ask("GET", "/healthz", key=None)).json == {"status": "ok"}
    ready = await port.ask("GET", "/readyz", key=None)
    assert (ready.status, ready.json["ready"], ready.json["reasons"]) == (200, True, [])
    assert ready.json["policy"] == {"hash": port.policy.hash, "scopes": 2, "routes": 2}
    assert (await port.ask("GET", "/metrics", key=None)).status == 200


async def test_not_ready_is_503_with_its_reasons(port: Port) -> None:
    port.reasons = ["the gateway is shutting down"]
    answer = await port.ask("GET", "/readyz")
    assert (answer.status, answer.json["ready"], answer.json["reasons"]) == (503, False, ["the gateway is shutting down"])
    assert answer.headers["retry-after"] == "1"


async def test_a_store_that_does_not_answer_is_not_ready(port: Port) -> None:
    def fail() -> None:
        raise StoreUnavailable("10.0.0.1 refused hunter2")

    port.fails = fail
    answer = await port.ask("GET", "/readyz")
    assert (answer.status, answer.json["reasons"]) == (503, ["the token store does not answer"])


async def test_head_of_a_page_has_no_body(port: Port) -> None:
    answer = await port.ask("HEAD", "/healthz")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 0


async def test_metrics_count_the_ports_own_calls_by_template(port: Port) -> None:
    token_id = (await port.make())["token"]["id"]
    await port.ask("GET", f"{TOKENS}/{token_id}")
    await port.ask("GET", f"{TOKENS}/{token_id}", key="w" * 40)
    await port.ask("GET", "/nothing/of/the/kind")
    text = (await port.ask("GET", "/metrics")).body.decode()
    assert 'scopegate_management_requests_total{code="",method="GET",route="/api/v1/tokens/{id}",status="2xx"} 1.0' in text
    assert 'scopegate_management_requests_total{code="admin_key_wrong",method="GET",route="",status="4xx"} 1.0' in text
    assert token_id not in text
    assert "kind" not in text


async def test_metrics_come_as_openmetrics_to_who_asks(port: Port) -> None:
    answer = await port.ask("GET", "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.body.endswith(b"# EOF\n")


async def test_requests_one_after_another_use_one_connection(port: Port) -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
    writer.write(one + one + last)
    async with asyncio.timeout(20):
        received = await reader.read()
    writer.close()
    assert received.count(b"HTTP/1.1 200 OK") == 3


async def test_a_port_in_use_is_an_oserror(port: Port) -> None:
    with pytest.raises(OSError, match="in use"):
        await ManagementServer(web.Application()).start("127.0.0.1", port.port)


async def test_a_body_that_does_not_come_is_408(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "BODY_TIMEOUT_S", 0.05)
    head = f"POST {TOKENS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n"
    refused(await port.send(head.encode() + b"{"), 408, "request_timeout")


async def test_a_body_that_is_cut_off_makes_nothing(port: Port) -> None:
    head = f"POST {TOKENS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await port.send(head.encode() + b'25\r\n{"name": "x", "grants": ["worklogs"]}\r\nnonsense\r\n\r\n')
    refused(answer, 400, "request_invalid")
    assert (await port.ask("GET", TOKENS)).json["items"] == []


async def test_a_client_that_goes_away_with_half_a_body_costs_no_line_of_the_log(port: Port, caplog: pytest.LogCaptureFixture) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port.port)
    head = f"POST {TOKENS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n"
    writer.write(head.encode() + b"{")
    await writer.drain()
    writer.transport.abort()
    async with asyncio.timeout(20):
        while not port.counters.management:
            await asyncio.sleep(0.005)
    assert dict(port.counters.management) == {(TOKENS, "POST", 400, "request_invalid"): 1}
    assert not caplog.records


async def test_a_head_that_does_not_come_is_not_waited_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(management_server, "_IDLE_S", 0.05)
    async with management_port(store) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: local")
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()


async def test_closing_lets_a_request_in_flight_finish(store: Store) -> None:
    async with management_port(store) as port:
        entered, leave = asyncio.Event(), asyncio.Event()

        async def slow() -> list[str]:
            entered.set()
            await leave.wait()
            return []

        port.waits = slow
        asked = asyncio.create_task(port.ask("GET", "/readyz"))
        await entered.wait()
        asyncio.get_running_loop().call_later(0.05, leave.set)
    assert (await asked).status == 200
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port.port)
