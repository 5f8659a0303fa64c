"""G7: after a storm of good, bad and broken requests no secret is in a log, a metric, an answer, a byte that went up, or the store's files."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.harness.fixtures import CREDENTIAL
from tests.harness.gateway import ADMIN_KEY, GatewayProcess
from tests.harness.upstream import CLOSE, ScriptedUpstream
from tests.harness.websocket import ASKS, SWITCH, echo
from tests.harness.wire import Closed, request


@pytest.fixture
def own(shared_upstream: ScriptedUpstream) -> Iterator[GatewayProcess]:
    upstream = {"credentials": {"header": "X-Upstream-Key", "env": "UPSTREAM_VALUE"}, "rewrite_urls": True}
    with GatewayProcess(
        shared_upstream.url,
        upstream=upstream,
        settings={"public_url": "https://api.public.test", "limits": {"header_timeout": "1s", "body_idle": "1s"}},
        environ={"UPSTREAM_VALUE": CREDENTIAL},
    ) as gateway:
        yield gateway


def storm(secret: str) -> list[bytes]:
    """Requests that carry a secret where somebody might quote it."""
    bearer, coded = f"Authorization: Bearer {secret}", secret.replace("_", "%5F")
    lines = [
        f"GET /4/worklogs/1 HTTP/1.1\r\nHost: a\r\n{bearer}\r\n\r\n",
        f"GET /4/worklogs/1?t={secret} HTTP/1.1\r\nHost: a\r\n{bearer}\r\n\r\n",
        f"GET /4/worklogs/{coded} HTTP/1.1\r\nHost: a\r\n\r\n",
        f"GET /{secret} HTTP/1.1\r\nHost: a\r\n\r\n",
        f"GET /4/status/{secret[:30]}x{secret[31:]} HTTP/1.1\r\nHost: a\r\n\r\n",
        f"GET /4/teams/1 HTTP/1.1\r\nHost: a\r\n{bearer}\r\n\r\n",
        f"GET /5 HTTP/1.1\r\nHost: a\r\n{bearer}\r\nX-Request-Id: {secret}\r\n\r\n",
        f"GET /4/worklogs/1 HTTP/1.1\r\nHost: a\r\n{bearer}\r\nCookie: {secret}\r\nX-{secret}: a\r\nX-A: {secret}, b\r\nReferer: https://x/?t={secret}\r\n\r\n",
        f"GET /4/worklogs/1 HTTP/1.1\r\nHost: {secret}\r\n{bearer}\r\n\r\n",
        f"GET /4/worklogs/1 HTTP/1.1\r\nHost: a\r\nAuthorization : Bearer {secret}\r\n\r\n",
        f"GET /4/worklogs/1 HTTP/1.1\r\nHost: a\r\n{bearer}\0\r\n\r\n",
        f"GET /4/worklogs/1 HTTP/1.1\r\nHost: a\r\n{bearer}\r\n{bearer}\r\n\r\n",
        f"GET /4/worklogs/1 HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {secret}\r\n\r\n",
        f"GET /4/worklogs/1 HTTP/1.1\r\nHost: a\r\nProxy-Authorization: Bearer {secret}\r\n{bearer}\r\n\r\n",
        f"GET /4/worklogs/1 HTTP/1.1\r\nHost: a\r\n{bearer} {secret}\r\n\r\n",
        f"GET /4/worklogs/1 HTTP/1.1\r\nHost: a\r\nAuthorization:\r\n Bearer {secret}\r\n\r\n",
        f"{secret} /4/worklogs/1 HTTP/1.1\r\nHost: a\r\n{bearer}\r\n\r\n",
        f"GET {secret} HTTP/1.1\r\nHost: a\r\n\r\n",
        f"GET http://{secret}@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        f"GET /4/worklogs/1 {secret}\r\nHost: a\r\n\r\n",
        f"{secret}\r\n\r\n",
        f"POST /4/worklogs HTTP/1.1\r\nHost: a\r\n{bearer}\r\nTransfer-Encoding: {secret}\r\n\r\n",
        f"POST /4/worklogs HTTP/1.1\r\nHost: a\r\n{bearer}\r\nContent-Length: {secret}\r\n\r\n",
        f"POST /4/worklogs HTTP/1.1\r\nHost: a\r\n{bearer}\r\nTransfer-Encoding: chunked\r\n\r\n1;{secret}\r\nx\r\n0\r\nAuthorization: Bearer {secret}\r\n\r\n",
        f"POST /4/worklogs HTTP/1.1\r\nHost: a\r\n{bearer}\r\nTransfer-Encoding: chunked\r\n\r\n{secret}\r\n",
        f"POST /4/worklogs HTTP/1.1\r\nHost: a\r\n{bearer}\r\nExpect: {secret}\r\nContent-Length: 0\r\n\r\n",
        f"GET /4/status/1 HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YTpi\r\nX-A: {secret}\r\n\r\n",
        f"GET /4/worklogs/1 HTTP/1.1\r\nHost: a\r\n{bearer}\r\nConnection: {secret}\r\n\r\n",
        f"GET /4/worklogs/1 HTTP/1.1\r\nHost: a\r\n{bearer}\r\nConnection: Upgrade\r\nUpgrade: {secret}\r\n\r\n",
        f"GET /4/worklogs/1 HTTP/1.1\r\nHost: a\r\n{bearer}\r\nTE: {secret}\r\nX-Forwarded-For: {secret}\r\nForwarded: for={secret}\r\n\r\n",
        f"GET /4/worklogs/socket HTTP/1.1\r\nHost: a\r\n{bearer}\r\nSec-WebSocket-Protocol: {secret}\r\n" + "\r\n".join(ASKS) + "\r\n\r\n",
        f"GET /4/worklogs/dies HTTP/1.1\r\nHost: a\r\n{bearer}\r\n\r\n",
        f"GET /4/worklogs/garbage HTTP/1.1\r\nHost: a\r\n{bearer}\r\n\r\n",
        f"GET /4/worklogs/1 HTTP/1.1\r\nHost: a\r\n{bearer}\r\nX: " + "a" * 40_000 + "\r\n\r\n",
        f"GET /4/worklogs/1 HTTP/1.1\r\nHost: a\r\n{bearer}\r\n",
    ]
    return [line.encode("latin-1") for line in lines]


def test_no_secret_is_anywhere(own: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Seen to fail with ``drop_tokens`` (inbound/request.py) made to do nothing, or done only for more texts than fields of
    Authorization, and with the detail of a parse error quoting the line."""
    upstream.credential = None
    upstream.script("socket", SWITCH, echo)
    upstream.script("dies", CLOSE)
    upstream.script("garbage", b"garbage\r\n\r\n")
    good, gone, renewed = own.make("worklogs"), own.make("worklogs"), own.make("worklogs")
    own.api("DELETE", f"/tokens/{gone.id}")
    new = own.api("POST", f"/tokens/{renewed.id}/regenerate", {})["secret"]
    secrets = [good.secret, gone.secret, renewed.secret, new]
    answers = bytearray()
    for secret in secrets:
        for data in storm(secret):
            with own.wire() as wire:
                wire.send(data)
                wire.half_close()
                answers += wire.wait_closed()
    for secret in secrets:
        with own.wire() as wire:
            wire.send(request("GET", "/4/worklogs/1", token=secret))
            try:
                answers += repr(wire.answer()).encode()
            except Closed:
                continue
    # The management port, with everything that may be told of a token.
    for path in (
        "/metrics",
        "/readyz",
        "/healthz",
        "/api/v1/tokens",
        f"/api/v1/tokens/{good.id}",
        f"/api/v1/tokens/{new}",
        f"/api/v1/tokens?q={good.secret}",
        "/nothing",
    ):
        status, fields, body = own.admin("GET", path)
        # What a caller asks for in a page's address is its own.
        answers += repr((status, {name: value for name, value in fields.items() if name != "link"})).encode() + body
    status, _, body = own.admin("GET", "/api/v1/tokens", key=good.secret)
    answers += body
    assert status == 401
    metrics = own.admin("GET", "/metrics")[2]
    shown = own.cli("token", "list", "--json").stdout + own.cli("token", "show", good.id).stdout
    upward = bytes(upstream.received)
    assert own.stop() == 0
    files = b"".join(file.read_bytes() for file in own.data_dir.rglob("*") if file.is_file())
    places = {"answers": bytes(answers), "metrics": metrics, "command line": shown.encode(), "log": own.log().encode(), "upstream": upward, "files": files}
    for where, text in places.items():
        for secret in [*secrets, ADMIN_KEY]:
            # The part that is secret alone too: a cut or re-joined text is a leak all the same.
            for part in {secret, secret.replace("_", "%5F"), secret.rpartition("_")[2][:32]}:
                assert part.encode() not in text, f"a secret is in: {where}"
        if where != "upstream":
            assert CREDENTIAL.encode() not in text, f"the operator's credential is in: {where}"
    assert not re.search(rb"authorization", upward, re.IGNORECASE)
    assert upward.count(CREDENTIAL.encode()) == len(upstream.seen)
    assert len(upstream.seen) > 20
    assert "Traceback" not in own.log()
