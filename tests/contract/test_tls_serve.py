"""``serve`` on a store by TLS: it serves, and where the handshake fails it ends with one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.certificates import Pair, authority, issue
from tests.harness.gateway import GatewayProcess
from tests.harness.redis_server import RedisServer

PASSWORD = "s3cret-word"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    folder = tmp_path_factory.mktemp("tls")
    ca = authority(folder)
    return {"ca": ca, "other": authority(folder, "other"), "server": issue(ca, "server", "DNS:localhost"), "client": issue(ca, "client")}


@pytest.fixture(scope="module")
def server(files: dict[str, Pair], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    folder = tmp_path_factory.mktemp("redis")
    with RedisServer(folder, tls=files["server"], ca=files["ca"].certificate, requirepass=PASSWORD, appendonly="yes") as running:
        yield running


@pytest.fixture
def gateway(files: dict[str, Pair], server: RedisServer) -> Iterator[GatewayProcess]:
    """Not started; its settings are right."""
    made = GatewayProcess("http://127.0.0.1:1")
    tls = {"ca_file": str(files["ca"].certificate), "cert_file": str(files["client"].certificate), "key_file": str(files["client"].key)}
    made.settings["store"] |= {"url": f"rediss://:{PASSWORD}@localhost:{server.port}/0", "tls": tls}
    yield made
    made.close()


def test_tokens_are_made_used_and_revoked_on_a_store_by_tls(gateway: GatewayProcess) -> None:
    gateway.start()
    made = gateway.make("worklogs:view")
    allowed = gateway.ask("GET", "/4/worklogs/1", token=made.secret)
    assert (allowed.status, json.loads(allowed.body)["code"]) == (502, "upstream_unreachable")  # decided, and nothing is behind
    gateway.api("DELETE", f"/tokens/{made.id}")
    refused = gateway.ask("GET", "/4/worklogs/1", token=made.secret)
    assert (refused.status, json.loads(refused.body)["code"]) == (401, "token_revoked")
    assert gateway.stop() == 0
    assert PASSWORD not in gateway.log()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("ca", "shows a certificate that store.tls.ca_file does not vouch for"),
        ("name", "shows a certificate for another name"),
        ("client", "asks for a client certificate"),
        ("file", "store.tls.ca_file: "),
    ],
)
def test_handshake_that_fails_ends_serve_with_one_line(gateway: GatewayProcess, files: dict[str, Pair], wrong: str, said: str, tmp_path: Path) -> None:
    store = gateway.settings["store"]
    if wrong == "ca":
        store["tls"]["ca_file"] = str(files["other"].certificate)
    elif wrong == "name":
        store["url"] = store["url"].replace("localhost", "127.0.0.1")
    elif wrong == "client":
        del store["tls"]["cert_file"], store["tls"]["key_file"]
    else:
        store["tls"]["ca_file"] = str(tmp_path / "none.pem")
    assert gateway.launch().wait() == 2
    (line,) = [line for line in gateway.log().splitlines() if "scopegate: " in line]
    assert said in line
    assert "Traceback" not in gateway.log()
    assert PASSWORD not in gateway.log()
