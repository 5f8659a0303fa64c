from __future__ import annotations

import ssl

import pytest

from gateway.core.reason import REASONS
from gateway.upstream.failures import INVALID, connect_failure, lost


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TimeoutError(), "upstream_timeout"),
        (ConnectionRefusedError(111, "secret.host:1"), "upstream_unreachable"),
        (OSError("secret.host"), "upstream_unreachable"),
        (ssl.SSLError(1, "secret.host"), "upstream_unreachable"),
        (ssl.SSLCertVerificationError(1, "secret.host"), "upstream_unreachable"),
    ],
)
def test_a_failed_connect_has_a_code_of_ours_and_quotes_nothing(error: Exception, code: str) -> None:
    failure = connect_failure(error)
    assert failure.code == code
    assert "secret" not in failure.detail
    assert not failure.unanswered


def test_only_a_connection_lost_before_any_byte_may_be_tried_again() -> None:
    assert lost(answering=False).unanswered
    assert not lost(answering=True).unanswered
    assert not INVALID.unanswered


def test_every_failure_is_a_reason() -> None:
    for failure in (INVALID, lost(answering=True), lost(answering=False), connect_failure(OSError())):
        assert failure.code in REASONS
