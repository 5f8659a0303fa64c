"""YAML documents that must be sound, or whose faults are looked at as one."""

from __future__ import annotations

from gateway.policy_file.document import Document, DocumentFault, survey


def read_document(text: str | bytes, name: str) -> Document:
    """The document in a text. DocumentFault with every fault found."""
    document, faults = survey(text, name)
    if faults or document is None:
        raise DocumentFault(faults)
    return document
