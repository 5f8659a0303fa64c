"""Something answers for each of the eight scopes of the shipped policy, and only to a token that holds it."""

from __future__ import annotations

import pytest

from gateway.sample.data import ACCOUNT_IDS
from tests.clients.watched_sample import WatchedSample
from tests.harness.gateway import GatewayProcess

_PATHS = {
    "worklogs": ("/4/worklogs", "/4/work-attributes"),
    "teams": ("/4/teams", "/4/roles", "/4/team-links/1", "/4/team-memberships/1"),
    "schemes": ("/4/workload-schemes", "/4/holiday-schemes", "/4/user-schedule"),
    "plans": ("/4/plans", "/4/programs"),
    "periods": ("/4/periods",),
    "approvals": ("/4/timesheet-approvals/waiting", f"/4/timesheet-approvals/user/{ACCOUNT_IDS[0].replace(':', '%3A')}"),
    "accounts": ("/4/accounts", "/4/account-categories", "/4/account-category-types", "/4/account-links/1", "/4/customers"),
    "financial-manager": ("/4/projects", "/4/portfolios", "/4/project-attributes", "/4/billing-rates-tables"),
}


@pytest.mark.parametrize("scope", _PATHS)
def test_a_scope_opens_its_own_resources_and_no_other(tempo_gateway: GatewayProcess, sample: WatchedSample, scope: str) -> None:
    secret = tempo_gateway.token(f"{scope}:view")
    for holder, paths in _PATHS.items():
        for path in paths:
            answer = tempo_gateway.ask("GET", path, token=secret)
            assert (path, answer.status) == (path, 200 if holder == scope else 403)
    assert [seen.target for seen in sample.seen] == list(_PATHS[scope])
