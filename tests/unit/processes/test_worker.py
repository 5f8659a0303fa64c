"""What a worker is made of."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("library", ["pydantic", "yaml", "aiohttp", "redis", "typer", "jwt", "cryptography", "jinja2", "authlib", "httpx2"])
def test_a_worker_does_not_pay_for_what_it_does_not_use(library: str) -> None:
    """Each costs every worker 5 to 20 MB and a slower start. Seen to fail with the policy read in the worker."""
    script = f"import sys, gateway.processes.worker; sys.exit({library!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 0
