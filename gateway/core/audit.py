"""What an audit entry tells: who did what to which token, and from where. Never a secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.core.principal import Actor


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One event. ``action`` is a word such as ``token.reuse``; ``details`` are facts of it, without any secret."""

    action: str
    actor: Actor
    token_id: str = ""
    owner: str = ""
    details: Mapping[str, str | int] = field(default_factory=dict)
