"""One upstream connection: answers in any cut, what makes it reusable, what ends it. Whole answers are in tests/vectors/answers.yaml."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.settings import UpstreamSettings
from gateway.upstream.answer import AnswerHead
from gateway.upstream.exchange import UpstreamConnection, take_answers
from gateway.upstream.failures import UpstreamFailure
from gateway.upstream.pool import UpstreamPool

SETTINGS = UpstreamSettings("api", "http://127.0.0.1:1", "127.0.0.1", 1, False, 5, 5, 5, 8, False, None, "headers", False)


class Told:
    """Who is told the answer: keeps what it hears, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, object]] = []
        self.ended = asyncio.Event()
        self.connection: UpstreamConnection | None = None

    def on_interim(self, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        self.heard.append(("interim", (status, list(fields))))

    def on_answer(self, head: AnswerHead) -> None:
        self.heard.append(("answer", head))

    def on_body(self, data: bytes | memoryview) -> None:
        data = bytes(data)
        if self.heard and self.heard[-1][0] == "body":
            data = self.heard.pop()[1] + data  # type: ignore[operator]
        self.heard.append(("body", data))

    def on_answer_end(self, trailers: list[tuple[bytes, bytes]]) -> None:
        self.heard.append(("end", list(trailers)))
        self.ended.set()

    def on_switch(self, fields: list[tuple[bytes, bytes]], early: bytes) -> None:
        self.heard.append(("switch", early))
        assert self.connection is not None
        self.connection.tunnel = self
        self.ended.set()

    def on_tunnel(self, data: bytes) -> None:
        self.heard.append(("tunnel", data))

    def on_tunnel_full(self) -> None: ...

    def on_tunnel_drained(self) -> None: ...

    def on_tunnel_closed(self) -> None:
        self.heard.append(("closed", b""))

    def on_failure(self, failure: UpstreamFailure) -> None:
        self.heard.append(("failure", (failure.code, failure.unanswered)))
        self.ended.set()

    def on_upstream_full(self) -> None: ...

    def on_upstream_drained(self) -> None: ...

    def flush(self) -> None: ...

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.heard]


@asynccontextmanager
async def connected(*pieces: bytes, close: bool = False) -> AsyncIterator[tuple[UpstreamPool, UpstreamConnection]]:
    """A pool with one connection to a server that says these pieces one after the other, each by itself, after the request's first byte."""

    served: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())  # type: ignore[arg-type]
        with contextlib.suppress(ConnectionError):
            await talk(reader, writer)
        writer.close()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.001)
            if close:
                break

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        pool = UpstreamPool(replace(SETTINGS, port=server.sockets[0].getsockname()[1]))
        connection = await pool.acquire()
        try:
            yield pool, connection
        finally:
            pool.close()
            connection.abort()
    finally:
        server.close()
        await asyncio.gather(*served)


async def ask(connection: UpstreamConnection, method: str = "GET", *, upgrade: bool = False, trailers: bool = False) -> Told:
    told = Told()
    told.connection = connection
    connection.begin(told, method, upgrade=upgrade, trailers=trailers)
    connection.write(b"x")
    connection.request_sent = True
    async with asyncio.timeout(5):
        await told.ended.wait()
    return told


ANSWER = (
    b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 Fine\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1;e=f\r\n!\r\n0\r\nX-T: t\r\n\r\n"
)


async def test_an_answer_is_told_alike_in_every_cut_and_its_connection_can_be_used_again() -> None:
    wanted = None
    for cut in range(1, len(ANSWER)):
        async with connected(ANSWER[:cut], ANSWER[cut:]) as (pool, connection):
            told = await ask(connection, trailers=True)
            wanted = wanted or told.heard
            assert told.heard == wanted, cut
            assert pool.take() is connection, cut
    assert wanted is not None
    assert [kind for kind, _ in wanted] == ["interim", "answer", "body", "end"]
    assert wanted[0][1] == (103, [(b"Link", b"a")])
    head = wanted[1][1]
    assert isinstance(head, AnswerHead)
    assert (head.status, head.line, head.chunked, head.length, head.bodyless) == (200, b"HTTP/1.1 200 Fine", True, None, False)
    assert list(wanted[2:]) == [("body", b"hi!"), ("end", [(b"X-T", b"t")])]


@pytest.mark.parametrize(
    ("answer", "method", "reused"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "GET", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", "GET", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", "GET", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi!", "GET", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi\r\n", "GET", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\r\n", "GET", True),
        (b"HTTP/1.1 103 Hint\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n\r\n", "GET", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n0\r\n\r\n", "GET", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n", "GET", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\r\n", "GET", False),
        (b"HTTP/1.1 204 No\r\n\r\n\r\n", "GET", False),
        (b"HTTP/1.1 204 No\r\n\r\n", "GET", True),
        (b"HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n", "GET", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "HEAD", False),
    ],
)
async def test_which_answers_leave_a_connection_that_can_be_used_again(answer: bytes, method: str, reused: bool) -> None:
    """Seen to fail, for the line ends behind an answer, with what the parser says alone."""
    async with connected(answer) as (pool, connection):
        for _ in range(2 if reused else 1):
            told = await ask(connection, method)
            assert told.kinds[-1] == "end"
            again = pool.take()
            assert (again is connection) == reused


async def test_what_comes_behind_an_answer_in_the_same_turn_ends_no_other_exchange() -> None:
    """Seen to fail without the question after ``_complete`` in ``take``: the answer ended twice, the second time in place of the next request's."""
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    async with connected() as (pool, connection):
        first, second = Told(), Told()

        def next_request(_trailers: list[tuple[bytes, bytes]]) -> None:
            again = pool.take()
            if again is not None:
                again.begin(second, "GET")
                again.request_sent = True

        first.on_answer_end = next_request  # type: ignore[method-assign]
        connection.begin(first, "GET")
        connection.request_sent = True
        take_answers([(connection, whole), (connection, b"\r\n")])
        assert first.kinds == ["answer", "body"]
        assert second.kinds == []
        assert pool.take() is None


async def test_a_request_that_is_not_out_whole_leaves_no_connection_behind() -> None:
    async with connected(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (pool, connection):
        told = Told()
        connection.begin(told, "POST")
        connection.write(b"x")
        async with asyncio.timeout(5):
            await told.ended.wait()
        assert told.kinds == ["answer", "end"]
        assert pool.take() is None


async def test_bytes_that_nobody_asked_for_end_an_idle_connection() -> None:
    async with connected(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (pool, connection):
        await ask(connection)
        async with asyncio.timeout(5):
            while connection.transport is not None:
                await asyncio.sleep(0.01)
        assert pool.take() is None


@pytest.mark.parametrize(
    ("pieces", "close", "failure"),
    [
        ((), True, ("upstream_invalid", True)),
        ((b"H",), True, ("upstream_invalid", False)),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi",), True, ("upstream_invalid", False)),
        ((b"garbage\r\n\r\n",), False, ("upstream_invalid", False)),
        ((b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",), False, ("upstream_invalid", False)),
        ((b"HTTP/1.1 103 Hint\r\n\r\n" * 40,), False, ("upstream_invalid", False)),
        ((b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000,), False, ("upstream_invalid", False)),
        ((b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 20_000,), False, ("upstream_invalid", False)),
    ],
    ids=["closed", "a byte", "cut", "garbage", "unasked", "hints", "long field", "many fields"],
)
async def test_a_failure_is_told_once_and_ends_the_connection(pieces: tuple[bytes, ...], close: bool, failure: tuple[str, bool]) -> None:
    async with connected(*pieces, close=close) as (pool, connection):
        told = await ask(connection)
        assert told.heard[-1] == ("failure", failure)
        assert told.kinds.count("failure") == 1
        assert pool.take() is None


async def test_an_upgrade_that_was_asked_for_switches_and_keeps_early_bytes() -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nearly"
    async with connected(switch, b"later") as (_, connection):
        told = await ask(connection, upgrade=True)
        async with asyncio.timeout(5):
            while b"".join(data for kind, data in told.heard if kind in {"switch", "tunnel"}) != b"earlylater":  # type: ignore[misc]
                await asyncio.sleep(0.01)
        assert told.kinds[0] == "switch"


async def test_the_upstreams_own_time_to_keep_a_connection_is_respected() -> None:
    async with connected(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=3, max=5\r\nContent-Length: 0\r\n\r\n") as (pool, connection):
        await ask(connection)
        assert connection.keep_s == 2
        now = asyncio.get_running_loop().time()
        pool.sweep(now + 1.9)
        assert pool.take() is connection
        pool.give(connection)  # idle since the last sweep
        pool.sweep(now + 3.8)
        assert pool.take() is connection
        pool.give(connection)
        pool.sweep(now + 6.0)
        assert pool.take() is None


async def test_a_connection_that_was_slowed_down_reads_again_for_the_next_request() -> None:
    """Seen to fail without the resume in ``_end``: the next answer on the connection was never read."""
    async with connected(b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as (pool, connection):
        told = Told()
        told.connection = connection
        told.flush = connection.pause_reading  # type: ignore[method-assign]
        connection.begin(told, "GET")
        connection.request_sent = True
        connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        connection.data_received(b"cd")  # in the same turn of the loop
        async with asyncio.timeout(5):
            await told.ended.wait()
        assert connection.transport is not None
        assert connection.transport.is_reading()
        assert pool.take() is connection


class Taken(asyncio.Transport):
    """A transport that takes everything."""

    ended = False

    def write(self, _: object) -> None: ...

    def abort(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.ended

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def told_in(pieces: list[bytes], method: str) -> tuple[list[tuple[str, object]], bool]:
    """What is told of an answer that comes in these pieces, and whether its connection can be used again."""

    async def tell() -> tuple[list[tuple[str, object]], bool]:
        pool, told = UpstreamPool(SETTINGS), Told()
        connection = UpstreamConnection(pool)
        connection.connection_made(Taken())
        connection.begin(told, method)
        connection.request_sent = True
        for piece in pieces:
            if connection.sink is not None:
                connection.data_received(piece)
                pool.answers.run()
        return told.heard, pool.take() is connection

    return asyncio.run(tell())


ANSWER_LINES = st.lists(
    st.sampled_from(
        [
            b"Content-Length: 2",
            b"Content-Length: 2",
            b"content-length:2 ",
            b"Content-Length: 3",
            b"Content-Length: +2",
            b"Content-Length: 2, 2",
            b"Content-Length: \xb2",
            b"Content-Length: 99999999999999999999",
            b"Content-Length : 2",
            b"Content-Length:",
            b"Transfer-Encoding: chunked",
            b"Transfer-Encoding: gzip",
            b"Connection: keep-alive",
            b"Connection: close",
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Content-Type: Text/HTML; charset=x",
            b"WWW-Authenticate: NTLM",
            b"Keep-Alive: timeout=9",
            b"X-A: b\xff",
            b"X-A: \tb\t",
            b"X-A: b\x00",
            b"X-A: b\rc",
            b"X-A: b\nX: c",
            b"X-A: b\x7f",
            b" folded",
            b": none",
            b"X A: b",
            b"\xe9: b",
            b"none",
        ]
    ),
    max_size=4,
)


@settings(max_examples=400)
@given(
    first=st.sampled_from(
        [
            b"HTTP/1.1 200 OK",
            b"HTTP/1.1 200 ",
            b"HTTP/1.1 200",
            b"HTTP/1.1 204 No",
            b"HTTP/1.1 401 No",
            b"HTTP/1.0 200 OK",
            b"HTTP/1.1 200 \xff",
            b"HTTP/2 200",
            b"junk",
            b"",
        ]
    ),
    lines=ANSWER_LINES,
    body=st.sampled_from([b"hi", b"", b"h", b"hi!", b"2\r\nhi\r\n0\r\n\r\n", b"hi\r\n"]),
    method=st.sampled_from(["GET", "HEAD"]),
)
def test_an_answer_that_comes_at_once_is_told_as_by_the_parser(first: bytes, lines: list[bytes], body: bytes, method: str) -> None:
    """One that comes whole may go without the parser; cut in its head it never does. Seen to fail with each rule of ``read_head`` for a plain
    answer, and each of a field line, taken out."""
    answer = b"\r\n".join([first, *lines, b"", b""]) + body
    whole, reused = told_in([answer], method)
    cut, reused_cut = told_in([answer[:3], answer[3:]], method)
    assert [entry[0] for entry in whole] == [entry[0] for entry in cut]
    assert whole == cut
    assert reused == reused_cut


def test_a_body_of_a_told_length_is_told_alike_in_every_cut() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nX-A: b\r\n\r\nhello world!"
    wanted = told_in([answer], "GET")
    assert wanted[1]
    for cut in range(1, len(answer)):
        assert told_in([answer[:cut], answer[cut:]], "GET") == wanted
        assert told_in([answer[:cut], answer[cut:] + b"!"], "GET") == (wanted[0], False)


def test_a_large_body_is_told_alike_whole_and_in_pieces() -> None:
    body = bytes(range(256)) * 200
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    wanted = told_in([answer], "GET")
    assert wanted[0][1] == ("body", body)
    assert wanted[1]
    for cut in (10, 45, 20_000, 50_000):
        assert told_in([answer[:cut], answer[cut:]], "GET") == wanted
    assert told_in([answer + b"!"], "GET") == (wanted[0], False)
