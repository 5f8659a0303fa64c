"""The policy in force, and its replacement: all or nothing. A faulty file changes nothing."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from gateway.core.policy import Policy
from gateway.policy_file.document import DocumentFault, Fault, read_bytes
from gateway.policy_file.load import parse_policy
from gateway.settings import Settings
from gateway.settings.fit import check_policy_fits


def load_fitting_policy(settings: Settings) -> Policy:
    """The configured policy, checked against the configuration. DocumentFault with every fault."""
    if _is_pipe(settings.policy):  # who opens it waits for a writer: the supervisor must not
        raise DocumentFault([Fault(str(settings.policy), 0, 0, "this is a pipe: name a file, which can be read again for a reload")])
    policy = parse_policy(read_bytes(settings.policy), str(settings.policy))
    misfits = check_policy_fits(settings, policy)
    if misfits:
        raise DocumentFault([Fault(policy.name, 0, 0, misfit) for misfit in misfits])
    return policy


def digest_of(path: Path) -> str:
    """The SHA-256 of a policy file's bytes, as a policy has it as its hash; "" where it can't be read. Of a file over the limit it is that of
    what is read of it, one byte more than a policy may have: no policy's hash."""
    try:
        return "" if _is_pipe(path) else sha256(read_bytes(path)).hexdigest()
    except DocumentFault:
        return ""


def _is_pipe(path: Path) -> bool:
    """A path that may not be looked at is none: reading it tells why."""
    try:
        return path.is_fifo()
    except OSError:
        return False
