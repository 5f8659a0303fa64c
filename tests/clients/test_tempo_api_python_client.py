"""tempo-api-python-client works through the gateway; it follows ``metadata.next`` word for word, with the token."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from tempoapiclient.client_v4 import Tempo
from tempoapiclient.rest_client import RestAPIClient

from gateway.sample.data import ACCOUNT_IDS
from tests.clients.through_gateway import assert_all_came_through
from tests.clients.watched_sample import WatchedSample
from tests.harness.gateway import GatewayProcess, Made

Connect = Callable[..., Tempo]


@pytest.fixture
def connect(tempo_gateway: GatewayProcess, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """The client, as an integration makes it: token and ``base_url`` are its own options."""
    # Its post() keeps the token in a dictionary that all its instances share: each test has one of its own.
    monkeypatch.setattr(RestAPIClient, "default_headers", dict(RestAPIClient.default_headers))

    def make(made: Made, **options: int) -> Tempo:
        return Tempo(auth_token=made.secret, base_url=f"http://127.0.0.1:{tempo_gateway.port}/4", **options)

    return make


def test_every_page_of_worklogs_comes_through_the_gateway(tempo_gateway: GatewayProcess, sample: WatchedSample, connect: Connect) -> None:
    made = tempo_gateway.make("worklogs:view")
    with connect(made, limit=500) as tempo:
        worklogs = tempo.get_worklogs("2026-01-01", "2026-12-31")
    assert len({worklog["tempoWorklogId"] for worklog in worklogs}) == len(worklogs) == 2520
    assert [parse_qs(urlsplit(seen.target).query)["offset"] for seen in sample.seen] == [["0"], ["500"], ["1000"], ["1500"], ["2000"], ["2500"]]
    assert all(worklog["self"].startswith(f"http://127.0.0.1:{tempo_gateway.port}/4/worklogs/") for worklog in worklogs)
    assert_all_came_through(tempo_gateway, sample, made)


def test_its_default_page_size_works_too(tempo_gateway: GatewayProcess, sample: WatchedSample, connect: Connect) -> None:
    made = tempo_gateway.make("worklogs:view")
    with connect(made) as tempo:
        assert len(tempo.get_worklogs("2026-01-01", "2026-12-31")) == 2520
    assert len(sample.seen) == 3  # it asks for 5000 and gets 1000 at once
    assert_all_came_through(tempo_gateway, sample, made)


def test_accounts_are_read_page_by_page(tempo_gateway: GatewayProcess, sample: WatchedSample, connect: Connect) -> None:
    made = tempo_gateway.make("accounts:view")
    with connect(made) as tempo:
        assert [account["key"] for account in tempo.get_accounts()] == [f"ACC-{n}" for n in range(1, 121)]
    assert len(sample.seen) == 3
    assert_all_came_through(tempo_gateway, sample, made)


def test_view_is_enough_to_list_by_a_posted_search(tempo_gateway: GatewayProcess, sample: WatchedSample, connect: Connect) -> None:
    made = tempo_gateway.make("worklogs:view")
    with connect(made) as tempo:
        page = tempo.search_worklogs("2026-01-01", "2026-12-31", authorIds=[ACCOUNT_IDS[0]], limit=100)
        assert {worklog["author"]["accountId"] for worklog in page["results"]} == {ACCOUNT_IDS[0]}
        assert page["metadata"]["next"].startswith(f"http://127.0.0.1:{tempo_gateway.port}/4/worklogs/search?")
    assert [seen.method for seen in sample.seen] == ["POST"]
    assert_all_came_through(tempo_gateway, sample, made)


def test_view_is_not_enough_to_make_a_worklog(tempo_gateway: GatewayProcess, sample: WatchedSample, connect: Connect) -> None:
    with connect(tempo_gateway.make("worklogs:view")) as tempo, pytest.raises(SystemExit, match="403 Client Error"):
        tempo.create_worklog(ACCOUNT_IDS[0], 10001, "2026-11-02", 3600)
    assert sample.seen == []


def test_manage_makes_changes_and_removes_a_worklog(tempo_gateway: GatewayProcess, sample: WatchedSample, connect: Connect) -> None:
    made = tempo_gateway.make("worklogs:manage")
    with connect(made) as tempo:
        number = tempo.create_worklog(ACCOUNT_IDS[0], 10001, "2026-11-02", 3600, description="Café")["tempoWorklogId"]
        assert tempo.get_worklogs("2026-01-01", "2026-12-31", worklogId=number)["description"] == "Café"
        assert tempo.update_worklog(number, ACCOUNT_IDS[0], "2026-11-03", 1800)["startDate"] == "2026-11-03"
        assert tempo.delete_worklog(number) == {}
    assert [seen.method for seen in sample.seen] == ["POST", "GET", "PUT", "DELETE"]
    assert_all_came_through(tempo_gateway, sample, made)


def test_account_ids_keep_their_colon(tempo_gateway: GatewayProcess, sample: WatchedSample, connect: Connect) -> None:
    made = tempo_gateway.make("worklogs:view")
    with connect(made, limit=100) as tempo:
        assert len(tempo.get_worklogs("2026-01-01", "2026-12-31", accountId=ACCOUNT_IDS[0])) == 210
    assert len(sample.seen) == 3
    assert_all_came_through(tempo_gateway, sample, made)


def test_a_full_token_serves_what_the_client_knows(tempo_gateway: GatewayProcess, sample: WatchedSample, connect: Connect) -> None:
    made = tempo_gateway.make()
    with connect(made) as tempo:
        assert [team["name"] for team in tempo.get_teams()] == ["Blue", "Green", "Red"]
        assert len(tempo.get_team_members(1)) == 4
        assert len(tempo.get_user_schedule("2026-11-02", "2026-11-08")) == 7
        assert len(tempo.get_periods("2026-11-02", "2026-11-15")["periods"]) == 2
        assert len(tempo.get_plans("2026-06-01", "2026-06-30")["results"]) == 12
        assert tempo.get_timesheet_approvals(dateFrom="2026-11-02", userId=ACCOUNT_IDS[0])["status"] == {"key": "OPEN"}
        assert tempo.get_work_attributes()[0]["key"] == "_Role_"
    assert_all_came_through(tempo_gateway, sample, made)
