"""The audit log of a gateway as it runs: whoever changes something, and whatever ends it by force, the log is whole and tells all of it."""

from __future__ import annotations

import hashlib
import json
import signal
from typing import Any

from tests.harness.gateway import POLICY, GatewayProcess
from tests.harness.waiting import eventually


def export(gateway: GatewayProcess) -> list[dict[str, Any]]:
    done = gateway.cli("audit", "export")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def verified(gateway: GatewayProcess) -> dict[str, Any]:
    done = gateway.cli("audit", "verify", "--json")
    assert done.returncode in {0, 1}, done.stderr
    return dict(json.loads(done.stdout))


def test_api_command_line_reload_and_refusals_are_one_chain(own: GatewayProcess) -> None:
    """Seen to fail without the entry in ``ManagementApp.use``, and without ``AuditBacklog.run`` among its tasks."""
    made = own.make("worklogs")
    assert own.cli("token", "suspend", made.id).returncode == 0
    own.api("DELETE", f"/tokens/{made.id}")
    changed = POLICY.replace("title: Teams", "title: The teams")
    own.policy_file.write_text(changed)
    own.tell(signal.SIGHUP)
    assert own.admin("GET", "/api/v1/tokens", key="w" * 40)[0] == 401
    eventually(lambda: len(export(own)) == 5, "five entries")
    entries = export(own)
    told = {(each["action"], each["subject"], each["via"], each["from"]) for each in entries}
    assert told == {
        ("token.create", "operator", "admin_key", "127.0.0.1"),
        ("token.suspend", "operator", "command", ""),
        ("token.revoke", "operator", "admin_key", "127.0.0.1"),
        ("policy.reload", "gateway", "process", ""),
        ("call.refused", "", "", "127.0.0.1"),
    }
    (reload,) = [each["details"] for each in entries if each["action"] == "policy.reload"]
    assert reload == {name: hashlib.sha256(text.encode()).hexdigest() for name, text in (("old", POLICY), ("new", changed))}
    assert verified(own)["whole"]
    assert made.secret not in own.cli("audit", "export").stdout


def test_what_was_answered_before_kill_9_is_in_the_log_and_the_log_goes_on(own: GatewayProcess) -> None:
    made = [own.make("worklogs") for _ in range(5)]
    own.api("DELETE", f"/tokens/{made[0].id}")
    assert own.process is not None
    own.process.kill()
    own.process.wait(10)
    own.kill_store()
    own.start()
    own.make("worklogs")
    entries = export(own)
    assert [(each["action"], each["token_id"]) for each in entries[:6]] == [*(("token.create", each.id) for each in made), ("token.revoke", made[0].id)]
    assert (verified(own)["whole"], verified(own)["entries"]) == (True, 7)


def test_a_refusal_just_before_the_end_is_noted(own: GatewayProcess) -> None:
    """Seen to fail without ``AuditBacklog.finish``."""
    for _ in range(40):
        assert own.admin("GET", "/api/v1/tokens", key="w" * 40)[0] == 401
    assert own.stop() == 0
    entries = export(own)
    assert [each["details"].get("more") for each in entries[-1:]] == [10]
    assert len(entries) == 31


def test_an_older_state_of_the_store_is_found_on_the_node_that_has_seen_more(own: GatewayProcess) -> None:
    """A backup of the store alone is put back: the node's own memory is newer."""
    own.make("worklogs")
    with own.store() as store:
        before = store.dump("sg:audit")
        own.make("worklogs")
        own.make("worklogs")
        store.restore("sg:audit", 0, before, replace=True)
    broken = verified(own)["broken"]
    assert (broken["kind"], broken["seq"]) == ("truncated", 2)
    own.make("worklogs")
    own.make("worklogs")
    own.make("worklogs")
    broken = verified(own)["broken"]
    assert (broken["kind"], broken["seq"]) == ("rewritten", 3)
