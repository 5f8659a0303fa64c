"""``scopegate token``: make, list, renew and end tokens on the configured store, whether or not ``serve`` runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from gateway.cli.options import ConfigOption, JsonOption, config_path
from gateway.cli.output import fail, plain_errors, print_json, print_rows, printable
from gateway.cli.store_session import open_issuance
from gateway.core.policy import Policy
from gateway.core.token_record import TokenRecord
from gateway.flow.issuance import MAX_PAGE, OPERATOR, Ended, Issuance, Issued, record_json
from gateway.flow.token_json import reach_in_words
from gateway.policy_file.document import DocumentFault
from gateway.policy_file.load import load_policy
from gateway.policy_file.units import duration_ms
from gateway.settings import Settings
from gateway.settings.load import load_settings

token_app = typer.Typer(name="token", help="Make, list, renew and end tokens.", no_args_is_help=True, pretty_exceptions_enable=False)

_Id = Annotated[str, typer.Argument(metavar="ID", help="The token's id: the part of its text between the underscores.", show_default=False)]

_COLUMNS: Final = ("ID", "STATE", "OWNER", "NAME", "ACCESS", "EXPIRES", "LAST USED")

T = TypeVar("T")


@token_app.command()
def create(
    name: Annotated[str, typer.Option("--name", metavar="N", help="What it is for; 1 to 100 characters.", show_default=False)],
    owner: Annotated[str, typer.Option("--owner", metavar="S", help="Whose it is.")] = OPERATOR,
    expires_in_days: Annotated[int | None, typer.Option("--expires-in-days", metavar="N", help="Whole days; else the policy's default.")] = None,
    full: Annotated[bool, typer.Option("--full", help="All scopes of the policy as it is now; later ones need a new token.")] = False,
    scope: Annotated[list[str] | None, typer.Option("--scope", metavar="G", help="A grant: SCOPE, SCOPE:view or SCOPE:manage. May be repeated.")] = None,
    allow_ip: Annotated[list[str] | None, typer.Option("--allow-ip", metavar="C", help="An address or CIDR block it may come from. May be repeated.")] = None,
    description: Annotated[str, typer.Option("--description", metavar="TEXT")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Make a token. Its secret is printed once, alone on stdout: it is not kept anywhere."""
    with plain_errors():
        settings = _settings(config)
        policy = load_policy(settings.policy)
        issued = _run(
            settings,
            lambda issuance: issuance.create(
                name=name,
                owner=owner,
                full=full,
                grants=scope or (),
                expires_in_days=expires_in_days,
                allowed_ips=allow_ip or (),
                description=description,
                policy=policy,
            ),
        )[0]
        _print_issued(issued, issued.token.created_at, policy, as_json=as_json)


@token_app.command("list")
def list_(
    state: Annotated[str | None, typer.Option("--state", metavar="STATE", help="active, suspended, revoked or expired.")] = None,
    owner: Annotated[str | None, typer.Option("--owner", metavar="S", help="Those of one owner.")] = None,
    q: Annotated[str, typer.Option("--q", metavar="TEXT", help="Those whose name, owner or description holds the text, or whose id it is.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List tokens, newest first; ended ones for 90 days."""

    async def every(issuance: Issuance) -> list[TokenRecord]:
        records: list[TokenRecord] = []
        cursor = ""
        while True:
            page = await issuance.list(state=state, owner=owner, q=q, cursor=cursor, limit=MAX_PAGE)
            records += page.items
            cursor = page.next
            if not cursor:
                return records

    with plain_errors():
        settings = _settings(config)
        policy = _policy_if_sound(settings)
        records, now_ms = _run(settings, every)
        if as_json:
            print_json({"items": [record_json(record, now_ms, policy) for record in records]})
        else:
            print_rows(_COLUMNS, [_row(record_json(record, now_ms, policy)) for record in records])


@token_app.command()
def show(token_id: _Id, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show one token's record."""
    _one(config, lambda issuance: issuance.get(token_id), as_json=as_json)


@token_app.command()
def regenerate(
    token_id: _Id,
    overlap: Annotated[str, typer.Option("--overlap", metavar="TIME", help="How long the old secret works on: 30s, 15m, 1h; at most 7 days.")] = "0s",
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Give a token a new secret; the old one stops at once, or after the overlap. The secret is printed once, alone on stdout."""
    with plain_errors():
        try:
            overlap_ms = duration_ms(overlap)
        except ValueError as error:
            fail(f"--overlap: {error}")
        if overlap_ms % 1000:
            fail("--overlap: write whole seconds")
        settings = _settings(config)
        issued, now_ms = _run(settings, lambda issuance: issuance.regenerate(token_id, overlap_ms // 1000))
        _print_issued(issued, now_ms, _policy_if_sound(settings), as_json=as_json, overlap_s=overlap_ms // 1000)


@token_app.command()
def revoke(
    token_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="The token's id.", show_default=False)] = None,
    owner: Annotated[str | None, typer.Option("--owner", metavar="S", help="End all tokens of one who leaves.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """End a token for good, or all tokens of an owner."""
    if (token_id is None) == (owner is None):
        fail("write the ID of one token, or --owner S for all of an owner's")
    if token_id is not None:
        _end(config, lambda issuance: issuance.revoke(token_id), as_json=as_json)
        return
    with plain_errors():
        settings = _settings(config)
        (records, reach), now_ms = _run(settings, lambda issuance: issuance.revoke_owner(owner or ""))
        policy = _policy_if_sound(settings)
        if as_json:
            print_json({"items": [record_json(record, now_ms, policy) for record in records], **reach._asdict()})
            return
        print_rows(_COLUMNS, [_row(record_json(record, now_ms, policy)) for record in records])
        if records:
            typer.echo(reach_in_words(reach), err=True)


@token_app.command()
def suspend(token_id: _Id, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Stop a token until it is resumed; its expiry goes on."""
    _end(config, lambda issuance: issuance.suspend(token_id), as_json=as_json)


@token_app.command()
def resume(token_id: _Id, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Let a suspended token work again."""
    _one(config, lambda issuance: issuance.resume(token_id), as_json=as_json)


def _settings(config: Path | None) -> Settings:
    return load_settings(config_path(config), os.environ, read_credentials=False)


def _policy_if_sound(settings: Settings) -> Policy | None:
    """The policy, or None with a warning: a token must be shown and ended also while the policy file is broken."""
    try:
        return load_policy(settings.policy)
    except DocumentFault as error:
        typer.echo(printable(f"warning: {error.faults[0]}: how many scopes a full token lacks is not told"), err=True)
        return None


def _run(settings: Settings, work: Callable[[Issuance], Awaitable[T]]) -> tuple[T, int]:
    """What the work answers, and the store's time."""

    async def opened() -> tuple[T, int]:
        async with open_issuance(settings) as issuance:
            return await work(issuance), issuance.now_ms()

    return asyncio.run(opened())


def _one(config: Path | None, work: Callable[[Issuance], Awaitable[TokenRecord]], *, as_json: bool) -> None:
    with plain_errors():
        settings = _settings(config)
        record, now_ms = _run(settings, work)
        facts = record_json(record, now_ms, _policy_if_sound(settings))
        if as_json:
            print_json({"token": facts})
        else:
            print_rows(("FIELD", "VALUE"), [(name.replace("_", " "), _cell(value)) for name, value in facts.items()])


def _end(config: Path | None, work: Callable[[Issuance], Awaitable[Ended]], *, as_json: bool) -> None:
    with plain_errors():
        settings = _settings(config)
        ended, now_ms = _run(settings, work)
        facts = record_json(ended.token, now_ms, _policy_if_sound(settings))
        if as_json:
            print_json({"token": facts, **ended.reach._asdict()})
            return
        print_rows(("FIELD", "VALUE"), [(name.replace("_", " "), _cell(value)) for name, value in facts.items()])
        typer.echo(reach_in_words(ended.reach), err=True)


def _print_issued(issued: Issued, now_ms: int, policy: Policy | None, *, as_json: bool, overlap_s: int | None = None) -> None:
    """``overlap_s`` is of a secret that took another's place; None for a new token's."""
    facts = record_json(issued.token, now_ms, policy)
    if as_json:
        print_json({"token": facts, "secret": issued.secret} | ({} if overlap_s is None else issued.reach._asdict()))
        return
    typer.echo(issued.secret)
    told = f'token {facts["id"]} "{printable(facts["name"])}" of {printable(facts["owner"])}: {_access(facts)}, until {facts["expires_at"]}'
    typer.echo(f"{told}. The secret above is not kept: store it now; if it gets lost, regenerate.", err=True)
    if overlap_s is not None:
        typer.echo(reach_in_words(issued.reach, overlap=overlap_s > 0), err=True)


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    return (facts["id"], facts["state"], facts["owner"], facts["name"], _access(facts), facts["expires_at"], facts["last_used_at"] or "never")


def _access(facts: dict[str, Any]) -> str:
    if facts["access"] != "full":
        return " ".join(facts["grants"])
    added = facts.get("scopes_added_since", 0)
    return f"full, without {added} that came later" if added else "full"


def _cell(value: Any) -> str:
    if value is None:
        return "never"
    if isinstance(value, dict):
        value = list(value.values())
    return " ".join(value) if isinstance(value, list) else str(value)
