"""What must hold whatever bytes a client sends: the upstream is asked only for what the token's scope covers, however it may read the
path; answers are strict HTTP, in order, no more than were asked for; no secret comes out."""

from __future__ import annotations

import re
from urllib.parse import unquote

from tests.harness.upstream import ScriptedUpstream
from tests.harness.wire import Answer, Closed, Wire

SMUGGLED = "smuggled"


def readings(target: str) -> set[str]:
    """The paths that some server may see in a target: decoded up to three times, with backslashes as slashes, parameters cut,
    blanks thrown away, dots resolved."""
    path = target.split("?", 1)[0]
    found = set()
    for _ in range(4):
        for text in (path, path.replace("\\", "/"), path.split("#")[0], path.split("\0")[0], re.sub("[;?#][^/]*", "", path), re.sub("[\0- ]", "", path)):
            for merged in (text, re.sub("/+", "/", text)):
                found.add(resolved(merged))
        path = unquote(path, "latin-1")
    return found


def resolved(path: str) -> str:
    out: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            out = out[:-1]
        elif segment != ".":
            out.append(segment)
    return "/" + "/".join(out)


def read_all(wire: Wire, methods: list[str] | None = None) -> list[Answer]:
    """Every answer until the gateway closes. What is no answer fails the test."""
    answers: list[Answer] = []
    while True:
        method = methods[len(answers)] if methods and len(answers) < len(methods) else "GET"
        try:
            answers.append(wire.answer(method))
        except Closed as closed:
            if closed.got:
                raise
            return answers


def check_upstream(upstream: ScriptedUpstream, secrets: list[str]) -> None:
    """What went up is strict, in scope, and holds no secret."""
    assert not upstream.faults, upstream.faults
    for seen in upstream.seen:
        for path in readings(seen.target):
            assert path == "/4/worklogs" or path.startswith("/4/worklogs/"), seen.target
        assert SMUGGLED not in seen.target
        assert seen.one("authorization") is None
        assert seen.one("x-scopegate-subject") == "operator"
        # A body is the client's own: what it declares as such goes up, be it a request with its token.
        head = seen.raw.partition(b"\r\n\r\n")[0]
        for secret in secrets:
            assert secret.encode() not in head


def check_answers(answers: list[Answer], secrets: list[str], most: int) -> None:
    """Answers are no more than requests, whole, and quote no secret."""
    assert len(answers) <= most
    for answer in answers:
        assert answer.complete
        for secret in secrets:
            assert secret not in repr(answer)
    for answer in answers[:-1]:
        assert answer.one("connection") != "close"
