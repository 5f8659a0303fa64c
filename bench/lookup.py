"""A look-up in the route table at 10, 250 and 10,000 routes: the figures of one line should be alike from left to right.

Each figure is the best of several rounds, in nanoseconds a look-up: on a machine that does other things too, the best is the steadiest.
"""

from __future__ import annotations

import platform
from time import perf_counter_ns

from gateway.core.route import METHODS, Route
from gateway.core.route_table import RouteTable

SIZES = (10, 250, 10_000)
ROUNDS, LOOKUPS = 15, 10_000


def table(size: int) -> RouteTable:
    """As many areas as routes, each with a name in its template, and two templates that overlap."""
    routes = [Route(template=f"/4/area{number}/{{id}}", methods=("GET", "PUT", "DELETE"), scope=None) for number in range(size - 3)]
    routes.append(Route(template="/4/worklogs/**", methods=METHODS, scope=None))
    routes.append(Route(template="/4/worklogs/search", methods=("POST",), scope=None))
    routes.append(Route(template="/4/worklogs/{id}/values/{key}", methods=("GET",), scope=None))
    return RouteTable(routes)


def cases(size: int) -> dict[str, tuple[str, str]]:
    return {
        "a literal": ("POST", "/4/worklogs/search"),
        "a name": ("GET", f"/4/area{size - 4}/4711"),
        "a rest": ("PUT", "/4/worklogs/4711"),
        "five segments": ("GET", "/4/worklogs/4711/values/colour"),
        "405": ("POST", f"/4/area{size - 4}/4711"),
        "404": ("GET", "/3/worklogs"),
    }


def nanoseconds(routes: RouteTable, method: str, path: str) -> float:
    best = float("inf")
    find = routes.find
    for _ in range(ROUNDS):
        begun = perf_counter_ns()
        for _ in range(LOOKUPS):
            find(path, method)
        best = min(best, (perf_counter_ns() - begun) / LOOKUPS)
    return best


def main() -> None:
    nanoseconds(table(SIZES[0]), "GET", "/4/worklogs/1")  # lets the interpreter settle, else the first figure pays for it
    tables = {size: table(size) for size in SIZES}
    print(f"ns a look-up, {platform.python_implementation()} {platform.python_version()}")
    print(f"{'routes':<15}" + "".join(f"{size:>9,}" for size in SIZES))
    for name in cases(SIZES[0]):
        print(f"{name:<15}" + "".join(f"{nanoseconds(tables[size], *cases(size)[name]):>9.0f}" for size in SIZES))


if __name__ == "__main__":
    main()
