"""G8: memory does not grow with the size of bodies. SCOPEGATE_TEST_BODY_MIB sets their size (64 unless set; the long form is 1024)."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Self

import pytest

from tests.harness.gateway import GatewayProcess
from tests.harness.upstream import READ, Peer, ScriptedUpstream, Seen
from tests.harness.waiting import eventually
from tests.harness.wire import request

MIB = 1 << 20
SIZE_MIB = int(os.environ.get("SCOPEGATE_TEST_BODY_MIB", "64"))
GROWTH = 5 * MIB
PIECE = os.urandom(MIB)
WHOLE = hashlib.sha256()
for _ in range(SIZE_MIB):
    WHOLE.update(PIECE)


@pytest.fixture(scope="module")
def roomy(shared_upstream: ScriptedUpstream) -> Iterator[GatewayProcess]:
    """A gateway of two workers whose limits take such bodies, warmed up, so that what it needs once is not counted as growth."""
    settings = {"workers": 2, "limits": {"body": "100GiB"}, "public_url": "https://api.public.test"}
    patient = {"timeouts": {"response": "10m", "idle": "10m"}}  # a kernel may take its time to find that a window is open again
    with GatewayProcess(shared_upstream.url, settings=settings, upstream=patient) as gateway:
        shared_upstream.script("large", send(4))
        shared_upstream.script("swallow", swallow([]), READ)
        for _ in range(8):  # so that every worker has had some
            download(gateway, 4 * MIB, slow=False)
            upload(gateway, 4, chunked=False)
        yield gateway
        assert "Traceback" not in gateway.log()


@pytest.fixture(autouse=True)
def forget_bytes(shared_upstream: ScriptedUpstream) -> Iterator[None]:
    shared_upstream.keep_bytes = False
    yield
    shared_upstream.keep_bytes = True


def send(mib: int, *, chunked: bool = False) -> Callable[[Peer, Seen], None]:
    def script(peer: Peer, _seen: Seen) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\n" + (b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (mib * MIB)) + b"\r\n\r\n")
        for _ in range(mib):
            peer.send(b"%x\r\n%s\r\n" % (MIB, PIECE) if chunked else PIECE)
        if chunked:
            peer.send(b"0\r\n\r\n")

    return script


def swallow(digests: list[bytes], pause_s: float = 0) -> Callable[[Peer, Seen], None]:
    """Read a body without keeping it, note its digest, answer."""

    def script(peer: Peer, seen: Seen) -> None:
        got = hashlib.sha256()
        if pause_s:
            time.sleep(pause_s)
        if seen.one("content-length"):
            left = int(seen.one("content-length") or 0)
            while left:
                data = peer.take(min(65536, left))
                peer.raw = b""
                got.update(data)
                left -= len(data)
        else:
            while size := int(peer.line(), 16):
                got.update(peer.take(size))
                peer.take(2)
                peer.raw = b""
            peer.line()
        seen.complete = True
        digests.append(got.digest())
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    return script


def download(gateway: GatewayProcess, length: int, *, slow: bool) -> bytes:
    """Fetch "large" as a client that first does not read for a while; the digest of its body."""
    got = hashlib.sha256()
    with gateway.wire(timeout=120, receive_buffer=65536 if slow else None) as wire:
        wire.send(request("GET", "/4/worklogs/large", token=gateway.token("worklogs")))
        answer = wire.head()
        assert answer.status == 200
        if slow:
            time.sleep(1)  # what a client that stops reading would let pile up, piles up now
        if answer.one("content-length"):
            while length:
                data = wire.take(min(65536, length))
                assert data
                got.update(data)
                length -= len(data)
        else:
            while size := int(wire.until(b"\r\n"), 16):
                got.update(wire.take(size))
                wire.take(2)
            wire.take(2)
    return got.digest()


def upload(gateway: GatewayProcess, mib: int, *, chunked: bool) -> None:
    with gateway.wire(timeout=600) as wire:
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {mib * MIB}"
        wire.send(request("POST", "/4/worklogs/swallow", framing, token=gateway.token("worklogs")))
        for _ in range(mib):
            wire.send(b"%x\r\n%s\r\n" % (MIB, PIECE) if chunked else PIECE)
        if chunked:
            wire.send(b"0\r\n\r\n")
        assert wire.answer().status == 200


class Watch:
    """The highest resident memory of a gateway while something goes on, above what it was before."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._gateway = gateway
        self._before = gateway.rss()
        self._done = threading.Event()
        self._highest = self._before
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._done.wait(0.05):
            self._highest = max(self._highest, self._gateway.rss())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(5)

    @property
    def grown(self) -> int:
        return self._highest - self._before


@pytest.mark.timeout(900)
@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
def test_a_large_download_to_a_slow_reader_adds_less_than_5_mb(chunked: bool, roomy: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Seen to fail with ``client_full`` (inbound/proxy.py) made to do nothing, and with large reads left to the end of the turn (upstream/exchange.py)."""
    upstream.script("large", send(SIZE_MIB, chunked=chunked))
    with Watch(roomy) as watch:
        assert download(roomy, SIZE_MIB * MIB, slow=True) == WHOLE.digest()
    assert watch.grown < GROWTH, f"{watch.grown / MIB:.1f} MiB"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
def test_a_large_upload_to_a_slow_upstream_adds_less_than_5_mb(chunked: bool, roomy: GatewayProcess, upstream: ScriptedUpstream) -> None:
    """Seen to fail with ``on_upstream_full`` (inbound/proxy.py) made to do nothing."""
    digests: list[bytes] = []
    upstream.script("swallow", swallow(digests, pause_s=1), READ)
    with Watch(roomy) as watch:
        upload(roomy, SIZE_MIB, chunked=chunked)
    assert digests == [WHOLE.digest()]
    assert watch.grown < GROWTH, f"{watch.grown / MIB:.1f} MiB"


def test_many_heads_and_refusals_leave_no_memory_behind(roomy: GatewayProcess, upstream: ScriptedUpstream) -> None:
    token = roomy.token("worklogs")

    def storm() -> None:
        with roomy.wire(timeout=30) as wire:
            for number in range(300):
                wire.send(request("GET", f"/4/worklogs/{number}", f"X-Name-{number}-{os.urandom(8).hex()}: v", token=token if number % 2 else token[:-1]))
                assert wire.answer().status in {200, 401}

    storm()
    before = roomy.rss()
    for _ in range(5):
        storm()
    eventually(lambda: roomy.rss() - before < GROWTH, "memory to stay")
