"""Schemathesis against the management port: whatever fits the description, or just doesn't, meets no 500, no status and no body that is not described,
and is refused where it is wrong. As an admin and as a user, with a fixed seed; ``make schemathesis`` looks longer.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from gateway.policy_file.load import parse_policy
from gateway.store.server import Store
from tests.flow.management_port import CLIENT, ISSUER, KEY, POLICY, management_port, user_jwt

EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "25")
SEED = os.environ.get("SCHEMATHESIS_SEED", "5")
# What a schema can't say (which scopes there are) makes a body that fits it still wrong: 422 is right then. And DELETE ends a token, whose record stays.
LEFT_OUT = "positive_data_acceptance,use_after_free"


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("caller", ["admin", "user"])
async def test_schemathesis_finds_nothing(store: Store, caller: str, tmp_path: Path) -> None:
    async with management_port(store, issuers=[ISSUER], clients=[CLIENT]) as port:
        port.policy = parse_policy(POLICY.replace(b"max_per_owner: 5", b"max_per_owner: 100000"), "policy.yaml")
        key = KEY if caller == "admin" else user_jwt("ana", exp_s=3600)
        arguments = [
            *("run", f"http://127.0.0.1:{port.port}/api/v1/openapi.json", "--header", f"Authorization: Bearer {key}"),
            *("--checks", "all", "--exclude-checks", LEFT_OUT, "--max-examples", EXAMPLES, "--seed", SEED, "--no-color"),
            *("--continue-on-failure", "--suppress-health-check", "all", "--warnings", "off"),
        ]
        running = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("schemathesis"), *arguments, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said = (await running.communicate())[0].decode()
    print(said)
    assert running.returncode == 0, said
    assert not any(code in {"internal_error", "store_unavailable"} for (_, _, _, code) in port.counters.management)
