"""G6: what was answered survives kill -9 of gateway and store. G7: no secret is at rest."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from gateway.core.token_text import digest
from gateway.flow.issuance import ON_THE_COMMAND_LINE, Issuance
from gateway.policy_file.load import parse_policy
from gateway.store.audit_log import RedisAuditLog
from gateway.store.connection import StoreOptions
from gateway.store.embedded import EmbeddedStore
from gateway.store.server import Store
from gateway.store.token_register import RedisTokenRegister
from gateway.store.token_store import RedisTokenStore

ROOT = Path(__file__).parents[2]
POLICY = "version: 1\ntokens: {max_per_owner: 100000}\nscopes: {worklogs: {}}\nroutes: [{path: /worklogs, scope: worklogs}]\n"

# A gateway that changes tokens as fast as it can, and says so only once it has the answer.
BUSY = """
    import asyncio, json, sys
    from pathlib import Path
    from gateway.flow.issuance import ON_THE_COMMAND_LINE, Issuance
    from gateway.policy_file.load import parse_policy
    from gateway.store.connection import StoreOptions
    from gateway.store.embedded import EmbeddedStore
    from gateway.store.server import Store
    from gateway.store.token_register import RedisTokenRegister

    async def main(server, policy):
        store = Store(StoreOptions(server.url, server.data_dir, timeout_s=5, embedded=True))
        await store.start()
        issuance = Issuance(RedisTokenRegister(store), "sgt", by=ON_THE_COMMAND_LINE)
        async def busy():
            while True:
                first = await issuance.create(name="x", full=True, policy=policy)
                print(json.dumps(["created", first.token.id, first.secret]), flush=True)
                second = await issuance.regenerate(first.token.id)
                print(json.dumps(["regenerated", first.token.id, second.secret]), flush=True)
                third = await issuance.create(name="x", full=True, policy=policy)
                await issuance.revoke(third.token.id)
                print(json.dumps(["revoked", third.token.id, third.secret]), flush=True)
        await asyncio.gather(*(busy() for _ in range(4)))

    server = EmbeddedStore(Path(sys.argv[1]))
    server.start()
    print(server.pid, flush=True)
    asyncio.run(main(server, parse_policy(sys.argv[2], "policy.yaml")))
"""


def work_until_killed(data_dir: Path, answers: int) -> list[tuple[str, str, str]]:
    """What the busy gateway had answered when it and its server were killed."""
    gateway = subprocess.Popen([sys.executable, "-c", textwrap.dedent(BUSY), str(data_dir), POLICY], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert gateway.stdout
    server = int(gateway.stdout.readline())
    lines = [gateway.stdout.readline() for _ in range(answers)]
    os.kill(server, signal.SIGKILL)
    gateway.kill()
    rest = gateway.stdout.read().splitlines()  # answered, but read only now
    gateway.wait()
    gateway.stdout.close()
    return [tuple(json.loads(line)) for line in [*lines, *rest] if line.rstrip().endswith("]")]


async def test_answered_changes_survive_kill_9_of_gateway_and_store_with_their_entries_in_the_audit_log(tmp_path: Path) -> None:
    answered = await asyncio.to_thread(work_until_killed, tmp_path, 150)
    assert len(answered) >= 150
    with EmbeddedStore(tmp_path) as server:
        store = Store(StoreOptions(server.url, tmp_path, timeout_s=5, embedded=True))
        await store.start()
        records, _ = await RedisTokenStore(store).fetch_many([token_id for _, token_id, _ in answered])
        for what, token_id, secret in answered:
            record = records[token_id]
            if what == "created":
                assert digest(secret) in {record.digest, record.previous}
            elif what == "regenerated":
                assert record.digest == digest(secret)
            else:
                assert record.state == "revoked"
        listed = {record.id for _, record in (await RedisTokenRegister(store).page(owner=None, cursor="", count=100_000))[0]}
        assert {token_id for _, token_id, _ in answered} <= listed
        log = RedisAuditLog(store)
        assert (await log.verify()).fault is None
        noted = {(entry.facts()["action"], entry.facts()["token_id"]) async for _, entry in log.after()}
        actions = {"created": "token.create", "regenerated": "token.regenerate", "revoked": "token.revoke"}
        assert {(actions[what], token_id) for what, token_id, _ in answered} <= noted
        await store.close()


async def test_no_secret_is_at_rest(tmp_path: Path) -> None:
    secrets: list[str] = []
    with EmbeddedStore(tmp_path) as server:
        store = Store(StoreOptions(server.url, tmp_path, timeout_s=5, embedded=True))
        await store.start()
        issuance = Issuance(RedisTokenRegister(store), "sgt", by=ON_THE_COMMAND_LINE)
        issued = await issuance.create(name="findable-name", full=True, policy=parse_policy(POLICY, "policy.yaml"))
        secrets.append(issued.secret)
        secrets.append((await issuance.regenerate(issued.token.id, overlap_s=60)).secret)
        await issuance.suspend(issued.token.id)
        async with store.session() as (session, _):
            await session.write(("BGREWRITEAOF",))  # the compact form too
            while b"aof_rewrite_in_progress:1" in (await session.ask(("INFO", "persistence")))[0]:
                await asyncio.sleep(0.01)
        await issuance.resume(issued.token.id)
        await store.close()
    rest = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"findable-name" in rest
    for secret in secrets:
        assert secret.encode() not in rest
        assert secret.split("_")[2][:32].encode() not in rest
