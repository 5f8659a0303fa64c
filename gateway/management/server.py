"""The management port's listener: aiohttp's server without the parts of it that tell too much.

aiohttp's own 400 page and its log line quote the bytes that it could not read, a bearer token among them, and its 417 page quotes the field: both
are replaced. Its access log is off.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Final

from aiohttp import http_parser, web
from aiohttp.http_exceptions import ContentEncodingError
from aiohttp.web_protocol import RequestHandler

from gateway.management.guard import as_problem, finish, request_id_of
from gateway.management.problem import Problem

_IDLE_S: Final = 30.0  # for a kept connection, and for a head to arrive
_LINGER_S: Final = 2.0  # how long the rest of a refused body is read, so that the client gets its answer
_SILENT: Final = logging.getLogger("scopegate.management.protocol")
_SILENT.disabled = True  # what aiohttp has to say quotes requests


def check_server() -> str | None:
    """Why the management port must not be served: aiohttp without its C parser reads leniently. None if all is well."""
    if hasattr(http_parser, "HttpRequestParserC"):
        return None
    return "aiohttp runs without its C parser (AIOHTTP_NO_EXTENSIONS is set, or no wheel fits this machine): unset it, or install a wheel"


class _Door(RequestHandler):
    """A connection. What can't be read as HTTP is answered with a problem document that quotes nothing."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,  # its text quotes the request, and so does the message
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """Called by aiohttp for a message that it can't parse (400); all other failures are answered by the guard."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        if isinstance(exc, ContentEncodingError):
            problem = Problem("media_type_unsupported", "Send the body without a Content-Encoding.")
        elif status == 400:
            problem = Problem("request_invalid", "The request is not valid HTTP/1.1.")
        else:
            problem = as_problem(RuntimeError())
        request_id = request_id_of(request)
        response = finish(problem.response(request_id), request_id)
        response.force_close()
        return response


class ManagementServer:
    """Serves an application of ``build_management`` on sockets or an address."""

    def __init__(self, app: web.Application) -> None:
        self._runner: Final = web.AppRunner(app, handle_signals=False, access_log=None)
        self._listener: asyncio.Server | None = None

    async def start(self, host: str = "", port: int = 0, *, sock: socket.socket | None = None) -> None:
        """Listen on an address ("" for every one, port 0 for any free one) or on a bound socket. OSError if that can't be done."""
        await self._runner.setup()
        server = self._runner.server
        assert server is not None  # noqa: S101  setup made it
        serve = server.request_handler

        async def without_pages(request: web.BaseRequest) -> web.StreamResponse:
            try:
                return await serve(request)
            except web.HTTPException as error:  # raised before the middleware: an Expect that is not known
                request_id = request_id_of(request)
                return finish(as_problem(error).response(request_id), request_id)

        server.request_handler = without_pages
        loop = asyncio.get_running_loop()

        def door() -> RequestHandler:
            return _Door(server, loop=loop, keepalive_timeout=_IDLE_S, lingering_time=_LINGER_S, logger=_SILENT, access_log=None)  # type: ignore[arg-type]

        try:
            if sock is not None:
                self._listener = await loop.create_server(door, sock=sock)
            else:
                self._listener = await loop.create_server(door, host or None, port)
        except OSError:
            await self._runner.cleanup()
            raise

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each listening socket."""
        sockets = self._listener.sockets if self._listener is not None else ()
        return [opened.getsockname()[:2] for opened in sockets]

    async def close(self, timeout_s: float = 5.0) -> None:
        """Stop listening, let requests in flight finish within the time, close the rest."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        server = self._runner.server
        if server is not None:
            server.pre_shutdown()
            await server.shutdown(max(timeout_s, 0.1))  # aiohttp takes 0 for no limit
        await self._runner.cleanup()
