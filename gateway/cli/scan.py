"""``scopegate scan``: finds tokens that lie where they should not, and ends them if asked to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from gateway.cli.leak_sources import GitHistory, Source, SourceFault, files_below
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, config_path
from gateway.cli.output import fail, plain_errors, print_json, printable
from gateway.cli.store_session import open_server
from gateway.core.leak import find_leaks
from gateway.core.token_record import REVOKED
from gateway.core.token_text import PREFIX, digest
from gateway.flow.issuance import ON_THE_COMMAND_LINE, Issuance
from gateway.settings import Settings
from gateway.settings.load import load_settings
from gateway.store.token_register import RedisTokenRegister
from gateway.store.token_store import RedisTokenStore


class Finding(NamedTuple):
    """A token in a file. ``commit`` is "" outside a history. The repr keeps the text."""

    path: str
    line: int
    commit: str
    token_id: str
    text: str

    def __repr__(self) -> str:
        return f"Finding(path={self.path!r}, line={self.line}, token_id={self.token_id!r})"


def scan_command(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files and folders; - for what is piped in.", show_default=False)],
    git: Annotated[bool, typer.Option("--git", help="Each PATH is a git repository: look through its whole history instead.")] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Revoke the tokens that are found, in the configured store.")] = False,
    prefix: Annotated[str | None, typer.Option("--prefix", metavar="P", help="What tokens begin with; else the configuration's token_prefix.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Find real tokens in files, by prefix and checksum. Exit 1 if there are any, 2 if something can't be read."""
    with plain_errors():
        settings = _settings(config, needed=revoke)
        prefix = prefix if prefix is not None else settings.token_prefix if settings is not None else "sgt"
        if not PREFIX.match(prefix):
            fail("--prefix: write 2 to 16 small letters and digits, a letter first")
        faults: list[str] = []
        findings: list[Finding] = []
        for path in paths:
            try:
                findings += _in_history(path, prefix, faults) if git else _in_files(path, prefix, faults)
            except SourceFault as fault:
                faults.append(str(fault))
        outcomes = asyncio.run(_revoke(settings, findings)) if revoke and findings and settings is not None else {}
        if as_json:
            print_json({"found": [_facts(finding, outcomes, prefix, revoke=revoke) for finding in findings], "unreadable": faults})
        else:
            for finding in findings:
                commit = f" (commit {finding.commit[:12]})" if finding.commit else ""
                what = f": {outcomes[finding.text]}" if finding.text in outcomes else ""
                typer.echo(printable(f"{finding.path}:{finding.line}: {prefix}_{finding.token_id}_…{commit}{what}"))
        for line in faults:
            typer.echo(printable(line), err=True)
    if findings:
        raise typer.Exit(1)
    if faults:
        raise typer.Exit(2)


def _settings(config: Path | None, *, needed: bool) -> Settings | None:
    """The configuration; None where there is none and none is asked for: a scan works anywhere."""
    path = config_path(config)
    if not needed and config is None and path == DEFAULT_CONFIG and not path.exists():
        return None
    return load_settings(path, os.environ, read_credentials=False)


def _in_files(path: Path, prefix: str, faults: list[str]) -> Iterator[Finding]:
    for source in files_below(path):
        if source.fault:
            faults.append(f"{source.path}: it can't be read ({source.fault})")
            continue
        try:
            yield from _in_source(source, prefix)
        except OSError as error:
            faults.append(f"{source.path}: it can't be read ({os.strerror(error.errno or 0).lower()})")


def _in_history(folder: Path, prefix: str, faults: list[str]) -> list[Finding]:
    history = GitHistory(folder)
    found: list[tuple[Source, Finding]] = []
    try:
        for source in history.sources():
            found += [(source, finding) for finding in _in_source(source, prefix)]
    except SourceFault as fault:  # what was found before counts
        faults.append(str(fault))
    return sorted(finding._replace(commit=history.commit_of(source.object_id)) for source, finding in found)


def _in_source(source: Source, prefix: str) -> Iterator[Finding]:
    for leak in find_leaks(source.pieces, prefix):
        yield Finding(source.path, leak.line, "", leak.token_id, leak.text)


async def _revoke(settings: Settings, findings: Sequence[Finding]) -> dict[str, str]:
    """What became of each token's text. Only a text that is, or was, truly the token's counts: else whoever knows an id could have a token ended."""
    outcomes: dict[str, str] = {}
    async with open_server(settings) as store:
        await store.start()
        look_ups = RedisTokenStore(store)
        issuance = Issuance(RedisTokenRegister(store), settings.token_prefix, by=ON_THE_COMMAND_LINE)
        for text, token_id in {finding.text: finding.token_id for finding in findings}.items():
            record, now_ms = await look_ups.fetch(token_id)
            proof = digest(text)
            if record is None or proof not in {record.digest, record.previous}:
                outcomes[text] = "not a secret of this store's tokens"
            elif record.state == REVOKED:
                outcomes[text] = "already revoked"
            elif now_ms >= record.expires_at:
                outcomes[text] = "already expired"
            elif proof != record.digest and now_ms >= record.overlap_until:
                outcomes[text] = "already regenerated: this secret works no longer"
            else:
                await issuance.revoke(token_id)
                outcomes[text] = "revoked"
    return outcomes


def _facts(finding: Finding, outcomes: dict[str, str], prefix: str, *, revoke: bool) -> dict[str, str | int | None]:
    facts: dict[str, str | int | None] = {
        "path": finding.path,
        "line": finding.line,
        "commit": finding.commit or None,
        "token_id": finding.token_id,
        "shown": f"{prefix}_{finding.token_id}_…",
    }
    return facts | ({"outcome": outcomes.get(finding.text)} if revoke else {})
