"""What commands print, and how they end: errors one line each on stderr, exit 1 where the answer is no, 2 for wrong use or configuration."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.flow.issuance import IssuanceRefused
from gateway.policy_file.document import DocumentFault
from gateway.ports import StoreUnavailable

_OPTIONS: Final = {"grants": "--scope", "allowed_ips": "--allow-ip"}  # where the option has another name than the field


@contextmanager
def plain_errors() -> Iterator[None]:
    """Refusals and faults as plain lines and exit codes, for the body of a command."""
    try:
        yield
    except DocumentFault as error:
        fail(*(str(fault) for fault in error.faults))
    except IssuanceRefused as error:
        lines = [f"{_OPTIONS.get(field, '--' + field.replace('_', '-'))}: {fault}" for field, fault in error.fields.items()] or [error.message]
        fail(*lines, code=2 if error.code in {"invalid", "clock_skew"} else 1)
    except OSError as error:  # a full disk behind a redirection; what is still buffered goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        fail(f"the output can't be written: {error.strerror}", code=1)
    except StoreUnavailable as error:
        fail(f"{error}{'; the change may have been made: look before you repeat it' if error.written else ''}")


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
