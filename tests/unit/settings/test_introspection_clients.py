"""admin.introspection: who may ask what a token is good for, read from the file and the environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.policy_file.document import DocumentFault
from gateway.settings import IntrospectionClient, Secret, Settings
from gateway.settings.load import load_settings

UPSTREAM = "upstreams: {api: {url: http://127.0.0.1:8090}}\n"
SECRET = "s" * 32


def load(folder: Path, admin: str, environ: Mapping[str, str], **options: bool) -> Settings:
    file = folder / "gateway.yaml"
    file.write_text(f"{UPSTREAM}admin: {admin}\n")
    return load_settings(file, environ, **options)


def fault(folder: Path, admin: str, environ: Mapping[str, str]) -> str:
    with pytest.raises(DocumentFault) as caught:
        load(folder, admin, environ)
    return str(caught.value).replace(f"{folder}/", "")


def test_a_clients_secret_is_read_from_its_variable_and_shows_nowhere(tmp_path: Path) -> None:
    """A variable that begins like a setting is none."""
    settings = load(tmp_path, "{introspection: [{client_id: api, secret_env: SCOPEGATE_API_SECRET}]}", {"SCOPEGATE_API_SECRET": SECRET})
    assert settings.admin.introspection == (IntrospectionClient("api", Secret(SECRET)),)
    assert settings.admin.introspection[0].secret.reveal() == SECRET
    assert SECRET not in repr(settings)


def test_clients_can_come_from_the_environment(tmp_path: Path) -> None:
    written = '[{"client_id": "api", "secret_env": "A"}, {"client_id": "b", "secret_env": "B"}]'
    settings = load(tmp_path, "{}", {"SCOPEGATE_ADMIN__INTROSPECTION": written, "A": SECRET, "B": SECRET})
    assert [client.client_id for client in settings.admin.introspection] == ["api", "b"]


def test_commands_that_serve_nothing_need_no_secret(tmp_path: Path) -> None:
    assert load(tmp_path, "{introspection: [{client_id: api, secret_env: A}]}", {}, read_credentials=False).admin.introspection


@pytest.mark.parametrize(
    ("environ", "why"),
    [({}, "A gives no secret: the variable is not set"), ({"A": SECRET[:-1]}, "A gives no secret: it is too short: at least 32 characters are needed")],
)
def test_a_secret_that_is_not_there_or_weak_stops_the_start_with_its_place(tmp_path: Path, environ: Mapping[str, str], why: str) -> None:
    """Seen to fail without the check of its length."""
    assert fault(tmp_path, "{introspection: [{client_id: api, secret_env: A}]}", environ) == f"gateway.yaml:2:54: secret_env: {why}"


@pytest.mark.parametrize(
    ("client", "line"),
    [
        ("{client_id: api}", "missing"),
        ("{secret_env: A}", "missing"),
        ("{client_id: '', secret_env: A}", "it is empty"),
        ("{client_id: api, secret_env: A, secret: x}", "unknown key"),
    ],
)
def test_a_client_that_is_not_whole_is_a_fault(tmp_path: Path, client: str, line: str) -> None:
    assert line in fault(tmp_path, f"{{introspection: [{client}]}}", {"A": SECRET})


def test_two_clients_of_one_name_are_a_fault(tmp_path: Path) -> None:
    """Seen to fail without the check: either secret would do."""
    said = fault(tmp_path, "{introspection: [{client_id: api, secret_env: A}, {client_id: api, secret_env: B}]}", {"A": SECRET, "B": SECRET})
    assert "client_id: 'api' is there already: name each client once" in said.replace('"', "'")
