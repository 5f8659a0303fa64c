"""The admin key is configured, or made once and kept."""

from __future__ import annotations

import dataclasses
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.policy_file.document import DocumentFault
from gateway.settings import Secret, Settings
from gateway.settings.admin_key import ensure_admin_key
from gateway.settings.load import load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    file = tmp_path / "gateway.yaml"
    file.write_text(f"store: {{data_dir: {tmp_path}/deep/data}}\nupstreams: {{api: {{url: http://127.0.0.1:8090}}}}\n")
    return load_settings(file, {})


def test_a_configured_key_is_used_and_nothing_is_written(settings: Settings) -> None:
    own = dataclasses.replace(settings, admin=dataclasses.replace(settings.admin, key=Secret("k" * 32)))
    assert ensure_admin_key(own) == Secret("k" * 32)
    assert not settings.store.data_dir.exists()


def test_a_key_is_made_once_readable_by_its_owner_alone(settings: Settings) -> None:
    before = os.umask(0)
    try:
        key = ensure_admin_key(settings)
    finally:
        os.umask(before)
    file = settings.store.data_dir / "admin.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.store.data_dir.stat().st_mode) == 0o700
    assert len(key.reveal()) >= 32
    assert file.read_text() == key.reveal() + "\n"
    assert ensure_admin_key(settings) == key
    assert [path.name for path in settings.store.data_dir.iterdir()] == ["admin.key"]


def test_two_gateways_make_two_keys(settings: Settings, tmp_path: Path) -> None:
    other = dataclasses.replace(settings, store=dataclasses.replace(settings.store, data_dir=tmp_path / "other"))
    assert ensure_admin_key(settings) != ensure_admin_key(other)


def test_starts_at_once_agree_on_one_key(settings: Settings) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = {key.reveal() for key in pool.map(lambda _: ensure_admin_key(settings), range(24))}
    assert len(keys) == 1


@pytest.mark.parametrize(("content", "why"), [("", "too short"), ("short\n", "too short"), ("k" * 31 + "\x00k\n", "printable")])
def test_a_damaged_key_file_is_a_plain_line_and_is_left_alone(settings: Settings, content: str, why: str) -> None:
    settings.store.data_dir.mkdir(parents=True)
    file = settings.store.data_dir / "admin.key"
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(DocumentFault, match=why) as caught:
        ensure_admin_key(settings)
    assert str(caught.value).startswith(f"{file}: ")
    assert file.read_text() == content


def test_a_key_that_every_user_may_read_is_refused(settings: Settings) -> None:
    ensure_admin_key(settings)
    (settings.store.data_dir / "admin.key").chmod(0o644)
    with pytest.raises(DocumentFault, match="chmod 600"):
        ensure_admin_key(settings)


def test_a_key_that_a_volumes_group_may_read_is_taken(settings: Settings) -> None:
    key = ensure_admin_key(settings)
    (settings.store.data_dir / "admin.key").chmod(0o660)
    assert ensure_admin_key(settings) == key


def test_a_data_dir_that_cannot_be_made_is_a_plain_line(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "deep").write_text("a file")
    with pytest.raises(DocumentFault, match="can't be kept here") as caught:
        ensure_admin_key(settings)
    assert "SCOPEGATE_ADMIN__KEY" in str(caught.value)
