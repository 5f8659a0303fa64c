"""``scopegate explain``: why a request was refused, by the request id that its client was told."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.options import ConfigOption, JsonOption, config_path
from gateway.cli.output import plain_errors, print_json, printable
from gateway.cli.store_session import open_server
from gateway.core.explain import Reasons
from gateway.flow.token_json import rfc3339
from gateway.ports import Decided
from gateway.settings.load import load_settings
from gateway.store.decision_stream import KEPT, RedisDecisionStream


def explain_command(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The X-Request-Id of the answer.", show_default=False)],
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Say why a request was refused, from the last 10,000 refusals. Exit 1 if it is not among them."""
    with plain_errors():
        found = asyncio.run(_find(request_id, config_path(config)))
    if as_json:
        print_json({"request_id": printable(request_id), "decisions": [_facts(decided) for decided in found]})
    elif not found:
        typer.echo(
            f"{printable(request_id)}: no refusal of this request id among the last {KEPT:,}: it was allowed, is older, or came less than a second ago",
            err=True,
        )
    else:
        for decided in found:
            _print(decided)
    if not found:
        raise typer.Exit(1)


async def _find(request_id: str, config: Path) -> list[Decided]:
    async with open_server(load_settings(config, os.environ, read_credentials=False)) as store:
        await store.start()
        return await RedisDecisionStream(store).find(request_id)


def _facts(decided: Decided) -> dict[str, Any]:
    return {
        "at": rfc3339(decided.at),
        "client": decided.client,
        "method": decided.method,
        "path": decided.path or None,
        "status": decided.status,
        "decision": "deny",
        "code": decided.code,
        "detail": decided.detail,
        "forwarded": decided.forwarded,
        "token_id": decided.token_id or None,
        "owner": decided.owner or None,
        **Reasons(decided.rule, decided.tried, decided.granted, decided.missing).facts(),
        "policy": decided.policy,
    }


def _print(decided: Decided) -> None:
    rows = [("at", f"{rfc3339(decided.at)} from {decided.client}")]
    if decided.token_id:
        rows.append(("token", f"{decided.token_id} of {decided.owner}"))
    rows.append(("matched", decided.rule or "no rule"))
    if decided.token_id:
        rows.append(("held", ", ".join(decided.granted) or "nothing"))
    if decided.missing:
        rows.append(("missing", ", ".join(decided.missing)))
    if decided.forwarded:
        rows.append(("but", "enforcement: report: it was noted and forwarded all the same"))
    rows += [("not taken" if index == 0 else "", f"{rule}: {why}") for index, (rule, why) in enumerate(decided.tried)]
    rows.append(("policy", decided.policy[:12]))
    typer.echo(printable(f"{decided.method or '?'} {decided.path or '(path not told)'}"))
    typer.echo(printable(f"deny: {decided.code} ({decided.status}). {decided.detail}"))
    for name, value in rows:
        typer.echo(printable(f"  {name:<10}{value}"))
