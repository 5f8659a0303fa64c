"""The policy in force, and its replacement: all or nothing. A faulty file changes nothing."""

from __future__ import annotations

from pathlib import Path

from gateway.core.policy import Policy
from gateway.policy_file.document import DocumentFault, Fault
from gateway.policy_file.load import load_policy
from gateway.settings import Settings, check_policy_fits


def load_fitting_policy(settings: Settings, path: Path | None = None) -> Policy:
    """The configured policy (or another file), checked against the configuration. DocumentFault with every fault."""
    policy = load_policy(path or settings.policy)
    misfits = check_policy_fits(settings, policy)
    if misfits:
        raise DocumentFault([Fault(policy.name, 0, 0, misfit) for misfit in misfits])
    return policy
