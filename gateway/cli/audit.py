"""``scopegate audit``: is the log whole, what is in it; and ``scopegate report``, one page for auditors."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from gateway.cli.options import ConfigOption, JsonOption, config_path
from gateway.cli.output import plain_errors, print_json, print_rows, printable
from gateway.cli.store_session import open_server
from gateway.core.token_record import TokenRecord
from gateway.flow.inventory import UNUSED_DAYS, inventory
from gateway.flow.issuance import MAX_PAGE, ON_THE_COMMAND_LINE, Issuance
from gateway.flow.token_json import rfc3339
from gateway.policy_file.document import DocumentFault
from gateway.policy_file.load import load_policy
from gateway.settings import Settings
from gateway.settings.load import load_settings
from gateway.store.audit_log import RedisAuditLog, Verdict, shown_entry
from gateway.store.server import Store
from gateway.store.token_register import RedisTokenRegister

audit_app = typer.Typer(name="audit", help="Look at the audit log.", no_args_is_help=True, pretty_exceptions_enable=False)
_LOOK_S: Final = 0.5
_SHOWN: Final = 50  # tokens of one list in the report as text


@audit_app.callback()
def _group() -> None:
    """Look at the audit log."""


@audit_app.command()
def verify(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Is the log as it was written? Exit 1 at the first entry that was edited, deleted, put in, moved or cut off."""
    with plain_errors():
        verdict = asyncio.run(_verdict(_settings(config)))
        if as_json:
            print_json(_told(verdict))
        elif verdict.fault is None:
            typer.echo(f"whole: {verdict.entries} entries, the newest {verdict.head.seq} with hash {verdict.head.hash}")
        else:
            typer.echo(printable(f"broken at entry {verdict.fault.seq} ({verdict.fault.kind}): {verdict.fault.text}"))
        if verdict.fault is not None:
            raise typer.Exit(1)


@audit_app.command()
def tail(
    count: Annotated[int, typer.Option("-n", "--lines", metavar="N", help="So many of the newest entries.", min=0)] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with those that come, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    config: ConfigOption = None,
) -> None:
    """The newest entries, oldest first."""
    with plain_errors():
        asyncio.run(_tail(_settings(config), count, _json_line if as_json else _line, follow=follow))


@audit_app.command()
def export(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, as always.")] = False,  # noqa: ARG001 - every command takes it
    config: ConfigOption = None,
) -> None:
    """The whole log, oldest first, one JSON object a line."""
    with plain_errors():
        asyncio.run(_export(_settings(config)))


def report_command(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """One page for auditors: tokens by owner, scope, age and last use, those long unused and those with full access, the policy, the audit log."""
    with plain_errors():
        facts = asyncio.run(_report(_settings(config)))
        if as_json:
            print_json(facts)
        else:
            _print_report(facts)


def _settings(config: Path | None) -> Settings:
    return load_settings(config_path(config), os.environ, read_credentials=False)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Store]:
    async with open_server(settings) as store:
        await store.start()
        yield store


async def _verdict(settings: Settings) -> Verdict:
    async with _opened(settings) as store:
        return await RedisAuditLog(store).verify()


async def _tail(settings: Settings, count: int, line: Callable[[dict[str, Any]], str], *, follow: bool) -> None:
    async with _opened(settings) as store:
        log = RedisAuditLog(store)
        newest = await log.last(max(count, 1))
        place = newest[-1].place if newest else ""
        for _, entry in newest[-count:] if count else ():
            typer.echo(line(shown_entry(entry)))
        while follow:
            await asyncio.sleep(_LOOK_S)
            async for placed in log.after(place):
                place = placed.place
                typer.echo(line(shown_entry(placed.entry)))


async def _export(settings: Settings) -> None:
    async with _opened(settings) as store:
        async for _, entry in RedisAuditLog(store).after():
            typer.echo(_json_line(shown_entry(entry)))


async def _report(settings: Settings) -> dict[str, Any]:
    try:
        policy_hash: str | None = load_policy(settings.policy).hash
    except DocumentFault:
        policy_hash = None
    async with _opened(settings) as store:
        issuance = Issuance(RedisTokenRegister(store), settings.token_prefix, by=ON_THE_COMMAND_LINE)
        records: list[TokenRecord] = []
        cursor, more = "", True
        while more:
            page = await issuance.list(cursor=cursor, limit=MAX_PAGE)
            records += page.items
            cursor = page.next
            more = bool(cursor)
        verdict = await RedisAuditLog(store).verify()
        now_ms = issuance.now_ms()
    return {
        "at": rfc3339(now_ms),
        "policy": {"file": str(settings.policy), "hash": policy_hash},
        "audit": _told(verdict),
        **inventory(records, now_ms),
    }


def _told(verdict: Verdict) -> dict[str, Any]:
    fault = verdict.fault
    return {
        "whole": fault is None,
        "entries": verdict.entries,
        "head": verdict.head._asdict(),
        "broken": None if fault is None else {"kind": fault.kind, "seq": fault.seq, "message": fault.text},
    }


def _print_report(facts: dict[str, Any]) -> None:
    audit, policy = facts["audit"], facts["policy"]
    whole = f"whole, {audit['entries']} entries, newest hash {audit['head']['hash']}" if audit["whole"] else f"BROKEN: {audit['broken']['message']}"
    typer.echo(f"Scopegate report of {facts['at']}")
    typer.echo(printable(f"policy     {policy['file']}, hash {policy['hash'] or 'none: the file is faulty'}"))
    typer.echo(f"audit log  {whole}")
    typer.echo(f"tokens     {', '.join(f'{count} {state}' for state, count in facts['states'].items())}")
    for title, key in (("AGE", "ages"), ("LAST USED", "last_used")):
        typer.echo("")
        print_rows((title, "TOKENS"), [(name.replace("_", " "), str(count)) for name, count in facts[key].items() if count])
    typer.echo("")
    print_rows(("OWNER", "LIVING", "FULL", "ENDED"), [tuple(str(value) for value in each.values()) for each in facts["owners"]])
    typer.echo("")
    print_rows(("SCOPE", "VIEW", "MANAGE"), [tuple(str(value) for value in each.values()) for each in facts["scopes"]])
    for title, key in ((f"Unused for {UNUSED_DAYS} days", "unused"), ("Full access", "full")):
        each = facts[key]
        typer.echo(f"\n{title}: {len(each)}{f', the first {_SHOWN} here, all with --json' if len(each) > _SHOWN else ''}")
        if each:
            print_rows(("ID", "OWNER", "NAME", "CREATED", "LAST USED"), [tuple(str(value or "never") for value in row.values()) for row in each[:_SHOWN]])


def _json_line(shown: dict[str, Any]) -> str:
    return json.dumps(shown, ensure_ascii=False)


def _line(shown: dict[str, Any]) -> str:
    """An entry for people: number, time, what, who, and the rest as far as there is any."""
    told = [f"{shown['seq']:>6}", shown.get("at", ""), f"{shown['action']:<17}", f"{shown.get('subject') or '-'} ({shown.get('via') or 'unknown'})"]
    for word, name in (("from", "from"), ("token", "token_id"), ("owner", "owner"), ("request", "request_id")):
        if shown.get(name):
            told.append(f"{word} {shown[name]}")
    told += [f"{name}={value}" for name, value in shown.get("details", {}).items()]
    return printable("  ".join(told))
