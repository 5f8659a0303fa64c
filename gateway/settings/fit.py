"""Do policy and configuration fit together? The policy names upstreams; the configuration has them."""

from __future__ import annotations

from gateway.core.own_routes import is_under
from gateway.core.policy import Policy
from gateway.settings.shape import Settings


def check_policy_fits(settings: Settings, policy: Policy) -> list[str]:
    """One line for each route whose upstream is not configured, or which names none where there are several and no default; one where what is not mapped
    would only be reported, and there is no default to send it to; one for each route at a path that the gateway answers itself."""
    faults: list[str] = []
    known = ", ".join(settings.upstreams)
    if policy.report and not settings.default_upstream:
        faults.append(f"enforcement: report: what no route maps needs an upstream, and there are several ({known}): set default_upstream")
    for route in policy.routes:
        if route.unmapped:
            continue
        where = f"route {route.template} (line {route.line})"
        if is_under(settings.own_prefix, route.template, ignore_case=policy.ignore_case):
            faults.append(f"{where}: what is under {settings.own_prefix} the gateway answers itself: set another own_prefix, or off")
        if route.upstream and route.upstream not in settings.upstreams:
            faults.append(f"{where}: upstream {route.upstream!r} is not configured: known are {known}")
        elif not route.upstream and not settings.default_upstream:
            faults.append(f"{where}: it names no upstream, and there are several ({known}): set default_upstream")
    return faults


def what_is_open(settings: Settings, policy: Policy) -> list[str]:
    """One line for what a policy lets through although it should be refused (``enforcement: report``), and one for each upstream whose credentials that
    gives away."""
    reporting = [route for route in policy.routes if route.report and not route.unmapped]
    if not reporting and not policy.report:
        return []
    mapped = sum(not route.unmapped for route in policy.routes)
    beyond = ", and what no route maps," if policy.report else ""
    lines = [f"enforcement: report: {len(reporting)} of {mapped} routes{beyond} only note what they would refuse, and forward it"]
    reached = {route.upstream or settings.default_upstream for route in reporting} | ({settings.default_upstream} if policy.report else set())
    lines += [
        f"upstream {name}: whoever reaches the gateway uses its credentials through routes that only report, with or without a token"
        for name, upstream in settings.upstreams.items()
        if upstream.credentials and name in reached
    ]
    return lines
