from __future__ import annotations

from gateway.core.reason import REASONS
from tests.harness.problems import CODES


def test_every_code_of_the_contract_has_its_status_and_challenge_and_there_is_no_other() -> None:
    found = {code: (reason.status, {None: "none", "": "bare"}.get(reason.challenge, reason.challenge)) for code, reason in REASONS.items()}
    assert found == {code: (facts["status"], facts["challenge"]) for code, facts in CODES.items()}


def test_a_title_is_one_plain_sentence_of_its_own() -> None:
    titles = [reason.title for reason in REASONS.values()]
    assert len(set(titles)) == len(titles)
    assert all(title.isascii() and title == title.strip() and not title.endswith(".") for title in titles)
