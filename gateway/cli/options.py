"""What every command takes: which configuration file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

DEFAULT_CONFIG: Final = Path("config/gateway.yaml")
ConfigOption = Annotated[
    Path | None, typer.Option("-c", "--config", metavar="FILE", help="The configuration; else SCOPEGATE_CONFIG, else config/gateway.yaml.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def config_path(given: Path | None) -> Path:
    """The file that ``-c`` names, else SCOPEGATE_CONFIG, else config/gateway.yaml."""
    return given or Path(os.environ.get("SCOPEGATE_CONFIG") or DEFAULT_CONFIG)
