"""What a good policy may still get wrong: told by ``policy check`` as warnings, which refuse nothing.

A carve-out is a narrower template that asks for more than a wider one which would take the request otherwise. It holds only as long as the upstream reads
paths as we do: many serve ``/Search`` as ``/search`` and ``/search.json`` too, and such a path misses the carve-out.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.core.policy import Policy
from gateway.core.route import Route
from gateway.core.route_table import taken
from gateway.core.route_template import REST, is_name, segments
from gateway.core.scope import ACCESS_NAMES
from gateway.policy_file.document import Fault, shown


def advice(policy: Policy) -> list[Fault]:
    """The warnings for a policy, in the order of their lines."""
    found = [Fault(policy.name, route.line, 1, message) for route in policy.routes for message in (*_missed(policy, route), *_resource(route))]
    return sorted(found)


def _missed(policy: Policy, route: Route) -> Iterator[str]:
    """One message for each way in which a path misses this carve-out."""
    for way, path in _variants(route):
        for method in taken(route.methods):
            wider = policy.table.find(path, method)
            if isinstance(wider, Route) and wider is not route and _asks_less(wider, route, method):
                yield (
                    f"{method} {route.template} {_judged(route, method)}, but {path} would miss it by {way} and fall to {wider.template} (line {wider.line}), "
                    f"which {_judged(wider, method)}: check that the upstream takes the two for different paths"
                    + (", or set paths: {ignore_case: true}" if way == "letter case" else "")
                )
                break


def _variants(route: Route) -> Iterator[tuple[str, str]]:
    """Paths that a lenient upstream may take for one of this route's: ``{name}`` stands for itself, which no literal can equal."""
    parts = segments(route.template)
    if parts and parts[-1] == REST:
        parts.pop()
    literals = [index for index, part in enumerate(parts) if not is_name(part)]
    for index in reversed(literals):
        if parts[index].swapcase() != parts[index]:
            changed = [*parts[:index], parts[index].upper() if parts[index] != parts[index].upper() else parts[index].lower(), *parts[index + 1 :]]
            yield "letter case", "/" + "/".join(changed)
    if literals and literals[-1] == len(parts) - 1:
        yield "a .json ending", "/" + "/".join(parts) + ".json"


def _asks_less(wider: Route, narrower: Route, method: str) -> bool:
    """Whether the wider route lets through somebody whom the narrower one refuses."""
    if wider.unmapped:
        return False
    if narrower.unmapped or (wider.public and not narrower.public):
        return True
    return narrower.scope is not None and (wider.scope is not narrower.scope or wider.needs(method) < narrower.needs(method))


def _judged(route: Route, method: str) -> str:
    if route.scope:
        return f"asks for {route.scope.id}:{ACCESS_NAMES[route.needs(method)]}"
    return "is left out" if route.unmapped else "is public"


def _resource(route: Route) -> Iterator[str]:
    if route.resource and route.scope and route.resource not in route.scope.resources:
        known = ", ".join(route.scope.resources) or "none"
        yield f"resource {shown(route.resource)} of {route.template} is not listed by scope {route.scope.id!r} (it lists {known})"
