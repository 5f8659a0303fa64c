"""``scopegate store``: care for the token store."""

from __future__ import annotations

import asyncio
import os

import typer

from gateway.cli.options import ConfigOption, JsonOption, config_path
from gateway.cli.output import plain_errors, print_json
from gateway.cli.store_session import open_server
from gateway.core.audit import AuditEntry
from gateway.flow.issuance import ON_THE_COMMAND_LINE
from gateway.settings import Settings
from gateway.settings.load import load_settings
from gateway.store.audit_log import RedisAuditLog

store_app = typer.Typer(name="store", help="Care for the token store.", no_args_is_help=True, pretty_exceptions_enable=False)


@store_app.callback()
def _group() -> None:
    """Care for the token store."""


@store_app.command()
def adopt(
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Accept a store that is empty or another than before. Tokens that it does not hold are unknown from then on."""
    with plain_errors():
        settings = load_settings(config_path(config), os.environ, read_credentials=False)
        store_id = asyncio.run(_adopt(settings))
        if as_json:
            print_json({"store": store_id, "remembered_in": str(settings.store.data_dir / "store.id")})
        else:
            typer.echo(f"the store {store_id} is accepted and remembered in {settings.store.data_dir / 'store.id'}")


async def _adopt(settings: Settings) -> str:
    async with open_server(settings) as store:
        seen = store.chain.newest_seen()
        await store.adopt()
        await RedisAuditLog(store).note(AuditEntry("store.adopt", ON_THE_COMMAND_LINE, details={"seen": seen.seq, "hash": seen.hash} if seen else {}))
        return store.identity.id.decode()
