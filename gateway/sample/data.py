"""What the sample upstream knows at its start: the same people, teams and worklogs each time, so that examples can name them.

An item holds no address of its own; the API adds ``self`` when it answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final, TypeAlias

Item: TypeAlias = dict[str, Any]

ACCOUNT_IDS: Final = tuple(f"712020:{number:08x}-demo" for number in range(1, 13))  # a colon, as Atlassian's own have
FIRST_DAY: Final = date(2026, 1, 1)
LAST_DAY: Final = date(2026, 12, 31)
ISSUES: Final = tuple(range(10001, 10021))
WORKING_DAYS: Final = 210
DAY_S: Final = 8 * 3600
_TASKS: Final = ("Review", "Planning", "Support", "Design", "Development", "Café meeting")


@dataclass(slots=True)
class Collection:
    """Items under one path below ``/4``. ``key`` is the field that names an item in its address; ``serial``: the API itself counts it up."""

    path: str
    key: str
    serial: bool = True
    items: dict[str, Item] = field(default_factory=dict)

    def add(self, item: Item) -> Item:
        """Keep an item under its key; a serial one without a key gets the next."""
        if self.serial and self.key not in item:
            item[self.key] = max((int(known) for known in self.items), default=0) + 1
        self.items[str(item[self.key])] = item
        return item


def is_working_day(day: date) -> bool:
    """Monday to Friday."""
    return day.weekday() < 5


def collections() -> dict[str, Collection]:
    """All collections by path, filled anew."""
    made = [_worklogs(), *_of_teams(), *_of_schemes(), *_of_plans(), *_of_accounts(), *_of_finance()]
    return {collection.path: collection for collection in made}


def _filled(path: str, key: str, items: list[Item], *, serial: bool = True) -> Collection:
    collection = Collection(path, key, serial)
    for item in items:
        collection.add(item)
    return collection


def _worklogs() -> Collection:
    days = [day for day in (FIRST_DAY + timedelta(days=n) for n in range(365)) if is_working_day(day)][:WORKING_DAYS]
    worklogs = Collection("worklogs", "tempoWorklogId")
    for position, day in enumerate(days):
        for person, account_id in enumerate(ACCOUNT_IDS):
            number = position * len(ACCOUNT_IDS) + person
            seconds = 1800 * (1 + number % 16)
            worklogs.items[str(number + 1)] = worklog(
                number + 1, account_id, ISSUES[number % len(ISSUES)], day.isoformat(), seconds, _TASKS[number % len(_TASKS)]
            )
    return worklogs


def worklog(number: int, account_id: str, issue: int, day: str, seconds: int, description: str) -> Item:
    """One worklog; ``seconds`` of work on an issue, all of it billable."""
    return {
        "tempoWorklogId": number,
        "issue": {"id": issue},
        "timeSpentSeconds": seconds,
        "billableSeconds": seconds,
        "startDate": day,
        "startTime": "09:00:00",
        "description": description,
        "createdAt": f"{day}T17:00:00Z",
        "updatedAt": f"{day}T17:00:00Z",
        "author": {"accountId": account_id},
        "attributes": {"values": []},
    }


def _of_teams() -> list[Collection]:
    members = [
        {"team": {"id": 1 + n % 3}, "member": {"accountId": account_id}, "role": {"id": 1}, "commitmentPercent": 100}
        for n, account_id in enumerate(ACCOUNT_IDS)
    ]
    attributes = [
        {"key": "_Role_", "name": "Role", "type": "STATIC_LIST", "required": False, "values": ["Dev", "Ops"], "names": {"Dev": "Developer", "Ops": "Operator"}},
        {"key": "_Account_", "name": "Account", "type": "ACCOUNT", "required": False},
    ]
    return [
        _filled("work-attributes", "key", attributes, serial=False),
        _filled("roles", "id", [{"name": "Member", "default": True}, {"name": "Lead", "default": False}]),
        _filled("teams", "id", [{"name": name, "lead": {"accountId": ACCOUNT_IDS[n]}} for n, name in enumerate(("Blue", "Green", "Red"))]),
        _filled("team-links", "id", [{"team": {"id": 1}, "scope": {"id": 20001, "type": "project"}}]),
        _filled("team-memberships", "id", members),
    ]


def _of_schemes() -> list[Collection]:
    return [
        _filled("workload-schemes", "id", [{"name": "Full time", "defaultScheme": True, "memberCount": len(ACCOUNT_IDS)}]),
        _filled("holiday-schemes", "id", [{"name": "Iceland", "defaultScheme": True, "memberCount": len(ACCOUNT_IDS)}]),
    ]


def _of_plans() -> list[Collection]:
    plans = [
        {
            "assignee": {"id": account_id, "type": "USER"},
            "planItem": {"id": str(ISSUES[n]), "type": "ISSUE"},
            "startDate": "2026-06-01",
            "endDate": "2026-06-30",
            "plannedSecondsPerDay": DAY_S,
        }
        for n, account_id in enumerate(ACCOUNT_IDS)
    ]
    return [_filled("plans", "id", plans), _filled("programs", "id", [{"name": "Platform", "manager": {"accountId": ACCOUNT_IDS[0]}}])]


def _of_accounts() -> list[Collection]:
    accounts = [
        {
            "key": f"ACC-{n}",
            "id": n,
            "name": f"Account {n}",
            "status": "OPEN" if n % 10 else "CLOSED",
            "global": n == 1,
            "customer": {"key": f"CUST-{1 + n % 4}"},
        }
        for n in range(1, 121)
    ]
    return [
        _filled("accounts", "key", accounts, serial=False),
        _filled("account-categories", "key", [{"key": "DEV", "id": 1, "name": "Development", "type": {"name": "CAPITALIZED"}}], serial=False),
        _filled("account-category-types", "id", [{"name": "BILLABLE"}, {"name": "CAPITALIZED"}, {"name": "INTERNAL"}, {"name": "OPERATIONAL"}]),
        _filled("account-links", "id", [{"account": {"key": "ACC-1"}, "scope": {"id": 20001, "type": "PROJECT"}, "default": True}]),
        _filled("customers", "key", [{"key": f"CUST-{n}", "id": n, "name": f"Customer {n}"} for n in range(1, 5)], serial=False),
    ]


def _of_finance() -> list[Collection]:
    return [
        _filled("portfolios", "id", [{"name": "Products"}]),
        _filled("projects", "id", [{"name": "Website", "currency": "EUR", "status": "ACTIVE"}, {"name": "App", "currency": "EUR", "status": "ACTIVE"}]),
        _filled("project-attributes", "id", [{"name": "Region"}]),
        _filled("billing-rates-tables", "id", [{"name": "Standard", "default": True}]),
    ]
