"""A policy file that becomes another one, in each of the ways in which that happens, is told once; one that does not is not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.management import policy_watch
from gateway.management.policy_watch import watch_policy

_Told = Callable[[int], object]


class Watched:
    """A watch that runs, and what it has told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told = asyncio.Semaphore(0)

    async def await_told(self) -> None:
        """Wait for the next change, and see that no second one is told for it."""
        await asyncio.wait_for(self.told.acquire(), 20)
        await self.await_quiet()

    async def await_quiet(self) -> None:
        """No change is told in the time of some looks."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.told.acquire(), 1)
            raise AssertionError("told of a change twice, or of none")


@pytest.fixture
async def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    """A file in a folder as a ConfigMap is mounted: the file is a link, through a link, into a folder that is replaced."""
    monkeypatch.setattr(policy_watch, "LOOK_S", 30.0)  # what is seen is what the kernel has told
    folder = tmp_path / "mounted"
    (folder / "..2026_1").mkdir(parents=True)
    (folder / "..2026_1" / "policy.yaml").write_text("one")
    (folder / "..data").symlink_to("..2026_1")
    (folder / "policy.yaml").symlink_to("..data/policy.yaml")
    watched = Watched(folder / "policy.yaml")
    task = asyncio.create_task(watch_policy(watched.path, watched.told.release))
    await watched.await_told()  # at the beginning
    yield watched
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)


async def test_a_write_in_place_is_told(watched: Watched) -> None:
    watched.path.write_text("two")
    await watched.await_told()


async def test_a_write_in_pieces_is_told_once(watched: Watched) -> None:
    with watched.path.open("w") as file:
        for piece in range(8):
            file.write(f"piece {piece}\n")
            file.flush()
            await asyncio.sleep(0.02)
    await watched.await_told()


async def test_another_file_put_in_its_place_is_told(watched: Watched) -> None:
    """As editors and ``sed -i`` do."""
    new = watched.path.with_name("policy.yaml.swp")
    new.write_text("two")
    new.replace(watched.path)
    await watched.await_told()
    new.write_text("three")
    new.replace(watched.path)
    await watched.await_told()


async def test_a_config_map_set_anew_is_told(watched: Watched) -> None:
    folder = watched.path.parent
    for number in (2, 3):
        (folder / f"..2026_{number}").mkdir()
        (folder / f"..2026_{number}" / "policy.yaml").write_text(f"number {number}")
        (folder / "..data_tmp").symlink_to(f"..2026_{number}")
        (folder / "..data_tmp").replace(folder / "..data")
        shutil.rmtree(folder / f"..2026_{number - 1}")
        await watched.await_told()


async def test_the_file_behind_links_is_watched_where_it_lies(watched: Watched) -> None:
    (watched.path.parent / "..2026_1" / "policy.yaml").write_text("two")
    await watched.await_told()


async def test_a_file_that_goes_and_comes_back_is_told_when_it_is_there(watched: Watched) -> None:
    text = watched.path.read_text()
    watched.path.unlink()
    await watched.await_told()
    watched.path.write_text(text)
    await watched.await_told()


async def test_what_holds_the_same_as_before_is_no_change(watched: Watched) -> None:
    watched.path.write_text("one")
    os.utime(watched.path)
    (watched.path.parent / "another.yaml").write_text("x")
    await watched.await_quiet()


async def test_a_log_in_the_same_folder_makes_nobody_look(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen to fail without the filter: each line that was written led to a look."""
    log = watched.path.with_name("access.log")
    log.touch()
    await watched.await_quiet()
    looks: list[int] = []
    monkeypatch.setattr(policy_watch, "digest_of", lambda _: looks.append(1) or "")
    for number in range(20):
        with log.open("a") as file:
            file.write(f"line {number}\n")
    await watched.await_quiet()
    assert not looks


async def test_a_folder_that_is_replaced_is_found_by_the_next_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_watch, "LOOK_S", 0.2)
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "policy.yaml").write_text("one")
    watched = Watched(folder / "policy.yaml")
    task = asyncio.create_task(watch_policy(watched.path, watched.told.release))
    await watched.await_told()
    folder.rename(tmp_path / "old")
    await watched.await_told()  # it is gone
    folder.mkdir()
    (folder / "policy.yaml").write_text("two")
    await watched.await_told()
    (folder / "policy.yaml").write_text("three")
    await watched.await_told()
    task.cancel()


async def test_a_log_that_is_written_all_the_time_does_not_put_off_the_next_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link in the middle of the path is set anew, which the kernel tells nobody, while a log grows in a folder that is watched. Seen to fail
    with the time until the next look counted from the last event."""
    monkeypatch.setattr(policy_watch, "LOOK_S", 1.0)
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "policy.yaml").write_text(version)
    current = tmp_path / "current"
    current.symlink_to("v1")
    watched = Watched(current / "policy.yaml")
    task = asyncio.create_task(watch_policy(watched.path, watched.told.release))
    noise = asyncio.create_task(_write_all_the_time(tmp_path / "v1" / "access.log"))
    await watched.await_told()
    (tmp_path / "next").symlink_to("v2")
    (tmp_path / "next").replace(current)
    await watched.await_told()
    for each in (task, noise):
        each.cancel()
    await asyncio.wait((task, noise), timeout=10)


async def _write_all_the_time(log: Path) -> None:
    while True:
        with log.open("a") as file:
            file.write("line\n")
        await asyncio.sleep(0.05)
