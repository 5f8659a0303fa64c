"""Good requests with a few bytes changed, always the same ones: what must hold holds (tests/harness/invariants.py)."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness.gateway import GatewayProcess
from tests.harness.invariants import check_answers, check_upstream, read_all
from tests.harness.upstream import ScriptedUpstream
from tests.harness.wire import Wire

OK = b"Host: gateway.test\r\nAuthorization: Bearer {secret}\r\n"
SEEDS = [
    b"GET /4/worklogs/1?a=b HTTP/1.1\r\n" + OK + b"X-A: b\r\n\r\nGET /4/worklogs/2 HTTP/1.1\r\n" + OK + b"\r\n",
    b"POST /4/worklogs HTTP/1.1\r\n" + OK + b"Content-Length: 5\r\n\r\nhelloGET /4/worklogs/2 HTTP/1.1\r\n" + OK + b"\r\n",
    b"POST /4/worklogs HTTP/1.1\r\n"
    + OK
    + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nabc\r\n0\r\n\r\nGET /4/worklogs/2 HTTP/1.1\r\n"
    + OK
    + b"\r\n",
    b"POST /4/worklogs HTTP/1.0\r\n" + OK + b"Connection: keep-alive\r\nContent-Length: 5\r\n\r\nhelloGET /4/worklogs/2 HTTP/1.1\r\n" + OK + b"\r\n",
    b"GET /4/worklogs/1 HTTP/1.1\r\n"
    + OK
    + b"Connection: Upgrade, X-A\r\nUpgrade: h2c\r\nX-A: b\r\nTE: trailers\r\n\r\nGET /4/worklogs/2 HTTP/1.1\r\n"
    + OK
    + b"\r\n",
    b"PUT /4/worklogs/1 HTTP/1.1\r\n" + OK + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabcGET /4/worklogs/2 HTTP/1.1\r\n" + OK + b"\r\n",
]
PIECES = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b"%", b"%2e", b"%2f", b"..", b"/../teams", b"//", b";", b"#", b"?", b"\\", b"\xff", b"\x7f",
    b"0", b"1", b"-", b"+", b",", b"chunked", b"Content-Length: 4\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: x\r\n", b"Host: evil\r\n",
    b"Authorization: Bearer {secret}\r\n", b"Connection: close\r\n", b"Connection: Authorization, Host\r\n", b"X-Scopegate-Subject: evil\r\n", b"HTTP/1.0",
    b"HTTP/2.0", b"GET ", b"TRACE ", b"CONNECT ", b"http://evil/", b"/4/teams/smuggled", b"0\r\n\r\n", b"GET /4/teams/smuggled HTTP/1.1\r\n", b"{secret}", b"\r\n ", b";x=y",
]  # fmt: skip
CHANGE = st.tuples(st.integers(0, 400), st.integers(0, 6), st.sampled_from([b"", *PIECES]))


def changed(seed: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """The seed with some bytes cut out and a piece put in, at each place."""
    for at, cut, piece in changes:
        place = at % (len(seed) + 1)
        seed = seed[:place] + piece + seed[place + cut :]
    return seed


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(SEEDS), st.lists(CHANGE, min_size=1, max_size=3), st.integers(0, 600))
def test_whatever_is_changed_in_good_requests_what_must_hold_holds(
    gateway: GatewayProcess, upstream: ScriptedUpstream, seed: bytes, changes: list[tuple[int, int, bytes]], cut: int
) -> None:
    secret = gateway.token("worklogs")
    upstream.seen.clear()
    data = changed(seed, changes).replace(b"{secret}", secret.encode())
    with Wire(gateway.port) as wire:
        wire.send(data[:cut])
        wire.send(data[cut:])
        wire.half_close()
        answers = read_all(wire)
    check_answers(answers, [secret], 5)
    check_upstream(upstream, [secret])


CHUNKS = st.lists(
    st.sampled_from([b"0", b"1", b"5", b"a", b"A", b"05", b"\r\n", b"\r", b"\n", b"hello", b";x", b';x="y"', b"X: y", b" ", b"\0", b"0\r\n\r\n", b"5\r\nhello\r\n", b"-1",
                     b"ffffffffffffffff", b"Authorization: Bearer {secret}\r\n", b"GET /4/teams/smuggled HTTP/1.1\r\n\r\n"]),
    max_size=10,
)  # fmt: skip


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHUNKS, st.integers(0, 60))
def test_whatever_stands_in_a_chunked_body_what_must_hold_holds(gateway: GatewayProcess, upstream: ScriptedUpstream, parts: list[bytes], cut: int) -> None:
    secret = gateway.token("worklogs")
    upstream.seen.clear()
    head = (b"POST /4/worklogs HTTP/1.1\r\n" + OK + b"Transfer-Encoding: chunked\r\n\r\n").replace(b"{secret}", secret.encode())
    body = b"".join(parts).replace(b"{secret}", secret.encode())
    after = (b"GET /4/worklogs/2 HTTP/1.1\r\n" + OK + b"\r\n").replace(b"{secret}", secret.encode())
    with Wire(gateway.port) as wire:
        wire.send(head + body[:cut])
        wire.send(body[cut:] + after)
        wire.half_close()
        answers = read_all(wire)
    check_answers(answers, [secret], 4)
    check_upstream(upstream, [secret])
