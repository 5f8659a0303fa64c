"""The section ``notices``: who may be told, and what signs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.policy_file.document import DocumentFault
from gateway.settings import NoticeSettings
from gateway.settings.load import load_settings

SECRET = "whsec_dGhpcnR5LXR3byBieXRlcyBvZiBhIHRlc3QncyBzZWNyZXQh"
URL = "https://hooks.example.com/part-that-is-secret"


def loaded(folder: Path, notices: dict[str, Any], secret: str | None = SECRET) -> NoticeSettings:
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump({"upstreams": {"api": {"url": "http://127.0.0.1:8090"}}, "notices": notices}))
    return load_settings(file, {} if secret is None else {"SCOPEGATE_NOTICES_KEY": secret}).notices


def test_a_receiver_and_its_secret_are_read_and_neither_is_shown(tmp_path: Path) -> None:
    found = loaded(tmp_path, {"url": URL, "secret_env": "SCOPEGATE_NOTICES_KEY", "days": [30, 7]})
    assert (found.url, found.secret.reveal(), found.allow_private, found.days) == (URL, SECRET, False, (30, 7))
    assert "secret" not in repr(found).replace("secret=Secret(…)", "")


@pytest.mark.parametrize(
    ("notices", "secret", "said"),
    [
        ({"url": URL}, SECRET, "url and secret_env go together"),
        ({"secret_env": "SCOPEGATE_NOTICES_KEY"}, SECRET, "url and secret_env go together"),
        ({"url": URL, "secret_env": "SCOPEGATE_NOTICES_KEY"}, None, "the variable is not set"),
        ({"url": URL, "secret_env": "SCOPEGATE_NOTICES_KEY"}, "part-that-is-secret", "it is no whsec_"),
        ({"url": URL, "secret_env": "SCOPEGATE_NOTICES_KEY"}, "whsec_c2hvcnQ=", "24 to 64 bytes"),
        ({"url": "http://hooks.example.com/part-that-is-secret", "secret_env": "K", "allow_private": "true"}, None, "begins with https://"),
        ({"url": "http://127.0.0.1/part-that-is-secret", "secret_env": "K"}, None, "needs allow_private"),
        ({"url": "https://u:part-that-is-secret@hooks.example.com/", "secret_env": "K"}, None, "no user, password"),
        ({"url": "ftp://hooks.example.com/part-that-is-secret", "secret_env": "K"}, None, "begins with https://"),
        ({"days": [400]}, None, "out of range"),
    ],
)
def test_what_could_not_be_sent_safely_is_refused_and_no_secret_is_quoted(notices: dict[str, Any], secret: str | None, said: str, tmp_path: Path) -> None:
    with pytest.raises(DocumentFault) as refused:
        loaded(tmp_path, notices, secret)
    told = "\n".join(str(fault) for fault in refused.value.faults)
    assert said in told
    assert "part-that-is-secret" not in told
