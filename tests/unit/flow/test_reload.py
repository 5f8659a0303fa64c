"""Which file is taken as the policy. That a faulty one changes nothing is in tests/fault/test_drain_and_reload.py, on a running gateway."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.flow.reload import load_fitting_policy
from gateway.policy_file.document import DocumentFault
from gateway.settings.load import load_settings


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("pipe", "this is a pipe: name a file"),
        ("nothing", "there is no such file"),
        # Asked what it is, the system answers with an error, as where a folder may not be entered. Seen to fail with that error let through.
        ("x" * 300, "this file can't be read: File name too long"),
    ],
)
def test_what_can_be_no_policy_is_told_in_a_line(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "gateway.yaml").write_text('policy: policy.yaml\nupstreams: {api: {url: "http://127.0.0.1:9"}}\n')
    os.mkfifo(tmp_path / "pipe")
    settings = replace(load_settings(tmp_path / "gateway.yaml", {}), policy=tmp_path / name)
    with pytest.raises(DocumentFault) as caught:
        load_fitting_policy(settings)
    (fault,) = caught.value.faults
    assert told in str(fault)
