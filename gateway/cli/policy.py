"""``scopegate policy``: is the file right, does it say what it should, and why does it say what it says."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gateway.cli.openapi import coverage_command, import_command
from gateway.cli.options import ConfigOption, JsonOption, config_path
from gateway.cli.output import fail, fault_facts, plain_errors, print_json, printable
from gateway.cli.store_session import open_store
from gateway.core.explain import Explanation, Holder, explain, holder_of, rule_of
from gateway.core.own_routes import DEFAULT_PREFIX
from gateway.core.policy import Policy
from gateway.core.route import KNOWN_METHODS, Route
from gateway.core.scope import GrantSet, parse_grants
from gateway.policy_file.advice import advice
from gateway.policy_file.compile import Compiled
from gateway.policy_file.document import DocumentFault, Fault, read_bytes
from gateway.policy_file.load import failing_tests, load_policy, parse_untested
from gateway.policy_file.schema import policy_schema
from gateway.settings.load import load_settings

policy_app = typer.Typer(name="policy", help="Check, test and explain a policy.", no_args_is_help=True, pretty_exceptions_enable=False)

_File = Annotated[Path, typer.Argument(metavar="FILE", help="The policy file.", show_default=False)]


@policy_app.command()
def check(file: _File, as_json: JsonOption = False, config: ConfigOption = None) -> None:  # noqa: ARG001  every command takes -c
    """Tell every fault of a policy, with its place. Exit 0 if there is none (warnings are no faults), 2 else."""
    compiled, faults = _read(file)
    if compiled:
        faults = failing_tests(compiled)
    warnings = advice(compiled.policy) if compiled and not faults else []
    if as_json:
        print_json(
            {
                "file": printable(str(file)),
                "ok": not faults,
                "faults": fault_facts(faults),
                "warnings": fault_facts(warnings),
                **(_counts(compiled) if compiled else {}),
            }
        )
    else:
        _complain(faults)
        for warning in warnings:
            _warn(str(warning._replace(message=f"warning: {warning.message}")))
        if compiled and not faults:
            counts = _counts(compiled)
            _say(f"{file}: good: scopes {counts['scopes']}, routes {counts['routes']}, left out {counts['unmapped']}, tests {counts['tests']}", "green")
    raise typer.Exit(2 if faults else 0)


@policy_app.command("test")
def run_tests(file: _File, as_json: JsonOption = False, config: ConfigOption = None) -> None:  # noqa: ARG001  every command takes -c
    """Run a policy's own tests. Exit 0 if all hold, 1 if one fails, 2 if the policy can't be read."""
    compiled, faults = _read(file)
    if not compiled:
        if as_json:
            print_json({"file": printable(str(file)), "ok": False, "tests": 0, "failed": [], "faults": fault_facts(faults)})
        else:
            _complain(faults)
        raise typer.Exit(2)
    failures = failing_tests(compiled)
    count = len(compiled.expectations)
    if as_json:
        print_json({"file": printable(str(file)), "ok": not failures, "tests": count, "failed": fault_facts(failures), "faults": []})
    else:
        _complain(failures)
        said = f"tests {count}, failed {len(failures)}" if count else "has no tests"
        _say(f"{file}: {said}", "red" if failures else "green")
    raise typer.Exit(1 if failures else 0)


@policy_app.command("explain")
def explain_(
    method: Annotated[str, typer.Argument(metavar="METHOD", show_default=False)],
    path: Annotated[str, typer.Argument(metavar="PATH", help="The request target, as a client would send it.", show_default=False)],
    policy_file: Annotated[Path | None, typer.Option("--policy", metavar="FILE", help="The policy; else the configured one.")] = None,
    grant: Annotated[list[str] | None, typer.Option("--grant", metavar="G", help="A grant that the caller holds: SCOPE, SCOPE:view or SCOPE:manage.")] = None,
    token: Annotated[str | None, typer.Option("--token", metavar="ID", help="The id of a token whose grants count.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Say which route a request meets, what it needs and why it is allowed or refused. Exit 0 if it is allowed, 1 if not."""
    method = method.upper()
    if method not in KNOWN_METHODS | {"CONNECT", "TRACE"}:
        fail(f"{method!r} is no method that the gateway knows: write METHOD, then PATH, as in GET /4/worklogs")
    if grant and token:
        fail("--grant and --token together: say one of them")
    with plain_errors():
        own_prefix = DEFAULT_PREFIX
        if token or policy_file is None:
            settings = load_settings(config_path(config), os.environ, read_credentials=False)
            policy_file, own_prefix = policy_file or settings.policy, settings.own_prefix
        policy = load_policy(policy_file)
        caller = asyncio.run(_holder(token, config_path(config))) if token else Holder(_granted(grant or []))
    for scope in caller.grants.levels:
        if not policy.knows(scope):
            _warn(f"warning: {scope!r} is no scope of this policy: known are {', '.join(policy.scopes)}")
    explanation = explain(policy, method, path, caller.grants, caller.created_ms, caller.refusal, own_prefix)
    if as_json:
        print_json(explanation.facts())
    else:
        _print_explanation(policy, method, path, explanation)
    raise typer.Exit(0 if explanation.decision == "allow" else 1)


@policy_app.command()
def schema(config: ConfigOption = None, as_json: JsonOption = False) -> None:  # noqa: ARG001  it is JSON as it is
    """Print the JSON Schema of the policy file."""
    sys.stdout.write(policy_schema())


policy_app.command("import-openapi")(import_command)
policy_app.command("coverage")(coverage_command)


def _granted(texts: list[str]) -> GrantSet:
    try:
        return parse_grants(texts)
    except ValueError as error:
        fail(f"--grant: {error}")


async def _holder(token_id: str, config: Path) -> Holder:
    """What a token holds, and what is wrong with it. Only here is a store needed."""
    async with open_store(config) as issuance:
        record = await issuance.get(token_id)
    return holder_of(record, time.time_ns() // 1_000_000)


def _read(file: Path) -> tuple[Compiled | None, list[Fault]]:
    try:
        return parse_untested(read_bytes(file), str(file)), []
    except DocumentFault as fault:
        return None, fault.faults


def _counts(compiled: Compiled) -> dict[str, object]:
    policy = compiled.policy
    unmapped = sum(route.unmapped for route in policy.routes)
    return {
        "hash": policy.hash,
        "scopes": len(policy.scopes),
        "routes": len(policy.routes) - unmapped,
        "unmapped": unmapped,
        "tests": len(compiled.expectations),
    }


def _complain(faults: list[Fault]) -> None:
    for fault in faults:
        _warn(str(fault))


def _warn(line: str) -> None:
    typer.echo(printable(line), err=True)


def _say(line: str, style: str = "") -> None:
    Console(highlight=False).print(printable(line), style=style, markup=False, emoji=False, soft_wrap=True)


def _print_explanation(policy: Policy, method: str, path: str, explanation: Explanation) -> None:
    verdict = explanation.decision if not explanation.code else f"{explanation.decision}: {explanation.code}"
    _say(f"{method} {path}", "bold")
    _say(f"{verdict}. {explanation.detail}", "red" if explanation.code else "green")
    route = explanation.route
    rows = [("matched", _rule(policy, route) if route else "no rule")]
    if route and route.scope:
        rows.append(("scope", f"{route.scope.id} ({route.scope.title}){f', {route.resource}' if route.resource else ''}"))
        rows.append(("needs", f"{route.scope.id}:{explanation.access}"))
    rows.append(("held", ", ".join(explanation.granted) or "nothing"))
    if explanation.missing:
        rows.append(("missing", ", ".join(explanation.missing)))
    if explanation.forwarded:
        rows.append(("but", "enforcement: report: it is noted and forwarded all the same"))
    rows += [("not taken" if index == 0 else "", f"{_rule(policy, other)}: {why}") for index, (other, why) in enumerate(explanation.tried)]
    for name, value in rows:
        _say(f"  {name:<10}{value}")


def _rule(policy: Policy, route: Route) -> str:
    return f"{rule_of(route)}, {'the gateway' if route.own else f'{policy.name}:{route.line}'}"
