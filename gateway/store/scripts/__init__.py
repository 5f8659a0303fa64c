"""The store's Lua scripts: each runs as one step on the server, on the server's time."""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files
from typing import Final


class Script:
    """A script's text, and the SHA-1 name under which a server that has seen it knows it."""

    __slots__ = ("sha", "text")

    def __init__(self, *names: str) -> None:
        self.text: Final = "\n".join((files(__name__) / f"{name}.lua").read_text("utf-8") for name in names)
        self.sha: Final = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


CREATE: Final = Script("audit", "record", "create")
CHANGE: Final = Script("audit", "record", "change")
NOTE: Final = Script("audit", "note")
BEGIN: Final = Script("audit", "session", "begin")
LEAVE: Final = Script("audit", "session", "leave")
LIMIT: Final = Script("limit")
USED: Final = Script("used")
REUSED: Final = Script("reused")
EXPIRING: Final = Script("expiring")
CLAIM: Final = Script("claim")
HEARTBEAT: Final = Script("heartbeat")
ONCE: Final = Script("once")
