"""``scopegate serve``: the gateway, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import uvloop

from gateway.app import CannotServe, Gateway, bind, serve
from gateway.cli.options import ConfigOption, config_path
from gateway.cli.store_session import embedded_of, options_of
from gateway.flow.reload import load_fitting_policy
from gateway.policy_file.document import DocumentFault
from gateway.ports import StoreUnavailable
from gateway.settings import Settings, ensure_admin_key, load_settings
from gateway.store.server import Store


def fail(message: object) -> NoReturn:
    """One plain line (or one a fault) on standard error; exit 2."""
    for line in str(message).splitlines():
        sys.stderr.write(f"scopegate: {line}\n")
    raise typer.Exit(2)


def start_log() -> None:
    """Operators' lines go to standard error; the access log has standard output to itself."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, force=True)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # its texts may quote what a peer sent


def serve_command(
    config: ConfigOption = None,
    workers: Annotated[int | None, typer.Option("--workers", metavar="N", help="Worker processes; else the configuration's.", min=1)] = None,
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
    run(settings, lambda gateway: logging.getLogger("scopegate").info("ready: %s, management on %s", gateway.settings.listen, gateway.settings.admin.listen))


def run(settings: Settings, ready: Callable[[Gateway], Any], policy: Path | None = None) -> None:
    """Serve with these settings until told to stop; ``ready`` is called once requests are taken. Exit 2 with a plain line if it can't start."""
    embedded = embedded_of(settings)
    try:
        loaded = load_fitting_policy(settings, policy)
        admin_key = ensure_admin_key(settings)
        sockets = bind(settings.listen, "listen"), bind(settings.admin.listen, "admin.listen")
        if embedded is not None:
            embedded.start()
        store = Store(options_of(settings, embedded))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, loaded, store, admin_key, embedded, sockets, ready))
    except (DocumentFault, CannotServe, StoreUnavailable) as fault:
        fail(fault)
    except OSError as error:
        fail(f"{error.filename or 'the system'}: {os.strerror(error.errno or 0)}")
    finally:
        if embedded is not None:
            embedded.stop()
