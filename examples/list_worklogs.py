"""An integration that reads all worklogs through the gateway: Python's standard library, a token, nothing else.

    SCOPEGATE_TOKEN=sgt_… python examples/list_worklogs.py http://127.0.0.1:8080

It follows ``metadata.next`` word for word; the gateway has put its own address there, so the token stays with the gateway.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any


def pages(address: str, token: str) -> Iterator[list[dict[str, Any]]]:
    """The pages of a list, one after the other. urllib.error.HTTPError where the gateway or the API refuses."""
    while address:
        request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - the address is the user's own
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            page = json.load(response)
        yield page["results"]
        address = page["metadata"].get("next", "")


def main() -> None:
    """Print one line a worklog; a refusal is told in the gateway's own words."""
    if len(sys.argv) != 2 or "SCOPEGATE_TOKEN" not in os.environ:
        sys.exit("usage: SCOPEGATE_TOKEN=sgt_… python examples/list_worklogs.py http://127.0.0.1:8080")
    try:
        for page in pages(f"{sys.argv[1]}/4/worklogs?limit=1000", os.environ["SCOPEGATE_TOKEN"]):
            for worklog in page:
                sys.stdout.write(f"{worklog['startDate']} {worklog['timeSpentSeconds'] / 3600:5.1f} h  {worklog['description']}\n")
    except urllib.error.HTTPError as refusal:
        told = json.load(refusal)
        sys.exit(f"{refusal.status} {told['code']}: {told['detail']} (request {told['request_id']})")


if __name__ == "__main__":
    main()
