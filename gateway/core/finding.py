"""What an examination found: fine, to be watched, or to be mended, each in one line that says what to do."""

from __future__ import annotations

from typing import Final, NamedTuple

_DAY_S: Final = 86_400
_SOON_DAYS: Final = 14


class Finding(NamedTuple):
    """``check`` says what was looked at, ``level`` is "ok", "warn" or "fail", ``advice`` what to do, "" where there is nothing to do."""

    check: str
    level: str
    found: str
    advice: str = ""

    @property
    def text(self) -> str:
        """What was found and what to do."""
        return f"{self.found}: {self.advice}" if self.advice else self.found


def ok(check: str, found: str) -> Finding:
    """As it should be."""
    return Finding(check, "ok", found)


def warn(check: str, found: str, advice: str) -> Finding:
    """It works, and may not tomorrow, or protects less than one may think."""
    return Finding(check, "warn", found, advice)


def fail(check: str, found: str, advice: str = "") -> Finding:
    """The gateway would not start, would refuse requests, or would lose what it has answered."""
    return Finding(check, "fail", found, advice)


def certificate(check: str, shown: str, ends: float, now: float) -> Finding:
    """How long a certificate that is valid now still holds, after what else is ``shown``. Unix times; two weeks before its end it is a warning."""
    days = int((ends - now) // _DAY_S)
    found = f"{shown} holds for {days} more days"
    return warn(check, found, "renew it") if days < _SOON_DAYS else ok(check, found)
