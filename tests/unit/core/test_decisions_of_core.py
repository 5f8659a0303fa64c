"""tests/vectors/decisions.yaml on the pure core. The same table runs through sockets in tests/flow."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any, cast

import pytest

from gateway.core.decision import Allow, Denial
from gateway.core.scope import parse_grants
from gateway.core.token_record import ACTIVE, REVOKED, SUSPENDED, LiveRecord
from gateway.core.token_text import digest
from gateway.flow.engine import Credential, Engine
from gateway.policy_file.load import parse_policy
from gateway.ports import LimitStore, TokenStore
from tests.harness.decisions import Secrets, field_lines, fill, signed
from tests.harness.gateway import POLICY
from tests.harness.vectors import cases

NOW = 1_800_000_000_000
SECRETS = Secrets(*(signed(f"sgt_abcdefghij01_{letter * 32}") for letter in "xyz"))


class Memory:
    """What an engine may ask without waiting: is this the digest of a secret that is remembered? A worker answers yes or no by what it has cached."""

    def __init__(self, *, remembers: bool) -> None:
        self.remembers = remembers

    def is_secret_of(self, token_id: str, proof: bytes) -> bool:
        return self.remembers and token_id == SECRETS.secret.split("_")[1] and proof == digest(SECRETS.secret)


ENGINES = {
    remembers: Engine(parse_policy(POLICY, "policy.yaml"), cast("TokenStore", Memory(remembers=remembers)), cast("LimitStore", None), "sgt")
    for remembers in (True, False)
}


def record(case: dict[str, Any]) -> LiveRecord:
    life = case.get("life", [])
    renewed = [step for step in life if step in {"regenerate", "overlap"}]
    state = REVOKED if "revoke" in life else SUSPENDED if "suspend" in life and "resume" not in life else ACTIVE
    allowed = [ip_network(text.replace("::ffff:", "")) for text in case.get("allowed_ips", [])]
    return LiveRecord(
        id=SECRETS.secret.split("_")[1],
        owner="u1",
        grants=parse_grants(case.get("grants", ["worklogs"]) or ["worklogs", "teams", "accounts"]),
        state=state,
        created_at=NOW - 86_400_000,
        expires_at=NOW if "expire" in life else NOW + 1,
        version=1,
        digest=digest(SECRETS.secret),
        previous=digest(SECRETS.previous) if renewed else b"",
        overlap_until=NOW + 1 if "overlap" in renewed else NOW,
        allowed_ips=tuple(allowed),
    )


@pytest.mark.parametrize("remembers", [True, False], ids=["remembered", "new"])
@pytest.mark.parametrize("case", cases("decisions", "cases"))
def test_verdict(case: dict[str, Any], remembers: bool) -> None:
    engine = ENGINES[remembers]
    found = record(case)
    method, websocket = case.get("method", "GET"), case.get("websocket", False)
    lines = [line.partition(":") for line in field_lines(case, SECRETS)]
    authorizations = [value.strip(" ").encode("latin-1") for name, _, value in lines if name.lower() == "authorization"]
    verdict: Allow | Denial
    opening = engine.open(method, fill(case.get("target", "/4/worklogs/1"), SECRETS), authorizations, Credential())
    if isinstance(opening, Denial):
        verdict = opening
    else:
        known = found if opening.token_id in {"", found.id} else None
        verdict = engine.judge(opening, known, NOW, method, ip_address("127.0.0.1"), websocket=websocket)
    if case["expect"] == "allow":
        assert isinstance(verdict, Allow), verdict.detail
        return
    assert isinstance(verdict, Denial)
    assert verdict.reason.code == case["expect"]
    assert list(verdict.allow) == case.get("allow", [])
    assert verdict.required_scope == case.get("required")
    assert list(verdict.granted) == case.get("granted", [])
    assert list(verdict.missing) == case.get("missing", [])


def test_nothing_of_a_secret_is_in_a_verdict() -> None:
    for case in (each.values[0] for each in cases("decisions", "cases")):
        lines = [line.partition(":") for line in field_lines(cast("dict[str, Any]", case), SECRETS)]
        values = [value.strip(" ").encode("latin-1") for name, _, value in lines if name.lower() == "authorization"]
        opening = ENGINES[True].open("GET", "/4/worklogs/1", values, Credential())
        for secret in SECRETS:
            assert secret not in repr(opening)
            assert secret.split("_")[2] not in repr(opening)
