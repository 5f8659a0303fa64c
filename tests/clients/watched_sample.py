"""The sample upstream on a port of its own, in a thread, and all that it was sent."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Self

from aiohttp import web

from gateway.sample.tempo import build_sample

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Seen(NamedTuple):
    """One request, as it came."""

    method: str
    target: str
    fields: dict[str, str]
    body: str


class WatchedSample:
    """A context manager; ``seen`` holds every request in order."""

    def __init__(self) -> None:
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._sock.getsockname()[1]}"
        self.seen: list[Seen] = []
        self._loop = asyncio.new_event_loop()
        self._listens = threading.Event()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listens.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        app = build_sample(self.url)
        app.middlewares.append(self._watch)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.SockSite(runner, self._sock).start()
        self._listens.set()
        await self._ended.wait()
        await runner.cleanup()

    @web.middleware
    async def _watch(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        fields = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(Seen(request.method, request.raw_path, fields, await request.text()))
        return await handler(request)
