"""The policy in force, and its replacement: all or nothing. A faulty file changes nothing."""

from __future__ import annotations

from gateway.core.policy import Policy
from gateway.policy_file.document import DocumentFault, Fault, read_bytes
from gateway.policy_file.load import parse_policy
from gateway.settings import Settings, check_policy_fits


def load_fitting_policy(settings: Settings) -> Policy:
    """The configured policy, checked against the configuration. DocumentFault with every fault."""
    return fitting_policy(settings, read_bytes(settings.policy))


def fitting_policy(settings: Settings, text: bytes) -> Policy:
    """The same from the file's text, wherever that was kept."""
    policy = parse_policy(text, str(settings.policy))
    misfits = check_policy_fits(settings, policy)
    if misfits:
        raise DocumentFault([Fault(policy.name, 0, 0, misfit) for misfit in misfits])
    return policy
