"""What commands print, and how they end: errors one line each on stderr, exit 1 where the answer is no, 2 for wrong use or configuration."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.flow.issuance import IssuanceRefused
from gateway.policy_file.document import DocumentFault, Fault
from gateway.ports import StoreUnavailable

_OPTIONS: Final = {"grants": "--scope", "allowed_ips": "--allow-ip"}  # where the option has another name than the field

T = TypeVar("T")


@contextmanager
def plain_errors(*, as_json: bool = False) -> Iterator[None]:
    """Refusals and faults as plain lines and exit codes, for the body of a command. With ``as_json`` a file that can't be used is one object, too."""
    try:
        yield
    except DocumentFault as error:
        refuse(error.faults, as_json=as_json)
    except IssuanceRefused as error:
        lines = [f"{_OPTIONS.get(field, '--' + field.replace('_', '-'))}: {fault}" for field, fault in error.fields.items()] or [error.message]
        fail(*lines, code=2 if error.code in {"invalid", "clock_skew"} else 1)
    except OSError as error:  # a full disk behind a redirection; what is still buffered goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        fail(f"the output can't be written: {error.strerror}", code=1)
    except StoreUnavailable as error:
        fail(f"{error}{'; the change may have been made: look before you repeat it' if error.written else ''}")


def attempt(read: Callable[[], T], faults: list[Fault]) -> T | None:
    """What ``read`` gives; None where a file can't be used, and ``faults`` takes why. So the faults of several files are told at once."""
    try:
        return read()
    except DocumentFault as error:
        faults += error.faults
        return None


def refuse(faults: Iterable[Fault], *, as_json: bool) -> NoReturn:
    """End the command for files that can't be used: each fault once on stderr, and with ``as_json`` all in one object on stdout. Exit 2."""
    each = list(dict.fromkeys(faults))
    if as_json:
        print_json({"ok": False, "faults": fault_facts(each)})
    fail(*map(str, each))


def fault_facts(faults: Iterable[Fault]) -> list[dict[str, object]]:
    """Faults as JSON."""
    return [{**fault._asdict(), "file": printable(fault.file)} for fault in faults]


def fail(*lines: str, code: int = 2) -> NoReturn:
    """End the command with these lines on stderr."""
    for line in lines:
        typer.echo(printable(line), err=True)
    raise typer.Exit(code)


def print_json(facts: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(facts, ensure_ascii=False))


def print_rows(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table for people; where stdout is no terminal, lines of columns parted by tabs."""
    console = Console(highlight=False)
    if not console.is_terminal:
        for row in (names, *rows):
            typer.echo("\t".join(printable(cell) for cell in row))
        return
    table = Table(*names, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(table)


def printable(text: str) -> str:
    """Text for a terminal: what could steer it, turn its direction, or can't be encoded, is shown as an escape."""
    return "".join(character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode() for character in text)
