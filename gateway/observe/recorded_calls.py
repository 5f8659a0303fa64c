"""Reading an access log back: a line is a call, or it is not one of ours, which is told by its number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import msgspec

from gateway.core.plan_calls import RecordedCall
from gateway.policy_file.document import DocumentFault, Fault

LONGEST: Final = 1 << 20  # bytes of a line; the gateway's own are far shorter


def recorded_calls(log: Path) -> Iterator[tuple[int, RecordedCall | str]]:
    """Each line of a log by its number, from 1: the call, or what is wrong with the line. Empty lines are passed over. OSError where the file can't be read."""
    decode = msgspec.json.Decoder(RecordedCall).decode
    number = 0
    with log.open("rb") as lines:
        while line := lines.readline(LONGEST):
            number += 1
            if len(line) == LONGEST and not line.endswith(b"\n"):
                while line and not line.endswith(b"\n"):
                    line = lines.readline(LONGEST)
                yield number, f"longer than {LONGEST >> 20} MiB"
            elif line.strip():
                try:
                    yield number, decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                    yield number, "not a line of the gateway's access log"


class CallTaker(Protocol):
    """What looks at recorded calls, one after the other."""

    def add(self, line: int, call: RecordedCall) -> None:
        """Take a call; ``line`` is its number in the log."""

    def skip(self, line: int, why: str) -> None:
        """Count a line that is none."""


def hand_over(log: Path, taker: CallTaker) -> None:
    """Give a whole log to a taker. DocumentFault, with one line, where the file can't be read."""
    try:
        for number, line in recorded_calls(log):
            if isinstance(line, str):
                taker.skip(number, line)
            else:
                taker.add(number, line)
    except OSError as error:
        raise DocumentFault([Fault(str(log), 0, 0, f"the access log can't be read: {error.strerror}")]) from None
