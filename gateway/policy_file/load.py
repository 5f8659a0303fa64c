"""Loading a policy: all of it or nothing. A policy with any fault, or that fails its own tests, is never used."""

from __future__ import annotations

import hashlib
from pathlib import Path

from gateway.core.policy import Policy
from gateway.policy_file.compile import Compiled, compile_policy
from gateway.policy_file.document import DocumentFault, Fault, read_bytes, survey


def load_policy(path: Path) -> Policy:
    """The policy in a file. DocumentFault with every fault: of reading, of YAML, of each item, between items, and of its own tests."""
    return parse_policy(read_bytes(path), str(path))


def parse_policy(text: str | bytes, name: str) -> Policy:
    """The policy in a text; ``name`` is what faults call the file. DocumentFault as load_policy."""
    compiled = parse_untested(text, name)
    failures = failing_tests(compiled)
    if failures:
        raise DocumentFault(failures)
    return compiled.policy


def parse_untested(text: str | bytes, name: str) -> Compiled:
    """The policy and its own tests, which are not run. DocumentFault with every other fault."""
    document, faults = survey(text, name)
    if document is None or not isinstance(document.data, dict):
        raise DocumentFault(faults)
    digest = hashlib.sha256(text if isinstance(text, bytes) else text.encode()).hexdigest()
    compiled, more = compile_policy(document, name, digest)
    told = {(fault.line, fault.column) for fault in faults}  # an alias is told once, not also as a value that is missing
    faults += [fault for fault in more if (fault.line, fault.column) not in told]
    if faults:
        raise DocumentFault(faults)
    return compiled


def failing_tests(compiled: Compiled) -> list[Fault]:
    """One fault for each of the policy's own tests that it fails."""
    told = ((test, test.broken_by(compiled.policy)) for test in compiled.expectations)
    return [Fault(compiled.policy.name, test.line, test.column, message) for test, message in told if message]
