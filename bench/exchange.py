"""One whole exchange in one process without sockets: what our own code costs of a request, apart from the kernel.

``python -m bench.exchange`` prints the fewest microseconds an exchange seen over many rounds: noise only adds.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvloop

from gateway.core.scope import parse_grants
from gateway.core.token_record import ACTIVE, LiveRecord
from gateway.core.token_text import digest, make_token
from gateway.flow.engine import Engine
from gateway.inbound.account import Account
from gateway.inbound.connection import ClientConnection
from gateway.inbound.plane import DataPlane
from gateway.observe.access_log import AccessLog
from gateway.observe.metrics import Counters
from gateway.policy_file.load import parse_policy
from gateway.settings import load_settings
from gateway.store.keys import Keys
from gateway.store.record_cache import RecordCache, boot_s
from gateway.store.token_store import RedisTokenStore
from gateway.upstream.exchange import UpstreamConnection

POLICY = """version: 1
scopes:
  worklogs: {title: Worklogs}
routes:
  - {path: "/4/worklogs/**", scope: worklogs}
"""
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Wed, 25 Nov 2026 04:00:00 GMT\r\nContent-Type: application/json\r\nContent-Length: 377\r\nConnection: keep-alive\r\n\r\n"
    + b"x" * 377
)


class Transport:
    """A transport that takes everything and goes nowhere."""

    def __init__(self) -> None:
        self.written = 0

    def write(self, data: bytes) -> None:
        self.written += 1

    def writelines(self, data: Any) -> None:
        self.written += 1

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 4711) if name == "peername" else default

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def abort(self) -> None: ...

    def close(self) -> None: ...


async def main(rounds: int = 40, count: int = 1000) -> float:
    folder = Path(tempfile.mkdtemp())
    (folder / "p.yaml").write_text(POLICY)
    (folder / "g.yaml").write_text(f"policy: {folder}/p.yaml\nupstreams: {{api: {{url: 'http://127.0.0.1:9'}}}}\n")
    settings = load_settings(folder / "g.yaml", {})
    token = make_token("sgt", lambda n: bytes(range(n)))
    record = LiveRecord(token.id, "u1", parse_grants(["worklogs"]), ACTIVE, 0, 2**60, 1, digest(token.text))
    tokens: Any = RedisTokenStore(SimpleNamespace(keys=Keys("sg:")))  # type: ignore[arg-type]
    cache = RecordCache(10)
    cache.believe(boot_s(), 1e6, int(time.time() * 1000))
    cache.keep(token.id, record, live=True)
    tokens.at_hand, tokens.is_secret_of = cache.at_hand, cache.is_secret_of
    log = AccessLog(str(folder / "log"))
    account = Account(Counters(), log, SimpleNamespace(used=lambda *_: None), str)  # type: ignore[arg-type]
    engine = Engine(parse_policy(POLICY, "p"), tokens, SimpleNamespace(), "sgt")  # type: ignore[arg-type]
    plane = DataPlane(settings, engine, tokens, account, asyncio.get_running_loop())
    pool = next(iter(plane._upstreams.values())).pool
    upstream = UpstreamConnection(pool)
    upstream.connection_made(Transport())  # type: ignore[arg-type]
    pool.give(upstream)
    client = ClientConnection(plane)
    client.connection_made(Transport())  # type: ignore[arg-type]
    request = (
        f"GET /4/worklogs?from=2026-11-01&to=2026-11-30 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAuthorization: Bearer {token.text}\r\n"
        "User-Agent: python-requests/2.32\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n"
    ).encode()
    best = float("inf")
    for _ in range(rounds):
        begun = time.perf_counter()
        for _ in range(count):
            client.data_received(request)
            upstream.data_received(ANSWER)
        best = min(best, (time.perf_counter() - begun) / count)
        log._lines.clear()
    assert client.transport.written == rounds * count, client.transport.written  # type: ignore[union-attr]
    return best * 1e6


if __name__ == "__main__":
    print(f"{uvloop.run(main()):.1f} us an exchange")
