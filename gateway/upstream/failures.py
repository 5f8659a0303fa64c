"""Foreign errors -> UpstreamFailure, once."""

from __future__ import annotations

import ssl


class UpstreamFailure(Exception):
    """The upstream gave no usable answer. ``code`` is a reason's code; ``detail`` names no address and no byte of the upstream's.

    ``unanswered``: not one byte of an answer had come, so a safe request may be sent again on another connection.
    """

    def __init__(self, code: str, detail: str, *, unanswered: bool = False) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.unanswered = unanswered


def connect_failure(error: BaseException) -> UpstreamFailure:
    """What a failed connect means."""
    if isinstance(error, TimeoutError):
        return UpstreamFailure("upstream_timeout", "The upstream did not accept a connection in time.")
    if isinstance(error, ssl.SSLCertVerificationError):
        return UpstreamFailure("upstream_unreachable", "The upstream's certificate is not valid for its name.")
    if isinstance(error, ssl.SSLError):
        return UpstreamFailure("upstream_unreachable", "The upstream does not speak TLS as it should.")
    return UpstreamFailure("upstream_unreachable", "Nothing answers at the upstream's address.")


def lost(*, answering: bool) -> UpstreamFailure:
    """What a connection that ended before the answer did means."""
    if answering:
        return UpstreamFailure("upstream_invalid", "The upstream broke its answer off.")
    return UpstreamFailure("upstream_invalid", "The upstream closed the connection without an answer.", unanswered=True)


INVALID = UpstreamFailure("upstream_invalid", "The upstream's answer is not valid HTTP.")
