"""``python -m bench.push URL DATA_DIR CHANGES``: from the sending of a change to the drop of the record in a worker's memory, in microseconds each.

Writer and worker are in this one process, on one clock and one loop, each with its own connection to a real store: the worker's parts are those of a
worker, with its link and its cache; the writer is a client that changes tokens by the script that every change goes through. Prints a JSON list.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from time import perf_counter_ns
from typing import Final

import uvloop

from bench.population import populate
from bench.processes import CannotMeasure
from gateway.core.audit import AuditEntry
from gateway.core.principal import ON_ITS_OWN
from gateway.core.token_record import LiveRecord
from gateway.core.token_text import TokenText
from gateway.store.connection import StoreOptions
from gateway.store.scripts import CHANGE
from gateway.store.server import Store
from gateway.store.token_store import RedisTokenStore

TOKENS: Final = 200
_WITHIN_S: Final = 5.0


async def drops(options: StoreOptions, tokens: list[TokenText], changes: int) -> list[float]:
    """Microseconds from each change to its drop. CannotMeasure where a record is not dropped, or not at hand before."""
    ours, others = Store(options), Store(options)
    await others.start()
    ours.identity.load()
    worker = RedisTokenStore(ours, records=len(tokens), lease_s=options.lease_s, worker="bench/0")
    heartbeat = asyncio.create_task(worker.run())
    loop, found = asyncio.get_running_loop(), []
    try:
        async with others.session() as (session, now_ms):
            for number in range(changes):
                token_id = tokens[number % len(tokens)].id
                await _at_hand(worker, token_id)
                dropped: asyncio.Future[int] = loop.create_future()
                worker.on_change = lambda changed, dropped=dropped, wanted=token_id: _note(worker, dropped, changed, wanted)  # type: ignore[misc]
                keys = (ours.keys.live(token_id), ours.keys.info(token_id), ours.keys.workers)
                entry = AuditEntry("token.rename", ON_ITS_OWN, token_id)
                begun = perf_counter_ns()
                await others.chain.run(session, CHANGE, keys, ("rename", "description", str(number)), entry, now_ms)
                async with asyncio.timeout(_WITHIN_S):
                    found.append((await dropped - begun) / 1000)
    except TimeoutError:
        raise CannotMeasure("a changed record was not dropped") from None
    finally:
        heartbeat.cancel()
        await worker.close()
        await others.close()
    return found


def _note(worker: RedisTokenStore, dropped: asyncio.Future[int], changed: str, wanted: str) -> None:
    """The store has told of a change: the record is gone by now."""
    if changed == wanted and not dropped.done() and not isinstance(worker.at_hand(wanted)[0], LiveRecord):
        dropped.set_result(perf_counter_ns())


async def _at_hand(worker: RedisTokenStore, token_id: str) -> None:
    """Look the token up until it is at hand: what comes while a change is being confirmed goes again."""
    try:
        async with asyncio.timeout(_WITHIN_S):
            while not isinstance(worker.at_hand(token_id)[0], LiveRecord):
                await worker.fetch(token_id)
                await asyncio.sleep(0)
    except TimeoutError:
        raise CannotMeasure("a token does not come to hand: the machine is too busy for the heartbeat") from None


def main() -> None:
    url, folder, changes = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    options = StoreOptions(url, folder, timeout_s=_WITHIN_S)
    print(json.dumps(uvloop.run(drops(options, populate(options, TOKENS), changes))))


if __name__ == "__main__":
    main()
