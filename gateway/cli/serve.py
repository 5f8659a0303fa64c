"""``scopegate serve``: the gateway, until it is told to stop."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated, NoReturn

import typer

from gateway.cli.options import ConfigOption, config_path
from gateway.openapi.pieces import SpecUnusable
from gateway.policy_file.document import DocumentFault
from gateway.ports import StoreUnavailable
from gateway.processes.child import start_log
from gateway.processes.listening import CannotServe
from gateway.processes.start import Ready, serve
from gateway.settings import Address, Settings
from gateway.settings.load import load_settings
from gateway.store.connection import StoreOptions


def fail(message: object) -> NoReturn:
    """One plain line (or one a fault) on standard error; exit 2."""
    for line in str(message).splitlines():
        sys.stderr.write(f"scopegate: {line}\n")
    raise typer.Exit(2)


def serve_command(
    config: ConfigOption = None,
    workers: Annotated[int | None, typer.Option("--workers", metavar="N", help="Worker processes; else the configuration's.", min=1, max=256)] = None,
) -> None:
    """Run the gateway. SIGTERM finishes what is in flight and ends it, SIGHUP reloads the policy."""
    environ = dict(os.environ)
    if workers is not None:
        environ["SCOPEGATE_WORKERS"] = str(workers)
    try:
        settings = load_settings(config_path(config), environ)
    except DocumentFault as fault:
        fail(fault)
    start_log()

    def ready(data: Address, admin: Address, _: StoreOptions) -> None:
        number = f"{settings.workers} worker" + ("s" if settings.workers > 1 else "")
        logging.getLogger("scopegate").info("ready: %s with %s, management on %s", data, number, admin)

    run(settings, ready)


def run(settings: Settings, ready: Ready, *, hangup_ends: bool = False) -> None:
    """Serve with these settings until told to stop, as ``processes.start.serve``. Exit 2 with a plain line if it can't start, 1 if it was broken off."""
    try:
        finished = serve(settings, ready, hangup_ends=hangup_ends)
    except (DocumentFault, SpecUnusable, CannotServe, StoreUnavailable) as fault:
        fail(fault)
    except BrokenPipeError:
        raise  # nobody reads any more: typer ends the command quietly
    except OSError as error:
        fail(f"{error.filename or 'the system'}: {os.strerror(error.errno or 0)}")
    if not finished:
        raise typer.Exit(1)
