"""``scopegate policy suggest``: routes for what was called and is not mapped, as lines for the policy, each for a person to read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.options import ConfigOption, JsonOption, config_path
from gateway.cli.output import plain_errors, print_json, printable
from gateway.core.own_routes import DEFAULT_PREFIX
from gateway.core.policy import Policy
from gateway.core.suggestion import SuggestedRoute, Suggestions
from gateway.observe.recorded_calls import hand_over
from gateway.policy_file.load import load_policy
from gateway.policy_file.yaml_text import comment, quoted, scalar
from gateway.settings.load import load_settings

UNNAMED = "other"  # the scope of paths that give it no name


def suggest_command(
    access_log: Annotated[Path, typer.Option("--access-log", metavar="FILE", help="What the gateway has logged, one JSON line a request.", show_default=False)],
    policy_file: Annotated[Path | None, typer.Option("--policy", metavar="FILE", help="The policy; else the configured one.")] = None,
    least: Annotated[int, typer.Option("--min", metavar="N", help="Leave out routes that were called less often.", min=1)] = 1,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Propose routes for paths that were called and that no route maps, as lines for the policy. Nothing is changed."""
    with plain_errors(as_json=as_json):
        own_prefix = DEFAULT_PREFIX
        if policy_file is None:
            settings = load_settings(config_path(config), os.environ, read_credentials=False)
            policy_file, own_prefix = settings.policy, settings.own_prefix
        policy = load_policy(policy_file)
        found = Suggestions(policy, own_prefix)
        hand_over(access_log, found)
        routes = [route for route in found.routes() if route.calls >= least]
        scopes = list(dict.fromkeys(route.scope or UNNAMED for route in routes if not policy.knows(route.scope or UNNAMED)))
        if as_json:
            print_json(_facts(access_log, policy, found, routes, scopes))
        else:
            typer.echo("\n".join(printable(line) for line in _lines(access_log, policy, found, routes, scopes)))
            for why, (count, first) in found.skipped.items():
                typer.echo(printable(f"{access_log}: passed over {count:,}: {why}; the first is line {first}"), err=True)


def _lines(log: Path, policy: Policy, found: Suggestions, routes: list[SuggestedRoute], scopes: list[str]) -> list[str]:
    whole = not policy.routes
    lines = [
        comment(f"From {log}: {found.seen:,} calls that {policy.name} does not map, {found.mapped:,} that it maps."),
        "# A proposal: read each line, join or split scopes, then put it into the policy and run policy check.",
    ]
    if not routes:
        return [*lines, "# Nothing to propose."]
    if whole:
        lines += ["version: 1", "enforcement: report  # enforce, once this says what you mean"]
    if scopes:
        lines += ["scopes:", *(f"  {scalar(scope)}: {{title: {scalar(_title(scope))}}}" for scope in scopes)]
    lines.append("routes:")
    for route in routes:
        lines += [f"  {comment(note)}" for note in _notes(route)]
        access = ", access: view" if route.searches else ""
        lines.append(f"  - {{path: {quoted(route.template)}, methods: [{', '.join(route.methods)}], scope: {scalar(route.scope or UNNAMED)}{access}}}")
    return lines


def _title(scope: str) -> str:
    return scope.replace("-", " ").replace("_", " ").capitalize()


def _notes(route: SuggestedRoute) -> list[str]:
    notes = [f"{route.calls:,} call{'s' * (route.calls != 1)}, such as {route.methods[0]} {route.example}"]
    if route.extends:
        notes.append("decide: the policy maps this path for other methods")
    if route.searches:
        notes.append("decide: is this a search, which changes nothing? If not, remove access: view")
    if not route.scope:
        notes.append(f"decide: which scope? {UNNAMED} stands in its place")
    return notes


def _facts(log: Path, policy: Policy, found: Suggestions, routes: list[SuggestedRoute], scopes: list[str]) -> dict[str, Any]:
    return {
        "policy": policy.name,
        "hash": policy.hash,
        "access_log": printable(str(log)),
        "unmapped_calls": found.seen,
        "mapped_calls": found.mapped,
        "scopes": scopes,
        "routes": [
            {
                "path": route.template,
                "methods": list(route.methods),
                "scope": route.scope or UNNAMED,
                "access": "view" if route.searches else None,
                "calls": route.calls,
                "example": route.example,
                "decide": _notes(route)[1:],
            }
            for route in routes
        ],
        "skipped": [{"why": why, "lines": count, "first": first} for why, (count, first) in found.skipped.items()],
    }
