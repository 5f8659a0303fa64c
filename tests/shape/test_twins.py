"""Every source file has a test of its own in tests/unit, or stands here with the test that covers it through real parts."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.shape.tree import ROOT, files, sources, syntax

# Files that do their work only together with a socket, a store or a process: the test that goes through them.
COVERED_BY = {
    "gateway/__main__.py": "tests/fault/test_start.py",
    "gateway/app/data_plane.py": "tests/fault/test_drain_and_reload.py",
    "gateway/app/management.py": "tests/fault/test_stalls.py",
    "gateway/openapi/pieces.py": "tests/unit/openapi/test_take_apart.py",
    "gateway/store/record_reader.py": "tests/flow/test_me.py",
    "gateway/ports.py": "tests/contract/test_store_lookups.py",
    "gateway/cli/decision.py": "tests/flow/test_explained.py",
    "gateway/store/decision_stream.py": "tests/contract/test_decision_stream.py",
    "gateway/flow/notices.py": "tests/contract/test_notices.py",
    "gateway/management/usage.py": "tests/flow/test_token_usage.py",
    "gateway/management/webhook.py": "tests/flow/test_webhooks.py",
    "gateway/store/notice_queue.py": "tests/contract/test_notices.py",
    "gateway/cli/demo.py": "tests/clients/test_demo.py",
    "gateway/cli/leak_sources.py": "tests/unit/cli/test_scan.py",
    "gateway/cli/main.py": "tests/shape/test_commands_documented.py",
    "gateway/cli/options.py": "tests/unit/cli/test_policy_commands.py",
    "gateway/cli/output.py": "tests/unit/cli/test_tokens.py",
    "gateway/cli/plan_report.py": "tests/unit/cli/test_policy_plan.py",
    "gateway/cli/policy.py": "tests/unit/cli/test_policy_commands.py",
    "gateway/cli/serve.py": "tests/fault/test_start.py",
    "gateway/cli/store.py": "tests/fault/test_store_faults.py",
    "gateway/cli/store_session.py": "tests/unit/cli/test_tokens.py",
    "gateway/core/finding.py": "tests/unit/store/test_diagnosis.py",
    "gateway/core/decision.py": "tests/unit/core/test_decisions_of_core.py",
    "gateway/core/route.py": "tests/unit/core/test_route_table.py",
    "gateway/core/token_record.py": "tests/unit/core/test_authorize.py",
    "gateway/flow/engine.py": "tests/flow/test_decisions.py",
    "gateway/inbound/account.py": "tests/flow/test_access_log_lines.py",
    "gateway/inbound/downward.py": "tests/flow/test_answers.py",
    "gateway/inbound/ending.py": "tests/flow/test_answers.py",
    "gateway/inbound/live.py": "tests/flow/test_streams.py",
    "gateway/inbound/proxy.py": "tests/flow/test_forwarded_fields.py",
    "gateway/inbound/tunnel.py": "tests/flow/test_tunnel.py",
    "gateway/inbound/upward.py": "tests/flow/test_forwarded_requests.py",
    "gateway/management/app.py": "tests/flow/test_management_guard.py",
    "gateway/core/principal.py": "tests/flow/test_callers.py",
    "gateway/flow/sign_in.py": "tests/flow/test_sign_in.py",
    "gateway/management/callers.py": "tests/flow/test_callers.py",
    "gateway/management/sign_in.py": "tests/flow/test_sign_in.py",
    "gateway/settings/public_key.py": "tests/unit/settings/test_settings_load.py",
    "gateway/store/browser_sessions.py": "tests/contract/test_browser_sessions.py",
    "gateway/ui/sign_in_pages.py": "tests/flow/test_sign_in.py",
    "gateway/management/user_tokens.py": "tests/attacks/test_jwts.py",
    "gateway/management/audit.py": "tests/flow/test_management_audit.py",
    "gateway/settings/key_file.py": "tests/unit/settings/test_settings_admin_key.py",
    "gateway/store/audit_chain.py": "tests/contract/test_audit_log.py",
    "gateway/store/audit_log.py": "tests/contract/test_audit_log.py",
    "gateway/ui/pages.py": "tests/flow/test_callers.py",
    "gateway/flow/holding.py": "tests/flow/test_oauth.py",
    "gateway/flow/once.py": "tests/flow/test_idempotency.py",
    "gateway/management/answers.py": "tests/flow/test_management_description.py",
    "gateway/management/calls.py": "tests/flow/test_management_description.py",
    "gateway/management/description.py": "tests/flow/test_management_description.py",
    "gateway/management/form.py": "tests/flow/test_oauth.py",
    "gateway/management/oauth.py": "tests/flow/test_oauth.py",
    "gateway/management/policy.py": "tests/flow/test_policy_calls.py",
    "gateway/management/guard.py": "tests/flow/test_management_guard.py",
    "gateway/management/health.py": "tests/flow/test_management_guard.py",
    "gateway/management/payload.py": "tests/flow/test_management_tokens.py",
    "gateway/management/server.py": "tests/flow/test_management_guard.py",
    "gateway/management/tokens.py": "tests/flow/test_management_tokens.py",
    "gateway/observe/exposition.py": "tests/unit/observe/test_metrics.py",
    "gateway/policy_file/compile.py": "tests/unit/policy_file/test_policy_load.py",
    "gateway/processes/management.py": "tests/fault/test_workers.py",
    "gateway/processes/start.py": "tests/fault/test_workers.py",
    "gateway/processes/supervisor.py": "tests/fault/test_workers.py",
    "gateway/sample/__main__.py": "tests/unit/sample/test_sample_process.py",
    "gateway/sample/asked.py": "tests/unit/sample/test_tempo.py",
    "gateway/sample/data.py": "tests/unit/sample/test_tempo.py",
    "gateway/settings/file_model.py": "tests/unit/settings/test_settings_documented.py",
    "gateway/settings/shape.py": "tests/unit/settings/test_settings_load.py",
    "gateway/upstream/answer.py": "tests/unit/upstream/test_exchange.py",
    "gateway/store/confirmations.py": "tests/contract/test_store_changes.py",
    "gateway/store/embedded.py": "tests/contract/test_embedded_store.py",
    "gateway/store/identity.py": "tests/contract/test_store_server.py",
    "gateway/store/keys.py": "tests/contract/test_store_changes.py",
    "gateway/store/limit_store.py": "tests/contract/test_limit_store.py",
    "gateway/store/record_cache.py": "tests/contract/test_store_lookups.py",
    "gateway/store/once_store.py": "tests/flow/test_idempotency.py",
    "gateway/store/records.py": "tests/contract/test_store_changes.py",
    "gateway/store/scripts/__init__.py": "tests/contract/test_store_changes.py",
    "gateway/store/server.py": "tests/contract/test_store_server.py",
    "gateway/store/tls.py": "tests/contract/test_tls.py",
    "gateway/store/token_register.py": "tests/contract/test_store_changes.py",
    "gateway/store/token_store.py": "tests/contract/test_store_lookups.py",
    "gateway/store/usage_ledger.py": "tests/contract/test_usage_ledger.py",
    "gateway/store/wire.py": "tests/contract/test_embedded_store.py",
}
_CODE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# An __init__ that only names what its room gives has nothing to test.
TESTED = [path for path in sources() if not path.endswith("/__init__.py") or any(isinstance(node, _CODE) for node in syntax(path).body)]


def twins(path: str) -> list[Path]:
    """Tests of the same name in the same room of tests/unit; a prefix keeps names apart, as in test_policy_load.py."""
    inner = Path(path).relative_to("gateway")
    return [*(ROOT / "tests" / "unit" / inner.parent).glob(f"test_{inner.name}"), *(ROOT / "tests" / "unit" / inner.parent).glob(f"test_*_{inner.name}")]


@pytest.mark.parametrize("path", TESTED)
def test_the_file_is_covered_by_a_twin_or_by_the_test_that_the_list_names(path: str) -> None:
    if path in COVERED_BY:
        assert (ROOT / COVERED_BY[path]).is_file()
        assert not twins(path), "it has a twin now: take it off the list"
    else:
        assert twins(path), f"write tests/unit/{Path(path).parent.relative_to('gateway')}/test_{Path(path).name}, or name here the test that covers it"


def test_the_list_names_no_file_that_is_gone() -> None:
    assert sorted(set(COVERED_BY) - set(TESTED)) == []


def test_every_test_file_of_unit_lies_in_a_room_of_the_gateway() -> None:
    rooms = {Path(path).parent.name for path in sources()}
    tests = [path for path in files(".py") if path.startswith("tests/unit/")]
    assert [path for path in tests if Path(path).parent.name not in {*rooms, "bench"}] == []
