"""``python -m bench.policy_plan``: how long ``policy plan --store`` takes with 100,000 tokens and 1,000 routes, and how much memory."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.command import say
from bench.population import populate
from gateway.store.connection import StoreOptions
from gateway.store.embedded import EmbeddedStore

TOKENS: Final = 100_000
ROUTES: Final = 1_000
SCOPES: Final = 100
CHANGED: Final = 50
ROUNDS: Final = 3
_SETS: Final = 80_000


def policy(changed: int) -> str:
    """Ten routes a scope. Of the first ``changed`` scopes one route belongs to the next scope."""
    lines = ["version: 1", "scopes:", *(f"  scope-{number}: {{}}" for number in range(SCOPES)), "routes:"]
    for number in range(ROUTES):
        scope = number // (ROUTES // SCOPES)
        moved = number % (ROUTES // SCOPES) == 0 and scope < changed
        lines.append(f'  - {{path: "/v1/area-{scope}/thing-{number}/{{id}}/**", scope: scope-{(scope + moved) % SCOPES}}}')
    return "\n".join(lines) + "\n"


def main() -> int:
    """Make the tokens, then plan the change some times; one line of JSON on standard output."""
    chance = random.Random(1)
    sets = [tuple(f"scope-{number}:{chance.choice(['view', 'manage'])}" for number in chance.sample(range(SCOPES), chance.randint(1, 8))) for _ in range(_SETS)]
    with tempfile.TemporaryDirectory(prefix="scopegate-bench-") as name:
        folder = Path(name)
        (folder / "old.yaml").write_text(policy(0))
        (folder / "new.yaml").write_text(policy(CHANGED))
        (folder / "gateway.yaml").write_text(
            f'policy: {folder}/old.yaml\nstore: {{data_dir: {folder}/data, timeout: 5s}}\nupstreams: {{api: {{url: "http://127.0.0.1:9"}}}}\n'
        )
        with EmbeddedStore(folder / "data") as server:
            say(f"{TOKENS:,} tokens are made")
            populate(StoreOptions(server.url, folder / "data", timeout_s=5, embedded=True), TOKENS, sets)
            seconds = []
            for _ in range(ROUNDS):
                begun = time.monotonic()
                command = [sys.executable, "-m", "gateway", "policy", "plan", "old.yaml", "new.yaml", "--store", "-c", "gateway.yaml"]
                done = subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(Path.cwd())}, capture_output=True, text=True, check=False)
                seconds.append(round(time.monotonic() - begun, 2))
                if done.returncode != 1 or f"{TOKENS} living" not in done.stdout:
                    say(done.stdout[-500:] + done.stderr[-500:])
                    return 2
                say(f"{seconds[-1]} s")
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(json.dumps({"tokens": TOKENS, "routes": ROUTES, "changed": CHANGED, "seconds": seconds, "peak_mb": peak_mb}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
