"""``python -m gateway.openapi.document_process FILE``: reads an OpenAPI document in a process of its own and writes its pieces.

A document of 12 MB is 150 MB of objects for some seconds, and one that is made to do harm may be anything: that is no work for a process that serves
requests. What went wrong is one line on standard error.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec

import gateway
from gateway.openapi.pieces import Pieces, SpecUnusable
from gateway.openapi.take_apart import take_apart
from gateway.openapi.typed_source import read_document

MOST_MEMORY: Final = 4 * 1024**3  # bytes of address space
MOST_S: Final = 300.0
_REFUSED: Final = 2


def main() -> None:
    """Exit 2 where the document can't be used."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    try:
        data = msgspec.msgpack.encode(take_apart(read_document(Path(sys.argv[1]))))
    except SpecUnusable as why:
        _end(str(why))
    except (MemoryError, RecursionError):
        _end("it takes too much memory")
    sys.stdout.buffer.write(data)


def _end(why: str) -> None:
    sys.stderr.write(why)
    sys.exit(_REFUSED)


def check_document(path: Path) -> int:
    """How many operations a document holds. SpecUnusable, with the file's name, where it can't be used. Blocks for as long as that takes."""
    try:
        done = subprocess.run(_command(path), stdin=subprocess.DEVNULL, env=_environment(), capture_output=True, timeout=MOST_S, check=False)  # noqa: S603 - our own module
    except subprocess.TimeoutExpired:
        raise SpecUnusable(f"{path}: reading it takes over {MOST_S:g} s") from None
    return sum(len(item.operations) for item in _answer(path, done.returncode, done.stdout, done.stderr).paths)


async def read_pieces(path: Path) -> Pieces:
    """The pieces of a document. SpecUnusable as check_document."""
    process = await asyncio.create_subprocess_exec(
        *_command(path), env=_environment(), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(MOST_S):
            told, why = await process.communicate()
    except TimeoutError:
        raise SpecUnusable(f"{path}: reading it takes over {MOST_S:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    return _answer(path, process.returncode or 0, told, why)


def _command(path: Path) -> list[str]:
    return [sys.executable, "-P", "-m", "gateway.openapi.document_process", str(path)]


def _environment() -> dict[str, str]:
    """Where this package and its libraries are, and nothing else: the caller's variables may hold secrets."""
    inherited = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH") if name in os.environ}
    root = str(Path(gateway.__file__).parent.parent)
    return {**inherited, "PYTHONPATH": os.pathsep.join(filter(None, (root, inherited.get("PYTHONPATH"))))}


def _answer(path: Path, code: int, told: bytes, why: bytes) -> Pieces:
    if code == _REFUSED:
        raise SpecUnusable(f"{path}: {' '.join(why.decode('utf-8', 'replace').split())}")
    if code:
        raise SpecUnusable(f"{path}: reading it broke off (exit code {code})")
    return msgspec.msgpack.decode(told, type=Pieces)


if __name__ == "__main__":
    main()
