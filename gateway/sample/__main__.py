"""``python -m gateway.sample [--port 8090]``: the sample upstream by itself, on this machine only."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import socket
import sys
from typing import Final

from aiohttp import web

from gateway.sample.tempo import build_sample

_HOST: Final = "127.0.0.1"


async def serve(port: int, *, until_eof: bool) -> None:
    """Serve until SIGINT or SIGTERM, or until standard input ends. OSError if the port can't be had."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    if until_eof:
        loop.add_reader(sys.stdin.fileno(), ended.set)
    sock = socket.create_server((_HOST, port))  # bound before the API is made: with port 0 its address is known only now
    address = f"http://{_HOST}:{sock.getsockname()[1]}"
    runner = web.AppRunner(build_sample(address), access_log=None)
    await runner.setup()
    await web.SockSite(runner, sock).start()
    print(address, flush=True)  # noqa: T201 - for whoever started it
    await ended.wait()
    await runner.cleanup()


def main() -> None:
    """The command line. Exit 1 with a plain line if the port can't be had."""
    parser = argparse.ArgumentParser(prog="python -m gateway.sample", description="A small Tempo-like API in memory, to try the gateway with.")
    parser.add_argument("--port", type=int, default=8090, help="0 for a free one; 8090 unless given")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input does: so it ends with the program that started it")
    asked = parser.parse_args()
    try:
        asyncio.run(serve(asked.port, until_eof=asked.until_eof))
    except (OSError, OverflowError) as error:
        sys.exit(f"{_HOST}:{asked.port} cannot be listened on ({error}): choose another --port")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
