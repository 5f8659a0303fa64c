"""docs/cli.md shows the help of every command as the program prints it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from gateway.cli.main import app
from tests.shape.tree import text

WIDTH = 100
PAGE = text("docs/cli.md")


def commands(command: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command, groups included, as the words that call it."""
    yield before
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*before, name))


COMMANDS = list(commands(get_command(app)))


def help_of(words: tuple[str, ...]) -> str:
    """What ``--help`` prints, without blanks at the ends of lines."""
    result = CliRunner().invoke(app, [*words, "--help"], prog_name="scopegate", terminal_width=WIDTH)
    assert result.exit_code == 0
    return "\n".join(line.rstrip() for line in result.output.splitlines()).strip("\n") + "\n"


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of one width without colour, whatever that of the test's caller is."""
    for name in ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: "-".join(("scopegate", *words)))
def test_the_page_shows_the_help_that_the_command_prints(words: tuple[str, ...]) -> None:
    shown = re.findall(rf"```console\n\$ {' '.join(('scopegate', *words, '--help'))}\n(.*?)```", PAGE, re.DOTALL)
    assert shown == [help_of(words)]


def test_the_page_shows_no_command_that_is_not_there() -> None:
    shown = [tuple(line.split()[2:-1]) for line in re.findall(r"^\$ scopegate.* --help$", PAGE, re.MULTILINE)]
    assert sorted(shown) == sorted(COMMANDS)


def test_every_command_that_reports_can_print_json_and_every_one_but_the_demo_takes_a_configuration() -> None:
    groups = {words[:-1] for words in COMMANDS if words}
    for words in COMMANDS:
        if words not in groups:
            told = help_of(words)
            assert ("--config" in told) == (words != ("demo",)), words
            assert ("--json" in told) == (words not in {("demo",), ("serve",)}), words
