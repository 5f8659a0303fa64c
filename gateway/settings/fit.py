"""Do policy and configuration fit together? The policy names upstreams; the configuration has them."""

from __future__ import annotations

from gateway.core.policy import Policy
from gateway.settings.shape import Settings


def check_policy_fits(settings: Settings, policy: Policy) -> list[str]:
    """One line for each route whose upstream is not configured, or which names none where there are several and no default."""
    faults: list[str] = []
    known = ", ".join(settings.upstreams)
    for route in policy.routes:
        if route.unmapped:
            continue
        where = f"route {route.template} (line {route.line})"
        if route.upstream and route.upstream not in settings.upstreams:
            faults.append(f"{where}: upstream {route.upstream!r} is not configured: known are {known}")
        elif not route.upstream and not settings.default_upstream:
            faults.append(f"{where}: it names no upstream, and there are several ({known}): set default_upstream")
    return faults
