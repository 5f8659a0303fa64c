"""How long a revoke by the management API takes until it is answered, which is when no worker accepts the token any more: alone, and beside a load."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.ground import Running
from bench.load import drive
from bench.plan import Case
from bench.processes import CannotMeasure
from bench.scopegate import Scopegate
from gateway.core.token_text import TokenText


def revokes(gateway: Scopegate, tokens: Sequence[TokenText], go_on: Callable[[], bool] = lambda: True) -> list[float]:
    """Milliseconds for each token that the only worker has at hand; as many as there is time for. CannotMeasure where it did not confirm."""
    found: list[float] = []
    for token in tokens:
        if not go_on():
            break
        begun = time.perf_counter()
        told = gateway.call("DELETE", f"/api/v1/tokens/{token.id}")
        found.append((time.perf_counter() - begun) * 1000)
        if not told["nodes"] == told["nodes_confirmed"] == 1:
            raise CannotMeasure(f"a revoke was confirmed by {told['nodes_confirmed']} of {told['nodes']} nodes")
    return found


def revokes_beside_load(gateway: Scopegate, row: Running, tokens: Sequence[TokenText], seconds: int, core: int) -> list[float]:
    """The same while wrk keeps the worker busy on 32 connections."""
    with ThreadPoolExecutor(1) as beside:
        load = beside.submit(drive, row, Case(377, 32), seconds, core)
        found = revokes(gateway, tokens, lambda: not load.done())
        load.result()
    if not found:
        raise CannotMeasure("no token was revoked before the load had ended")
    return found
