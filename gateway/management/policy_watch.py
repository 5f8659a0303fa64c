"""Watches the policy file. The folders are watched, not the file: an editor that puts another file in its place, and a ConfigMap whose link is
set anew, are seen as well as a write.

What the file holds is compared, so that a touched file is no change. Where the kernel tells nothing (a network file system), a look every few
seconds finds the change.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Final

from watchfiles import Change, awatch

from gateway.flow.reload import digest_of

LOG: Final = logging.getLogger("scopegate")
LOOK_S: Final = 5.0  # also where nothing was told
SETTLE_S: Final = 0.1  # between two looks that must find the same: a file that is being written is not read
_SETTLE_LOOKS: Final = 20


async def watch_policy(path: Path, changed: Callable[[], None]) -> None:
    """Call ``changed`` when the file may hold something else than before, and once at the beginning, until cancelled."""
    seen = None
    watchable = True
    while True:
        now = await _settled(path)
        if now != seen:
            seen = now
            changed()
        folders = _folders(path)
        try:
            async with aclosing(_looks(folders if watchable else {}, partial(_concerns, path))) as looks:
                async for _ in looks:
                    if await _settled(path) != seen or _folders(path) != folders:
                        break  # behind links the folders are others then, too
        except (OSError, RuntimeError) as error:
            watchable = False  # no descriptors or watches are left, by the system's limit
            LOG.warning("the policy's folder can't be watched (%s): it is looked at every %g s", type(error).__name__, LOOK_S)


async def _looks(folders: Mapping[Path, int], concerns: Callable[[Change, str], bool]) -> AsyncGenerator[None]:
    """When to look: at once after something happened in a folder, and now and then."""
    if not folders:
        await asyncio.sleep(LOOK_S)
        yield None
        return
    changes = awatch(*folders, watch_filter=concerns, recursive=False, step=50, debounce=200)
    change = asyncio.ensure_future(anext(changes))
    try:
        while True:
            # The clock is ours: that of awatch starts anew with every event, also with one that does not concern the policy.
            await asyncio.wait({change}, timeout=LOOK_S)
            if change.done():
                change.result()
                change = asyncio.ensure_future(anext(changes))
            yield None
    finally:
        change.cancel()
        await asyncio.gather(change, return_exceptions=True)
        await changes.aclose()


def _concerns(path: Path, _: Change, changed: str) -> bool:
    """Whether it may make the policy another. A log that is written in the same folder does not: it is a file of another name, and no link."""
    other = Path(changed)
    return other.name in {path.name, Path(os.path.realpath(path)).name} or other.is_symlink() or not other.is_file()


def _folders(path: Path) -> dict[Path, int]:
    """The folders in which a change can make the file another: its own and, behind links, the one where it lies; each with its inode."""
    found = {}
    for folder in (path.parent, Path(os.path.realpath(path)).parent):
        try:
            found[folder] = folder.stat().st_ino
        except OSError:
            continue
    return found


async def _settled(path: Path) -> str:
    """A digest of what the file holds once two looks agree; "" where there is nothing to read."""
    before = await asyncio.to_thread(digest_of, path)
    for _ in range(_SETTLE_LOOKS):
        await asyncio.sleep(SETTLE_S)
        now = await asyncio.to_thread(digest_of, path)
        if now == before and now:
            break
        before = now
    return before
