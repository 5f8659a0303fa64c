"""The sample upstream's API, in the form of Tempo's version 4: lists in pages, absolute addresses of itself, errors as clients expect them.

It asks for no token: the gateway in front of it does. What it was told of the caller stands in the field ``X-Upstream-Saw`` of each answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from gateway.sample.asked import Refused, as_worklog, body_of, chosen, found, in_period, number_of, period
from gateway.sample.data import ACCOUNT_IDS, DAY_S, FIRST_DAY, Collection, Item, collections, is_working_day

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_PAGE: Final = 50
_LARGEST_PAGE: Final = 1000
_READ_ONLY: Final = {"account-category-types"}
_MOVES: Final = {"submit": "IN_REVIEW", "approve": "APPROVED", "reject": "REJECTED", "reopen": "OPEN", "recall": "OPEN"}


def build_sample(address: str) -> web.Application:
    """The API as an application. ``address`` is scheme, host and port under which it calls itself."""
    app = web.Application(middlewares=[_answer])
    app.add_routes(_Api(address).routes())
    return app


@web.middleware
async def _answer(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Refusals in the API's form, and what was told of the caller in each answer."""
    try:
        response = await handler(request)
    except Refused as refused:
        response = web.json_response({"errors": [{"message": message} for message in refused.messages]}, status=refused.status)
    except web.HTTPException as error:
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        response = web.json_response({"errors": {"message": error.reason}}, status=error.status, headers=allow)
    told = (request.headers.get(f"X-Scopegate-{name}", "-") for name in ("Subject", "Token-Id", "Grants"))
    saw = "subject={}; token={}; grants={}".format(*told) + f"; authorization={'yes' if 'Authorization' in request.headers else 'none'}"
    response.headers["X-Upstream-Saw"] = saw.encode("ascii", "backslashreplace").decode()
    return response


class _Api:
    """Handlers on one set of collections."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._root = f"{address}/4"
        self._known = collections()
        self._approvals = dict.fromkeys(ACCOUNT_IDS, "OPEN")

    def routes(self) -> list[web.RouteDef]:
        """All routes; literal ones first, so that /worklogs/search is no worklog."""
        known = self._known
        approvals = "/4/timesheet-approvals"
        routes = [
            web.post("/4/worklogs/search", self._search(known["worklogs"])),
            web.get("/4/worklogs/user/{accountId}", self._worklogs_where(lambda item, value: item["author"]["accountId"] == value, "accountId")),
            web.get("/4/worklogs/issue/{issueId}", self._worklogs_where(lambda item, value: str(item["issue"]["id"]) == value, "issueId")),
            web.get("/4/worklogs/{id}/work-attribute-values", self._attribute_values),
            web.get("/4/teams/{teamId}/members", self._members),
            web.get("/4/team-memberships/team/{teamId}", self._members),
            web.get("/4/user-schedule", self._schedule),
            web.get("/4/user-schedule/{accountId}", self._schedule),
            web.get("/4/periods", self._periods),
            web.get(f"{approvals}/waiting", self._waiting),
            web.get(f"{approvals}/user/{{accountId}}", self._approval),
            web.get(f"{approvals}/user/{{accountId}}/reviewers", self._reviewers),
            *(web.post(f"{approvals}/user/{{accountId}}/{move}", self._approval) for move in _MOVES),
            *(web.post(f"/4/{path}/search", self._search(known[path])) for path in ("plans", "accounts", "customers", "team-memberships")),
        ]
        for path, collection in known.items():
            routes += [web.get(f"/4/{path}", self._list(collection)), web.get(f"/4/{path}/{{id}}", self._one(collection))]
            if path not in _READ_ONLY:
                routes += [
                    web.post(f"/4/{path}", self._create(collection)),
                    web.put(f"/4/{path}/{{id}}", self._replace(collection)),
                    web.delete(f"/4/{path}/{{id}}", self._delete(collection)),
                ]
        return routes

    # Collections

    def _list(self, collection: Collection) -> _Handler:
        async def handle(request: web.Request) -> web.Response:
            items = in_period(collection, *period(request.query))
            return self._page(request, [self._shown(collection, item) for item in items])

        return handle

    def _search(self, collection: Collection) -> _Handler:
        async def handle(request: web.Request) -> web.Response:
            wanted = await body_of(request)
            items = in_period(collection, *period(wanted))
            if collection.path == "worklogs":
                authors, issues = chosen(wanted, "authorIds"), chosen(wanted, "issueIds")
                items = [item for item in items if (not authors or item["author"]["accountId"] in authors) and (not issues or item["issue"]["id"] in issues)]
            return self._page(request, [self._shown(collection, item) for item in items])

        return handle

    def _worklogs_where(self, matches: Callable[[Item, str], bool], name: str) -> _Handler:
        async def handle(request: web.Request) -> web.Response:
            worklogs, value = self._known["worklogs"], request.match_info[name]
            items = [item for item in in_period(worklogs, *period(request.query)) if matches(item, value)]
            return self._page(request, [self._shown(worklogs, item) for item in items])

        return handle

    def _one(self, collection: Collection) -> _Handler:
        async def handle(request: web.Request) -> web.Response:
            return web.json_response(self._shown(collection, found(collection, request.match_info["id"])))

        return handle

    def _create(self, collection: Collection) -> _Handler:
        async def handle(request: web.Request) -> web.Response:
            body = await body_of(request)
            if collection.path == "worklogs":
                body = as_worklog(body, 1 + max(map(int, collection.items), default=0), None)
            elif collection.serial:
                body.pop(collection.key, None)
            else:
                if not isinstance(body.get(collection.key), str) or not body[collection.key]:
                    raise Refused(400, f"{collection.key} must be set")
                if body[collection.key] in collection.items:
                    raise Refused(400, f"{collection.key} {body[collection.key]} is taken")
            return web.json_response(self._shown(collection, collection.add(body)))

        return handle

    def _replace(self, collection: Collection) -> _Handler:
        async def handle(request: web.Request) -> web.Response:
            item = found(collection, request.match_info["id"])
            body = await body_of(request)
            if collection.path == "worklogs":
                body = as_worklog(body, item["tempoWorklogId"], item)
            item.update({name: value for name, value in body.items() if name != collection.key})
            return web.json_response(self._shown(collection, item))

        return handle

    def _delete(self, collection: Collection) -> _Handler:
        async def handle(request: web.Request) -> web.Response:
            del collection.items[str(found(collection, request.match_info["id"])[collection.key])]
            return web.Response(status=204)

        return handle

    # Lists that belong to something else

    async def _attribute_values(self, request: web.Request) -> web.Response:
        item = found(self._known["worklogs"], request.match_info["id"])
        return self._page(request, list(item["attributes"]["values"]))

    async def _members(self, request: web.Request) -> web.Response:
        team = found(self._known["teams"], request.match_info["teamId"])
        memberships = self._known["team-memberships"]
        items = [item for item in memberships.items.values() if item.get("team") == {"id": team["id"]}]
        return self._page(request, [self._shown(memberships, item) for item in items])

    async def _schedule(self, request: web.Request) -> web.Response:
        start, end = period(request.query)
        days = [start + timedelta(days=n) for n in range((end - start).days + 1)]
        working = {day: is_working_day(day) for day in days}
        results = [
            {"date": str(day), "requiredSeconds": DAY_S if working[day] else 0, "type": "WORKING_DAY" if working[day] else "NON_WORKING_DAY"} for day in days
        ]
        return web.json_response({"self": f"{self._address}{request.path_qs}", "metadata": {"count": len(results)}, "results": results})

    async def _periods(self, request: web.Request) -> web.Response:
        start, end = period(request.query)
        monday = start - timedelta(days=start.weekday())
        weeks = [monday + timedelta(weeks=n) for n in range((end - monday).days // 7 + 1)]
        return web.json_response({"periods": [{"from": str(week), "to": str(week + timedelta(days=6))} for week in weeks]})

    # Approvals

    async def _approval(self, request: web.Request) -> web.Response:
        account_id = self._person(request)
        start, _ = period(request.query)
        if request.method == "POST":
            self._approvals[account_id] = _MOVES[request.path.rpartition("/")[2]]
        return web.json_response(self._approval_of(account_id, start - timedelta(days=start.weekday())))

    async def _waiting(self, request: web.Request) -> web.Response:
        return self._page(request, [self._approval_of(account_id, FIRST_DAY) for account_id, status in self._approvals.items() if status == "IN_REVIEW"])

    async def _reviewers(self, request: web.Request) -> web.Response:
        return self._page(request, [{"accountId": account_id} for account_id in ACCOUNT_IDS[:2] if account_id != self._person(request)])

    def _approval_of(self, account_id: str, monday: date) -> Item:
        sunday = monday + timedelta(days=6)
        at = f"{self._root}/timesheet-approvals/user/{account_id}"
        spent = sum(item["timeSpentSeconds"] for item in in_period(self._known["worklogs"], monday, sunday) if item["author"]["accountId"] == account_id)
        status = self._approvals[account_id]
        actions = {"submit": {"self": f"{at}/submit"}} if status in {"OPEN", "REJECTED"} else {"reopen": {"self": f"{at}/reopen"}}
        return {
            "self": f"{at}?from={monday}&to={sunday}",
            "period": {"from": str(monday), "to": str(sunday)},
            "requiredSeconds": 5 * DAY_S,
            "timeSpentSeconds": spent,
            "status": {"key": status},
            "user": {"accountId": account_id},
            "actions": actions,
        }

    def _person(self, request: web.Request) -> str:
        account_id = request.match_info["accountId"]
        if account_id not in self._approvals:
            raise Refused(404, f"User {account_id} was not found")
        return account_id

    # Forms

    def _shown(self, collection: Collection, item: Item) -> Item:
        at = f"{self._root}/{collection.path}/{item[collection.key]}"
        if collection.path == "worklogs":
            return {"self": at, **item, "attributes": {"self": f"{at}/work-attribute-values", **item["attributes"]}}
        return {"self": at, **item}

    def _page(self, request: web.Request, items: list[Item]) -> web.Response:
        """One page of a list; ``next`` and ``previous`` keep every other part of the query."""
        offset, limit = number_of(request, "offset", 0, 0), min(number_of(request, "limit", _PAGE, 1), _LARGEST_PAGE)
        results = items[offset : offset + limit]
        metadata: Item = {"count": len(results), "offset": offset, "limit": limit}
        others = [(name, value) for name, value in request.query.items() if name not in {"offset", "limit"}]
        here = f"{self._address}{request.rel_url.raw_path}"
        if offset + limit < len(items):
            metadata["next"] = f"{here}?{urlencode([*others, ('offset', offset + limit), ('limit', limit)])}"
        if offset:
            metadata["previous"] = f"{here}?{urlencode([*others, ('offset', max(0, offset - limit)), ('limit', limit)])}"
        return web.json_response({"self": f"{self._address}{request.rel_url.raw_path_qs}", "metadata": metadata, "results": results})
