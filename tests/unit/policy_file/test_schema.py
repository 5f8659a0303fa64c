from __future__ import annotations

import json
from pathlib import Path

from gateway.policy_file.schema import policy_schema

POLICIES = Path(__file__).parents[3] / "policies"


def test_committed_schema_is_the_one_that_the_command_prints() -> None:
    assert (POLICIES / "policy.schema.json").read_text(encoding="utf-8") == policy_schema()


def test_every_policy_names_the_schema_in_its_head() -> None:
    files = sorted(POLICIES.glob("*.yaml"))
    assert files
    for file in files:
        assert file.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=policy.schema.json\n")


def test_schema_says_what_the_loader_says() -> None:
    schema = json.loads(policy_schema())
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["version", "scopes", "routes"]
    assert schema["properties"]["enforcement"]["enum"] == ["enforce", "report"]
    route = schema["$defs"]["RouteModel"]["properties"]
    assert route["access"]["enum"] == ["view", "manage"]
    assert route["timeout"]["pattern"] == "^[0-9]+(ms|s|m|h)$"
    assert schema["$defs"]["TokensModel"]["properties"]["max_expiry_days"]["maximum"] == 5000
    assert '"null"' not in policy_schema()
