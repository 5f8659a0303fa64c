"""The sample upstream answers as the real API does, and no input breaks it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from gateway.sample.data import ACCOUNT_IDS, Collection, collections
from gateway.sample.tempo import build_sample

_SELF = "http://api.test:9"
_WORKLOG = {"issueId": 10001, "authorAccountId": ACCOUNT_IDS[0], "startDate": "2026-11-02", "timeSpentSeconds": 60}
Client = TestClient[Any, Any]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with TestClient(TestServer(build_sample(_SELF))) as client:
        yield client


async def json_of(client: Client, method: str, path: str, body: Any = None, status: int = 200, **options: Any) -> Any:
    async with client.request(method, path, json=body, **options) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def test_a_page_names_itself_the_next_and_the_previous_one_by_absolute_addresses(client: Client) -> None:
    page = await json_of(client, "GET", "/4/accounts?limit=50&offset=50&from=2026-01-01")
    assert page["self"] == f"{_SELF}/4/accounts?limit=50&offset=50&from=2026-01-01"
    assert page["metadata"] == {
        "count": 50,
        "offset": 50,
        "limit": 50,
        "next": f"{_SELF}/4/accounts?from=2026-01-01&offset=100&limit=50",
        "previous": f"{_SELF}/4/accounts?from=2026-01-01&offset=0&limit=50",
    }
    assert page["results"][0]["self"] == f"{_SELF}/4/accounts/ACC-51"


async def test_the_first_and_the_last_page_have_no_address_beyond(client: Client) -> None:
    assert "previous" not in (await json_of(client, "GET", "/4/accounts"))["metadata"]
    last = await json_of(client, "GET", "/4/accounts?offset=100")
    assert (last["metadata"]["count"], "next" in last["metadata"]) == (20, False)
    assert (await json_of(client, "GET", "/4/accounts?offset=120"))["results"] == []


async def test_a_page_holds_a_thousand_at_most(client: Client) -> None:
    page = await json_of(client, "GET", "/4/worklogs?limit=5000")
    assert (page["metadata"]["count"], page["metadata"]["limit"]) == (1000, 1000)


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=x", "offset=-1", "offset=%D9%A1", "limit=99999999999", "from=today", "from=2026-02-30", "to=2025-12-31", "to=9999-12-31"],
)
async def test_a_query_that_makes_no_sense_is_told_in_the_apis_form(client: Client, query: str) -> None:
    told = await json_of(client, "GET", f"/4/worklogs?{query}", status=400)
    assert [list(error) for error in told["errors"]] == [["message"]]
    assert query.partition("=")[0] in told["errors"][0]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
async def test_a_body_that_is_no_object_is_told_in_the_apis_form(client: Client, body: bytes) -> None:
    for method, path in (("POST", "/4/worklogs"), ("POST", "/4/worklogs/search"), ("PUT", "/4/teams/1"), ("POST", "/4/customers")):
        async with client.request(method, path, data=body, headers={"Content-Type": "application/json; charset=no-such"}) as response:
            assert response.status == 400
            assert "body must be" in (await response.json())["errors"][0]["message"]


async def test_every_fault_of_a_worklog_is_told_at_once(client: Client) -> None:
    told = await json_of(client, "POST", "/4/worklogs", {"timeSpentSeconds": True, "issueId": "10001"}, status=400)
    assert [error["message"].split()[0] for error in told["errors"]] == ["authorAccountId", "issueId", "timeSpentSeconds"]
    assert "startDate" in str(await json_of(client, "POST", "/4/worklogs", {**_WORKLOG, "startDate": 5}, status=400))


@pytest.mark.parametrize("wanted", [{"authorIds": 5}, {"issueIds": "10001"}, {"from": 5}])
async def test_a_search_for_what_is_no_list_is_told(client: Client, wanted: dict[str, Any]) -> None:
    assert next(iter(wanted)) in str(await json_of(client, "POST", "/4/worklogs/search", wanted, status=400))


async def test_what_is_not_there_is_told_in_the_apis_form(client: Client) -> None:
    assert (await json_of(client, "GET", "/4/worklogs/99999", status=404))["errors"][0]["message"] == "worklogs: 99999 was not found"
    assert (await json_of(client, "GET", "/4/nothing", status=404))["errors"] == {"message": "Not Found"}
    assert (await json_of(client, "GET", "/4/timesheet-approvals/user/nobody", status=404))["errors"][0]["message"] == "User nobody was not found"
    async with client.patch("/4/worklogs/1") as response:
        assert (response.status, "PUT" in response.headers["Allow"]) == (405, True)


async def test_a_worklog_is_made_changed_found_and_removed(client: Client) -> None:
    made = await json_of(client, "POST", "/4/worklogs", _WORKLOG)
    number = made["tempoWorklogId"]
    assert made["self"] == f"{_SELF}/4/worklogs/{number}"
    assert made["attributes"]["self"] == f"{_SELF}/4/worklogs/{number}/work-attribute-values"
    changed = await json_of(client, "PUT", f"/4/worklogs/{number}", {**_WORKLOG, "timeSpentSeconds": 120})
    assert (changed["timeSpentSeconds"], changed["issue"]) == (120, {"id": 10001})
    found = await json_of(client, "POST", "/4/worklogs/search", {"from": "2026-11-02", "to": "2026-11-02"})
    assert [worklog["tempoWorklogId"] for worklog in found["results"]] == [number]
    async with client.delete(f"/4/worklogs/{number}") as response:
        assert (response.status, await response.read()) == (204, b"")
    await json_of(client, "GET", f"/4/worklogs/{number}", status=404)


@pytest.mark.parametrize(("path", "field", "value"), [("teams", "id", 4), ("customers", "key", "CUST-9")])
async def test_other_things_are_made_changed_and_removed_too(client: Client, path: str, field: str, value: object) -> None:
    made = await json_of(client, "POST", f"/4/{path}", {"name": "New", **({field: value} if field == "key" else {"id": 1})})
    assert (made[field], made["self"]) == (value, f"{_SELF}/4/{path}/{value}")
    assert (await json_of(client, "PUT", f"/4/{path}/{value}", {"name": "Newer", field: "other"}))[field] == value
    async with client.delete(f"/4/{path}/{value}") as response:
        assert response.status == 204
    await json_of(client, "GET", f"/4/{path}/{value}", status=404)


async def test_a_key_is_needed_and_taken_once(client: Client) -> None:
    assert "key must be set" in str(await json_of(client, "POST", "/4/customers", {"key": 5}, status=400))
    assert "CUST-1 is taken" in str(await json_of(client, "POST", "/4/customers", {"key": "CUST-1"}, status=400))


async def test_a_person_is_found_by_either_spelling_of_the_colon(client: Client) -> None:
    for spelt in (ACCOUNT_IDS[0], ACCOUNT_IDS[0].replace(":", "%3A")):
        assert (await json_of(client, "GET", f"/4/worklogs/user/{spelt}"))["results"][0]["author"] == {"accountId": ACCOUNT_IDS[0]}


async def test_a_timesheet_goes_its_way(client: Client) -> None:
    sheet = f"/4/timesheet-approvals/user/{ACCOUNT_IDS[0]}"
    assert (await json_of(client, "GET", f"{sheet}?from=2026-03-04"))["period"] == {"from": "2026-03-02", "to": "2026-03-08"}
    for move, status, waiting in (("submit", "IN_REVIEW", 1), ("approve", "APPROVED", 0), ("reopen", "OPEN", 0)):
        assert (await json_of(client, "POST", f"{sheet}/{move}", {}))["status"] == {"key": status}
        assert len((await json_of(client, "GET", "/4/timesheet-approvals/waiting"))["results"]) == waiting


async def test_a_schedule_knows_working_days_and_a_period_is_a_week(client: Client) -> None:
    days = (await json_of(client, "GET", "/4/user-schedule?from=2026-11-06&to=2026-11-07"))["results"]
    assert [(day["type"], day["requiredSeconds"]) for day in days] == [("WORKING_DAY", 28800), ("NON_WORKING_DAY", 0)]
    assert (await json_of(client, "GET", "/4/periods?from=2026-11-02&to=2026-11-02"))["periods"] == [{"from": "2026-11-02", "to": "2026-11-08"}]


@pytest.mark.parametrize("collection", [c for c in collections().values() if c.path != "worklogs"], ids=lambda c: c.path)
async def test_each_list_agrees_with_its_items(client: Client, collection: Collection) -> None:
    listed = (await json_of(client, "GET", f"/4/{collection.path}?limit=1000"))["results"]
    assert listed
    for item in listed:
        assert await json_of(client, "GET", f"/4/{collection.path}/{item[collection.key]}") == item


async def test_it_tells_what_it_saw_of_the_caller(client: Client) -> None:
    told = {"X-Scopegate-Subject": "ann", "X-Scopegate-Token-Id": "abc", "X-Scopegate-Grants": "teams:view", "Authorization": "Basic eA=="}
    async with client.get("/4/teams", headers=told) as response:
        assert response.headers["X-Upstream-Saw"] == "subject=ann; token=abc; grants=teams:view; authorization=yes"
    async with client.get("/4/nothing") as response:
        assert response.headers["X-Upstream-Saw"] == "subject=-; token=-; grants=-; authorization=none"


def test_its_data_are_the_same_each_time() -> None:
    assert collections() == collections()
