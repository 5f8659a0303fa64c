"""tests/vectors/answers.yaml through sockets: what the client gets of an upstream's answer, good or bad, and whether its connection is used again."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.harness.fixtures import CREDENTIAL, PUBLIC
from tests.harness.gateway import GatewayProcess
from tests.harness.problems import check_refusal
from tests.harness.upstream import CLOSE, HALF_CLOSE, PLAIN, READ, RESET, Peer, ScriptedUpstream, Seen, Step
from tests.harness.vectors import cases, raw, table
from tests.harness.waiting import eventually
from tests.harness.wire import request

CASES = [case for part in table("answers") for case in cases("answers", part)]


def json_text(address: str) -> str:
    """A body with the address where it is rewritten, and OTHER's where it must stay as it is."""
    escaped = address.replace("/", "\\/")
    return (
        f'{{"self":"{address}/4/x?offset=2","metadata":{{"next": "{address}","previous":"{escaped}\\/4\\/x"}},"also":["{address}?q","{address}#f"],'
        f'"text":"see STAY/4/x","begins":"STAY9/x","quoted":"a \\"STAY/x\\" b"," STAY/":1,"":"{address}"}}'
    )


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets scripts that wait go on when the test is over."""
    event = threading.Event()
    yield event
    event.set()


def steps(says: Any, fill: Callable[[str], str], release: threading.Event) -> list[Step]:
    def one(part: Any) -> Step:
        if isinstance(part, str):
            return raw(fill(part))
        if "bytewise" in part:
            data = raw(fill(part["bytewise"]))

            def drip(peer: Peer, _seen: Seen) -> None:
                for byte in data:
                    peer.send(bytes([byte]))

            return drip
        if part["do"] == "wait":
            return lambda _peer, _seen: release.wait(20)
        return {"close": CLOSE, "reset": RESET, "half": HALF_CLOSE, "read": READ}[part["do"]]

    return [one(part) for part in (says if isinstance(says, list) else [says])]


@pytest.mark.parametrize("case", CASES)
def test_what_comes_back(case: dict[str, Any], gateways: Callable[[str], GatewayProcess], upstream: ScriptedUpstream, release: threading.Event) -> None:
    kind = case.get("gateway", "default")
    gateway = gateways(kind)
    upstream.credential = CREDENTIAL if kind == "credentialed" else None
    token = gateway.token("worklogs")
    body = json_text(upstream.url).replace("STAY", upstream.url)
    at = [body[start : start + 7] for start in range(0, len(body), 7)]
    values = {
        "upstream": upstream.url,
        "public": PUBLIC,
        "json": body,
        "json_public": json_text(PUBLIC).replace("STAY", upstream.url),
        "json_chunks": "".join(f"{len(piece):x}\r\n{piece}\r\n" for piece in at) + "0\r\n\r\n",
        "length": str(len(body)),
        "a*300000": "a" * 300_000,
        "hints*5000": "HTTP/1.1 103 Early Hints\r\n\r\n" * 5000,
    }

    def fill(text: str) -> str:
        return re.sub(r"\{([a-z_]+(?:\*\d+)?)\}", lambda match: values[match[1]], text)

    upstream.script("scripted", *steps(case["says"], fill, release))
    method = case.get("method", "GET")
    sent = raw(case["body"]) if method == "POST" and "body" in case else None
    wanted_body = case.get("body_back", case.get("body") if method != "POST" else None)
    with gateway.wire() as wire:
        wire.send(
            request(method, case.get("target", "/4/worklogs/scripted"), *case.get("fields", []), token=token, body=sent, version=case.get("version", "1.1"))
        )
        answer = wire.answer(method)
        refused = answer.code if answer.code in {"upstream_invalid", "upstream_auth", "upstream_timeout"} else ""
        if "code" in case:
            assert refused == case["code"], answer
            check_refusal(answer, case["code"])
        elif refused:
            assert case.get("may_refuse")
            check_refusal(answer, "upstream_invalid")
        else:
            assert answer.status == case["status"]
            assert answer.complete != case.get("cut", False)
            assert answer.one("x-request-id")
            for name, values_wanted in case.get("has", {}).items():
                assert answer.all(name) == [fill(value) for value in values_wanted], name
            if "reason" in case:
                assert answer.reason == case["reason"]
            if wanted_body is not None:
                assert answer.body == raw(fill(wanted_body))
            if "trailers" in case:
                assert answer.trailers == [tuple(pair) for pair in case["trailers"]]
        assert [status for status, _ in answer.interim] == case.get("interim", [])
        for text in case.get("absent", []):
            assert text not in repr(answer)
        if case.get("close") or (case.get("cut") and not refused):
            assert wire.wait_closed() == b""
        elif answer.one("connection") != "close":
            if case.get("reused") is False:  # what comes after the answer must be seen before the next request is on its way
                eventually(lambda: not upstream.is_open(upstream.seen[0].connection), "the end of the upstream's connection")
            wire.send(request("GET", "/4/worklogs/after", token=token))
            after = wire.answer()
            assert (after.status, after.body) == (200, b"ok\n")
    upstream.script("later", PLAIN)
    later = gateway.ask("GET", "/4/worklogs/later", token=token)
    assert (later.status, later.body) == (200, b"ok\n")
    if "reused" in case:
        first, second = upstream.seen[0], upstream.seen[1]
        assert (first.connection == second.connection) == case["reused"]
