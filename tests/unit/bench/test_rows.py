"""The rows' configurations and the upstream's answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.ground import configured, program, worklogs
from bench.plan import LARGE, SMALL
from bench.processes import CannotMeasure
from gateway.policy_file.load import load_policy
from gateway.settings.fit import check_policy_fits
from gateway.settings.load import load_settings


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_the_answers_are_json_of_exactly_the_size_that_is_said(size: int) -> None:
    answer = worklogs(size)
    assert len(answer) == size
    assert json.loads(answer)["results"][0]["tempoWorklogId"] == 126


def test_a_place_that_nobody_fills_in_is_told(tmp_path: Path) -> None:
    with pytest.raises(CannotMeasure, match=r"nginx\.conf: nothing is known of @"):
        configured("nginx.conf", tmp_path, PORT=1)


def test_the_gateway_takes_the_configuration_of_its_row_and_a_policy_that_fits(tmp_path: Path) -> None:
    policy = Path(__file__).parents[3] / "policies/tempo.yaml"
    settings = load_settings(configured("gateway.yaml", tmp_path, PORT=1, ADMIN=2, UPSTREAM=3, POLICY=policy), {})
    assert settings.access_log == str(tmp_path / "access.jsonl")
    assert check_policy_fits(settings, load_policy(policy)) == []


def test_a_program_that_is_not_installed_is_told_with_what_to_do() -> None:
    with pytest.raises(CannotMeasure, match="no-such-proxy is not installed: make bench installs it"):
        program("no-such-proxy")
