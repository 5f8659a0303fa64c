"""The command line: ``scopegate COMMAND``. Exit 0: done. 1: the answer is no. 2: wrong use or configuration."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway import __version__
from gateway.cli.audit import audit_app, report_command
from gateway.cli.decision import explain_command
from gateway.cli.demo import demo_command
from gateway.cli.doctor import doctor_command
from gateway.cli.policy import policy_app
from gateway.cli.policy_plan import plan_command
from gateway.cli.policy_suggest import suggest_command
from gateway.cli.scan import scan_command
from gateway.cli.serve import serve_command
from gateway.cli.store import store_app
from gateway.cli.tokens import token_app

app = typer.Typer(name="scopegate", help="Scoped access tokens in front of a REST API.", no_args_is_help=True, pretty_exceptions_enable=False)
app.command("serve")(serve_command)
app.command("demo")(demo_command)
app.command("doctor")(doctor_command)
app.command("explain")(explain_command)
app.command("scan")(scan_command)
policy_app.command("plan")(plan_command)
policy_app.command("suggest")(suggest_command)
app.add_typer(token_app)
app.add_typer(policy_app)
app.add_typer(store_app)
app.add_typer(audit_app)
app.command("report")(report_command)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"scopegate {__version__}")
        raise typer.Exit


@app.callback()
def _options(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False) -> None:
    pass
