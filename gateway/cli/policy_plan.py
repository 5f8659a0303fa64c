"""``scopegate policy plan``: what a change of policy does, before it is applied."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import ConfigOption, JsonOption, config_path
from gateway.cli.output import attempt, plain_errors, print_json, refuse
from gateway.cli.plan_report import plan_facts, print_plan
from gateway.cli.store_session import open_store
from gateway.core.own_routes import DEFAULT_PREFIX
from gateway.core.plan import plan
from gateway.core.plan_calls import CallEffects
from gateway.core.plan_tokens import TokenEffects
from gateway.core.scope import GrantSet, parse_grants
from gateway.observe.recorded_calls import hand_over
from gateway.policy_file.document import Fault
from gateway.policy_file.load import load_policy
from gateway.settings.load import load_settings

Holdings = dict[str, tuple[GrantSet, int]]


def plan_command(
    old_file: Annotated[Path, typer.Argument(metavar="OLD", help="The policy as it is.", show_default=False)],
    new_file: Annotated[Path, typer.Argument(metavar="NEW", help="The policy as it shall be.", show_default=False)],
    store: Annotated[bool, typer.Option("--store", help="Say what each living token of the configured store gains and loses.")] = False,
    access_log: Annotated[Path | None, typer.Option("--access-log", metavar="FILE", help="Count the recorded calls that would be decided otherwise.")] = None,
    allow_loss: Annotated[bool, typer.Option("--allow-loss", help="That a token loses access is meant.")] = False,
    allow_gain: Annotated[bool, typer.Option("--allow-gain", help="That a token gains access is meant.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Say what a change of policy does, before it is applied. Exit 1 if an existing token would lose or gain access, 2 if a policy can't be read."""
    faults: list[Fault] = []
    old, new = (attempt(partial(load_policy, file), faults) for file in (old_file, new_file))
    if old is None or new is None:
        refuse(faults, as_json=as_json)
    with plain_errors(as_json=as_json):
        difference = plan(old, new)
        tokens = TokenEffects(difference, old, new) if store else None
        holdings: Holdings = {}
        own_prefix = DEFAULT_PREFIX
        if tokens:
            own_prefix = load_settings(config_path(config), os.environ, read_credentials=False).own_prefix
            asyncio.run(_read_store(config_path(config), tokens, holdings if access_log else None))
        calls = CallEffects(old, new, holdings, own_prefix) if access_log else None
        if access_log and calls:
            hand_over(access_log, calls)
        loses, gains = (bool(tokens.losing), bool(tokens.gaining)) if tokens else (bool(calls and calls.losses), bool(calls and calls.gains))
        refused = [word for word, found, allowed in (("loss", loses, allow_loss), ("gain", gains, allow_gain)) if found and not allowed]
        if as_json:
            print_json({**plan_facts(old, new, difference, tokens, calls), "refused_for": refused})
        else:
            print_plan(old, new, difference, tokens, calls, refused)
        raise typer.Exit(1 if refused else 0)


async def _read_store(config: Path, effects: TokenEffects, holdings: Holdings | None) -> None:
    """Every token of the store, piece by piece. ``holdings`` takes what a recorded call may be judged by, of ended tokens too."""
    shared: dict[tuple[str, ...], GrantSet] = {}
    async with open_store(config) as issuance:
        async for records in issuance.every():
            now_ms = issuance.now_ms()
            for record in records:
                effects.add(record, now_ms)
                if holdings is not None:
                    grants = shared.get(record.grants) or shared.setdefault(record.grants, parse_grants(record.grants))
                    holdings[record.id] = (grants, record.created_at)
