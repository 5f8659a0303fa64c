"""``scopegate doctor``: is everything in place? One line for each thing looked at, and what to do about it."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

import typer

from gateway.cli.machine import examine_machine
from gateway.cli.options import ConfigOption, JsonOption, config_path
from gateway.cli.output import print_json, printable
from gateway.cli.running import readiness_at
from gateway.cli.store_session import open_server
from gateway.core.finding import Finding, fail, ok, warn
from gateway.flow.reload import digest_of, load_fitting_policy
from gateway.openapi.document_process import check_document
from gateway.openapi.pieces import SpecUnusable
from gateway.policy_file.advice import advice
from gateway.policy_file.document import DocumentFault
from gateway.ports import StoreUnavailable
from gateway.settings import Settings
from gateway.settings.fit import what_is_open
from gateway.settings.load import load_settings
from gateway.store.diagnosis import examine_store
from gateway.upstream.diagnosis import examine_upstream

_MOST: Final = 10  # faults of one file
_WIDTH: Final = 5  # of the level, so that the lines stand in columns


def doctor_command(
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Look at configuration, policy, store, upstreams, clocks and machine; say what is wrong and what to do. Exit 1 if anything fails."""
    findings = asyncio.run(examine(config_path(config), os.environ))
    good = not any(finding.level == "fail" for finding in findings)
    if as_json:
        print_json({"ok": good, "findings": [finding._asdict() for finding in findings]})
    else:
        for finding in findings:
            typer.echo(printable(f"{finding.level:<{_WIDTH}}{finding.check}: {finding.text}"))
    if not good:
        raise typer.Exit(1)


async def examine(config: Path, environ: Mapping[str, str]) -> list[Finding]:
    """All findings, in the order in which one would mend them. An embedded store that runs is used; else it is started for this, and stopped."""
    settings, findings = configuration(config, environ)
    if settings is None:
        return findings
    findings += policy(settings)
    findings += await asyncio.to_thread(_openapi, settings)
    findings += await asyncio.to_thread(_in_force, settings)
    machine = await asyncio.to_thread(examine_machine, settings, config, environ)
    findings += machine
    findings += await _store(settings, machine)
    findings += await asyncio.gather(*(examine_upstream(upstream, time.time()) for upstream in settings.upstreams.values()))
    return findings


def configuration(config: Path, environ: Mapping[str, str]) -> tuple[Settings | None, list[Finding]]:
    """The settings, None where they are faulty; what is wrong with them. Credentials that can't be read are told, and the rest is looked at all the same."""
    check = "configuration"
    try:
        return load_settings(config, environ), [ok(check, f"{config} is good")]
    except DocumentFault as fault:
        faults = [str(each) for each in fault.faults]
    try:
        settings = load_settings(config, environ, read_credentials=False)
    except DocumentFault:
        return None, _first(check, faults)
    return settings, [fail("credentials", each, "serve needs it: run doctor with the service's environment, as its user") for each in faults]


def policy(settings: Settings) -> Iterable[Finding]:
    """Does the policy load and fit, and what does ``policy check`` warn of?"""
    check = "policy"
    try:
        loaded = load_fitting_policy(settings)
    except DocumentFault as fault:
        return _first(check, [str(each) for each in fault.faults])
    found = f"{settings.policy}: scopes {len(loaded.scopes)}, routes {len(loaded.routes)}, hash {loaded.hash[:12]}"
    warnings = len(advice(loaded))
    told = warn(check, f"{found}, warnings {warnings}", f"see `scopegate policy check {settings.policy}`") if warnings else ok(check, found)
    return [told, *(warn(check, line, "mean it, or write enforcement: enforce") for line in what_is_open(settings, loaded))]


def _openapi(settings: Settings) -> list[Finding]:
    """Can the API's description be cut down for whoever asks?"""
    check = "openapi"
    if settings.openapi is None:
        return []
    try:
        return [ok(check, f"{settings.openapi}: operations {check_document(settings.openapi)}")]
    except SpecUnusable as why:
        return [fail(check, str(why), "mend the document, or name another in openapi")]


def _in_force(settings: Settings) -> list[Finding]:
    """Does the gateway that runs here, if one does, run the policy that is in the file?"""
    check, listen = "policy in force", settings.admin.listen
    told = readiness_at(listen)
    if told is None:
        return []  # where another program has the port, the line on it says so
    running, refused = told.running, told.policy_refused
    file = digest_of(settings.policy)
    if running == {file}:
        return [ok(check, f"the gateway on {listen} runs it in all its workers")]
    hashes = ", ".join(sorted(digest[:12] for digest in running))
    if refused is not None and refused.hash == file:
        return [fail(check, f"the gateway on {listen} has refused this file, faults {refused.faults}, and goes on with {hashes}", "mend what its log names")]
    return [warn(check, f"the gateway on {listen} runs {hashes}, the file is {file[:12] or 'not readable'}", "send it SIGHUP, and look at its log")]


def _first(check: str, faults: Sequence[str]) -> list[Finding]:
    """The first faults: one wrong key may be told at each of a hundred routes."""
    shown = [fail(check, each) for each in faults[:_MOST]]
    return [*shown, fail(check, f"and {len(faults) - _MOST} more")] if len(faults) > _MOST else shown


async def _store(settings: Settings, machine: Iterable[Finding]) -> list[Finding]:
    if settings.store.url == "embedded" and any(finding.check == "data_dir" and finding.level == "fail" for finding in machine):
        # Started by another user or in a wrong place, it would leave files there that the gateway can't use.
        return [fail("store", "the embedded store was not looked at", "mend data_dir first")]
    data_dir = settings.store.data_dir
    with ExitStack() as gone_afterwards:
        if settings.store.url == "embedded" and not data_dir.exists():
            # Made here it might be another user's than the gateway's.
            folder = gone_afterwards.enter_context(tempfile.TemporaryDirectory(prefix="scopegate-doctor-"))
            settings = replace(settings, store=replace(settings.store, data_dir=Path(folder)))
        try:
            async with open_server(settings) as store:
                return await examine_store(replace(store.options, data_dir=data_dir))
        except StoreUnavailable as why:
            return [fail("store", str(why))]
