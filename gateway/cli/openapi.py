"""``scopegate policy import-openapi`` and ``policy coverage``: from an API's description to a policy, and whether the two still say the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import ConfigOption, JsonOption
from gateway.cli.output import attempt, fail, plain_errors, print_json, printable, refuse
from gateway.core.route import Route
from gateway.core.route_table import ordered, taken
from gateway.openapi.coverage import Coverage, Reached, coverage
from gateway.openapi.first_policy import FirstPolicy, first_policy
from gateway.openapi.operation_notes import told
from gateway.openapi.operations import Operation, Specification, specification
from gateway.openapi.policy_text import decisions, policy_text
from gateway.openapi.source import read_source
from gateway.policy_file.document import Fault
from gateway.policy_file.load import load_policy

_Spec = Annotated[Path, typer.Argument(metavar="SPEC", help="The OpenAPI document: 2.0, 3.0 or 3.1, JSON or YAML.", show_default=False)]
_Prefix = Annotated[
    str | None, typer.Option("--prefix", metavar="PATH", help="Stands before every path, in place of the paths of the document's servers; / for nothing.")
]


def import_command(
    spec: _Spec,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where the policy goes; else to stdout.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
    prefix: _Prefix = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,  # noqa: ARG001  every command takes -c
) -> None:
    """Make a first policy from an OpenAPI document: one scope a tag, comments where you must decide. It passes policy check as it is."""
    if as_json and not output:
        fail("--json tells what was made, so the policy needs --output FILE")
    with plain_errors(as_json=as_json):
        made = first_policy(_read(spec, prefix))
        text = policy_text(made)
    if output is None:
        with plain_errors():
            sys.stdout.write(text)
            sys.stdout.flush()
    else:
        _write(output, text, force=force)
    facts = _facts(made)
    if as_json:
        print_json({"spec": printable(str(spec)), "policy": printable(str(output)), **facts})
    else:
        told_as = (
            f"operations {facts['operations']}: scopes {facts['scopes']}, routes {facts['routes']}, left out {facts['unmapped']}, decide {facts['decide']}"
        )
        typer.echo(printable(f"{spec}: {told_as}"), err=True)
        for request, why in made.never:
            typer.echo(printable(f"{spec}: {request} is not in the policy: {why}"), err=True)


def coverage_command(
    spec: _Spec,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The policy file.", show_default=False)],
    prefix: _Prefix = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,  # noqa: ARG001  every command takes -c
) -> None:
    """Compare an OpenAPI document with a policy: operations without a route, routes without an operation, operations that another tag's scope
    reaches, secured ones that are public. Exit 0 if there is none of these, 1 else, 2 if a file can't be read.
    """
    faults: list[Fault] = []
    described = attempt(lambda: _read(spec, prefix), faults)
    policy = attempt(lambda: load_policy(file), faults)
    if described is None or policy is None:
        refuse(faults, as_json=as_json)
    with plain_errors(as_json=as_json):
        found = coverage(described, policy)
    if as_json:
        print_json({"spec": printable(str(spec)), "policy": printable(str(file)), **_coverage_facts(found)})
    else:
        _print_coverage(found, spec, file)
    raise typer.Exit(0 if found.is_full else 1)


def _read(spec: Path, prefix: str | None) -> Specification:
    if prefix is not None and not prefix.startswith("/"):
        fail(f"--prefix: {prefix!r} must begin with a slash, as in /v2; / alone stands for nothing")
    return specification(read_source(spec), str(spec), None if prefix is None else prefix.rstrip("/"))


def _write(output: Path, text: str, *, force: bool) -> None:
    """Write a whole file, or leave what is there as it is."""
    if not force and output.exists():
        fail(f"{output} is there already: --force replaces it")
    scratch = output.with_name(f".{output.name}.new")
    try:
        scratch.write_text(text, "utf-8")
        scratch.replace(output)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        fail(f"{output} can't be written: {error.strerror}")


def _facts(made: FirstPolicy) -> dict[str, object]:
    left_out = sum(rule.left_out for rule in made.rules)
    return {
        "operations": len(made.specification.operations),
        "scopes": len(made.areas),
        "routes": len(made.rules) - left_out,
        "unmapped": left_out,
        "decide": decisions(made),
        "never": [{"request": printable(request), "why": why} for request, why in made.never],
    }


def _print_coverage(found: Coverage, spec: Path, file: Path) -> None:
    parts = (
        ("without a route", [told(operation) for operation in found.without_route]),
        ("routes without an operation", [_route(route, file) for route in found.without_operation]),
        ("reached by the scope of another tag", [f"{_reached(reached, file)}; {reached.area} has {_or_none(reached.scopes)}" for reached in found.broader]),
        ("public, though the document asks for a credential", [_reached(reached, file) for reached in found.public]),
        ("left out on purpose", [told(operation) for operation in found.left_out]),
        ("never reached, whatever a policy says", [f"{request}: {why}" for request, why in found.never]),
    )
    for title, lines in parts:
        if lines:
            _say(f"{title}: {len(lines)}")
            for line in lines:
                _say(f"  {line}")
    _say(f"{spec} and {file}: operations {found.operations}, " + ("all covered" if found.is_full else "not all covered"))


def _reached(reached: Reached, file: Path) -> str:
    by = f"by {reached.route.scope.id}" if reached.route.scope else "by all"
    return f"{told(reached.operation)} {by}, {_route(reached.route, file)}"


def _route(route: Route, file: Path) -> str:
    return f"{', '.join(ordered(taken(route.methods)))} {route.template}, {file}:{route.line}"


def _or_none(scopes: tuple[str, ...]) -> str:
    return ", ".join(scopes) or "no scope"


def _say(line: str) -> None:
    typer.echo(printable(line))


def _coverage_facts(found: Coverage) -> dict[str, object]:
    return {
        "ok": found.is_full,
        "operations": found.operations,
        "without_route": [_operation_facts(operation) for operation in found.without_route],
        "without_operation": [_route_facts(route) for route in found.without_operation],
        "broader": [_reached_facts(reached) for reached in found.broader],
        "public": [_reached_facts(reached) for reached in found.public],
        "left_out": [_operation_facts(operation) for operation in found.left_out],
        "never": [{"request": printable(request), "why": why} for request, why in found.never],
    }


def _operation_facts(operation: Operation) -> dict[str, object]:
    return {"method": operation.method, "path": printable(operation.prefix + operation.path), "tags": list(operation.tags)}


def _route_facts(route: Route) -> dict[str, object]:
    return {"route": route.template, "methods": list(ordered(taken(route.methods))), "scope": route.scope.id if route.scope else None, "line": route.line}


def _reached_facts(reached: Reached) -> dict[str, object]:
    return {**_operation_facts(reached.operation), "tag": reached.area, "tag_scopes": list(reached.scopes), **_route_facts(reached.route)}
