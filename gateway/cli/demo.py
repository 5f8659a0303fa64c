"""``scopegate demo``: all of it at once, in a temporary folder, in front of the sample upstream; nothing is left when it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import resources
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import typer

import gateway
from gateway.cli.serve import fail, run
from gateway.core.policy import Policy
from gateway.flow.issuance import ON_THE_COMMAND_LINE, Issuance, IssuanceRefused, Issued
from gateway.flow.sign_in import SIGN_IN, SignIn
from gateway.policy_file.document import DocumentFault
from gateway.policy_file.load import load_policy
from gateway.processes.child import start_log
from gateway.processes.listening import CannotServe, listen
from gateway.settings import Address, Settings
from gateway.settings.load import load_settings
from gateway.store.browser_sessions import RedisSessionStore
from gateway.store.connection import StoreOptions
from gateway.store.embedded import socket_path
from gateway.store.server import Store
from gateway.store.token_register import RedisTokenRegister
from gateway.store.wire import ask

_HOST: Final = "127.0.0.1"
_GRANTS: Final = ("worklogs:manage", "teams:view")
_CHILD_END_S: Final = 5.0


def demo_command(
    port: Annotated[int, typer.Option("--port", metavar="N", help="The gateway's port; a free one where it is taken.", min=0, max=65535)] = 8080,
    admin_port: Annotated[int, typer.Option("--admin-port", metavar="N", help="The management port; a free one where it is taken.", min=0, max=65535)] = 8081,
) -> None:
    """Run everything at once: the gateway on a store of its own, a Tempo-like sample API behind it, a token and curl lines that work. Ctrl-C ends it."""
    signal.signal(signal.SIGINT, _interrupt_once)
    try:
        with _folder() as folder, _sample() as upstream:
            settings = _settings(folder, upstream, *_ports(port, admin_port))
            start_log()
            logging.getLogger().setLevel(logging.WARNING)  # the demo's own lines say the rest
            Demo(settings, load_policy(settings.policy), upstream).run()
    except DocumentFault as fault:
        fail(fault)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise  # nobody reads any more: typer ends the command quietly
        fail(f"the demo cannot run here: {error.filename or 'the system'}: {error.strerror}")
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


class Demo:
    """One run."""

    def __init__(self, settings: Settings, policy: Policy, upstream: str) -> None:
        self._settings = settings
        self._policy = policy
        self._upstream = upstream

    def run(self) -> None:
        """Serve until told to stop."""
        try:
            run(self._settings, self._greet, hangup_ends=True)  # a closed terminal ends a demo; there is no policy to reload
        except IssuanceRefused as why:
            fail(why)

    def _greet(self, _data: Address, _admin: Address, options: StoreOptions) -> None:
        typer.echo("\n".join(self._lines(*asyncio.run(self._issue(options)))))

    async def _issue(self, options: StoreOptions) -> tuple[Issued, str]:
        store = Store(options)
        await store.start()
        try:
            issuance = Issuance(RedisTokenRegister(store), self._settings.token_prefix, by=ON_THE_COMMAND_LINE)
            issued = await issuance.create(name="Demo", policy=self._policy, grants=_GRANTS)
            code = await SignIn(RedisSessionStore(store)).offer(ON_THE_COMMAND_LINE.principal, by=ON_THE_COMMAND_LINE)
            return issued, code
        finally:
            await store.close()

    def _lines(self, issued: Issued, code: str) -> Iterator[str]:
        settings = self._settings
        key = settings.store.data_dir / "admin.key"
        yield from (
            "",
            f"  gateway     {settings.public_url}",
            f"  management  http://{settings.admin.listen}   its key: {key}",
            f"  sign in     http://{settings.admin.listen}{SIGN_IN}/{code}   works once, within five minutes",
            f"  token       {issued.secret}",
            f"              may: {', '.join(issued.token.grants)}",
            f"  upstream    {self._upstream}   the sample API, which asks for no token",
            f"  policy      {settings.policy}   which path needs which scope",
            f"  access log  {settings.access_log}",
        )
        typo = issued.secret[:-1] + ("0" if issued.secret[-1] != "0" else "1")
        api, bearer = f"{settings.public_url}/4", f'-H "Authorization: Bearer {issued.secret}"'
        send = '-H "Content-Type: application/json" -d'
        body = '{"issueId": 10001, "authorAccountId": "712020:00000001-demo", "startDate": "2026-11-02", "timeSpentSeconds": 3600}'
        for says, line in (
            ("200: two worklogs; each address in the answer is the gateway's, not the upstream's", f'{bearer} "{api}/worklogs?limit=2"'),
            ("200: the page that the first one names as next", f'{bearer} "{api}/worklogs?offset=2&limit=2"'),
            ("200: a search by POST only reads: view is enough for it", f"{bearer} {send} '{{}}' \"{api}/worklogs/search?limit=1\""),
            ("200: a new worklog: the token may manage them", f"{bearer} {send} '{body}' {api}/worklogs"),
            ("403: the token may view teams, not make them", f'{bearer} {send} \'{{"name": "New"}}\' {api}/teams'),
            ("403: the token does not hold the scope accounts", f"{bearer} {api}/accounts"),
            ("404: left out of the policy on purpose, as is all that it does not name", f"{bearer} {api}/skills"),
            ("401: no token", f"{api}/worklogs"),
            ("401: a typing error in the token, found by its checksum", f'-H "Authorization: Bearer {typo}" {api}/worklogs'),
            (
                "200: the list of tokens, for whoever holds the admin key",
                f'-H "Authorization: Bearer $(cat {key})" http://{settings.admin.listen}/api/v1/tokens',
            ),
        ):
            yield from ("", f"# {says}", f"curl -i {line}")
        yield from ("", "Ctrl-C ends the demo and removes all of it.")


def _interrupt_once(_number: int, _frame: FrameType | None) -> None:
    """A first Ctrl-C ends the demo; a second one must not break off the clearing up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for the demo, gone at the end together with a store's server that an interrupted start left in it."""
    folder = Path(tempfile.mkdtemp(prefix="scopegate-demo-"))
    store = socket_path(folder / "data")
    try:
        yield folder
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        ask(store, "SHUTDOWN", timeout_s=1)
        shutil.rmtree(folder, ignore_errors=True)
        if folder not in store.parents:  # a long path has its socket elsewhere
            shutil.rmtree(store.parent, ignore_errors=True)


@contextmanager
def _sample() -> Iterator[str]:
    """The sample upstream's address. It is a process of its own, so that it takes no time from the gateway's loop."""
    command = [sys.executable, "-m", "gateway.sample", "--port", "0", "--until-eof"]
    # Its own session: Ctrl-C is for the gateway, which drains first. It ends when its standard input does, so also when the demo is killed.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True) as child:  # noqa: S603 - our own module
        try:
            address = child.stdout.readline().strip() if child.stdout else ""
            if not address:
                fail("the sample upstream did not start: see above")
            yield address
        finally:
            if child.stdin:
                child.stdin.close()
            try:
                child.wait(_CHILD_END_S)
            except subprocess.TimeoutExpired:
                child.kill()


def _ports(*asked: int) -> list[int]:
    """The ports that were asked for, or free ones where they can't be had."""
    ports = []
    with ExitStack() as held:  # each is held until all are found, so that no two are the same
        for port in asked:
            try:
                sock = held.enter_context(listen(Address(_HOST, port), "port"))
            except CannotServe as why:
                sock = held.enter_context(listen(Address(_HOST, 0), "port"))
                typer.echo(f"{str(why).partition(': ')[0]}: the demo takes {sock.getsockname()[1]} instead")
            ports.append(int(sock.getsockname()[1]))
    return ports


def _settings(folder: Path, upstream: str, port: int, admin_port: int) -> Settings:
    """The demo's settings, read from a file as for any gateway; the environment's are left out, they are for another."""
    policy, config = folder / "tempo.yaml", folder / "gateway.yaml"
    policy.write_bytes(_policy_text())
    text = json.dumps(
        {
            "listen": f"{_HOST}:{port}",
            "public_url": f"http://{_HOST}:{port}",
            "policy": str(policy),
            "admin": {"listen": f"{_HOST}:{admin_port}"},
            "store": {"url": "embedded", "data_dir": str(folder / "data")},
            "upstreams": {"tempo": {"url": upstream, "rewrite_urls": True}},
            "access_log": str(folder / "access.log"),
            "drain_timeout": "5s",
        },
        indent=2,
    )
    config.write_text(text, "utf-8")  # JSON is YAML too
    return load_settings(config, {})


def _policy_text() -> bytes:
    """policies/tempo.yaml: from the wheel, else from the checkout that the package stands in."""
    shipped = resources.files(gateway) / "policies" / "tempo.yaml"
    if shipped.is_file():
        return shipped.read_bytes()
    return (Path(gateway.__file__).parent.parent / "policies" / "tempo.yaml").read_bytes()
