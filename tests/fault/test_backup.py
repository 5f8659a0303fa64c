"""A backup of the embedded store, made and restored as docs/operations.md says."""

from __future__ import annotations

import json
import shutil

from tests.harness.gateway import GatewayProcess


def state(gateway: GatewayProcess, token_id: str) -> str:
    done = gateway.cli("token", "show", token_id, "--json")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["token"]["state"])


def test_restored_folder_holds_what_it_held_and_brings_ended_tokens_back() -> None:
    gateway = GatewayProcess("http://127.0.0.1:1")
    try:
        made = gateway.cli("token", "create", "--name", "CI", "--full", "--json")
        assert made.returncode == 0, made.stderr
        token_id = json.loads(made.stdout)["token"]["id"]
        backup = gateway.folder / "backup"
        shutil.copytree(gateway.data_dir, backup)
        assert gateway.cli("token", "revoke", token_id).returncode == 0
        assert state(gateway, token_id) == "revoked"

        shutil.rmtree(gateway.data_dir)
        shutil.copytree(backup, gateway.data_dir)
        doctor = json.loads(gateway.cli("doctor", "--json").stdout)
        assert [each for each in doctor["findings"] if each["check"].startswith(("store", "data_dir", "durability")) and each["level"] == "fail"] == []
        assert state(gateway, token_id) == "active"
    finally:
        gateway.close()


def test_backup_of_another_store_is_refused_until_it_is_adopted() -> None:
    one, other = GatewayProcess("http://127.0.0.1:1"), GatewayProcess("http://127.0.0.1:1")
    try:
        for gateway in (one, other):
            assert gateway.cli("token", "create", "--name", "CI", "--full").returncode == 0
        shutil.rmtree(one.data_dir / "appendonlydir")
        shutil.copytree(other.data_dir / "appendonlydir", one.data_dir / "appendonlydir")
        refused = one.cli("token", "list")
        assert refused.returncode == 2
        assert "is not the one that" in refused.stderr
        assert "fail store identity" in one.cli("doctor").stdout
        assert one.cli("store", "adopt").returncode == 0
        assert one.cli("token", "list").returncode == 0
    finally:
        one.close()
        other.close()
