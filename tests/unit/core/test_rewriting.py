from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.forwarding import CONTENT_TYPE, KEEP, AnswerNames
from gateway.core.rewriting import BodyRewriter, is_rewritable

UP, PUBLIC = b"http://up:8090", b"https://api.example.com"
ESCAPED = UP.replace(b"/", b"\\/")


def whole(body: bytes) -> bytes:
    rewriter = BodyRewriter(UP, PUBLIC)
    return rewriter.feed(body) + rewriter.end()


@pytest.mark.parametrize(
    ("body", "rewritten"),
    [
        (b'{"self":"http://up:8090/4/x"}', b'{"self":"https://api.example.com/4/x"}'),
        (b'"http://up:8090"', b'"https://api.example.com"'),
        (b'["http://up:8090?a","http://up:8090#b"]', b'["https://api.example.com?a","https://api.example.com#b"]'),
        (b'"http:\\/\\/up:8090\\/x"', b'"https:\\/\\/api.example.com\\/x"'),
        (b'"http:\\/\\/up:8090"', b'"https:\\/\\/api.example.com"'),
        (b'"http:\\/\\/up:8090?x"', b'"https:\\/\\/api.example.com?x"'),
        (b'"http://up:80901"', None),
        (b'"http://up:8090.evil/"', None),
        (b'"http://up:8090@evil/"', None),
        (b'"see http://up:8090/x"', None),
        (b'" http://up:8090/x"', None),
        (b'"HTTP://UP:8090/x"', None),
        (b'"a \\"http://up:8090/x\\" b"', None),
        (b"http://up:8090/x", None),
        (b"", None),
        (b'"', None),
        (b'"http://up:809', None),
        (b'{"http://up:8090/k":1}', b'{"https://api.example.com/k":1}'),
        (b'""http://up:8090/"', b'""https://api.example.com/"'),
    ],
)
def test_a_string_that_begins_with_the_upstreams_address_begins_with_ours(body: bytes, rewritten: bytes | None) -> None:
    assert whole(body) == (body if rewritten is None else rewritten)


PIECES = st.sampled_from(
    [b'"', b"\\", b"/", UP, ESCAPED, b'"' + UP, b'"' + ESCAPED, b"http:", b"//up", b":8090", b"?", b"#", b"1", b"x", b"\n", b'\\"', b"\xff", b"up:8090/"]
)


@settings(max_examples=300)
@given(st.lists(PIECES, max_size=14), st.data())
def test_rewriting_in_any_cut_is_rewriting_whole(parts: list[bytes], data: st.DataObject) -> None:
    body = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    rewriter = BodyRewriter(UP, PUBLIC)
    out, sent = b"", 0
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        out += rewriter.feed(body[start:end])
        sent = end
        # What may have been held back is at most the address's length, with its quote and the first byte of what ends it.
        assert len(whole(body[:sent])) - len(out) <= len(ESCAPED) + 2 + len(PUBLIC)
    assert out + rewriter.end() == whole(body)


def test_every_single_cut_of_a_body_gives_the_same() -> None:
    body = b'{"self":"' + UP + b'/x","next":"' + ESCAPED + b'\\/y","q":"\\"' + UP + b'/n","e":"' + UP + b'","z":"' + UP + b'1"}'
    for cut in range(len(body) + 1):
        rewriter = BodyRewriter(UP, PUBLIC)
        assert rewriter.feed(body[:cut]) + rewriter.feed(body[cut:]) + rewriter.end() == whole(body)
    rewriter = BodyRewriter(UP, PUBLIC)
    assert b"".join(rewriter.feed(body[at : at + 1]) for at in range(len(body))) + rewriter.end() == whole(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["", "/x", "?q", "#f", "1", '/é"\\']).map(lambda rest: UP.decode() + rest),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(JSON, st.booleans())
def test_json_stays_json_and_only_the_strings_that_begin_so_change(value: object, ascii_only: bool) -> None:
    def expected(part: object) -> object:
        if isinstance(part, str):
            return re.sub(r"\A" + re.escape(UP.decode()) + r"(?=[/?#]|\Z)", PUBLIC.decode(), part)
        if isinstance(part, list):
            return [expected(each) for each in part]
        if isinstance(part, dict):
            return {expected(key): expected(each) for key, each in part.items()}
        return part

    body = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert json.loads(whole(body).decode("utf-8", "surrogatepass")) == expected(value)


FIELDS = [(b"Content-Type", b"application/json")]


@pytest.mark.parametrize(
    ("status", "fields", "rewritable"),
    [
        (200, FIELDS, True),
        (404, FIELDS, True),
        (200, [(b"content-type", b"Application/JSON; charset=utf-8")], True),
        (200, [(b"content-type", b"application/problem+json")], True),
        (200, [(b"content-type", b"application/jsonl")], False),
        (200, [(b"content-type", b"text/html")], False),
        (200, [(b"content-type", b"text/html; x=application/json")], False),
        (200, [], False),
        (206, FIELDS, False),
        (200, [*FIELDS, (b"Content-Encoding", b"gzip")], False),
        (200, [*FIELDS, (b"Cache-Control", b"private, No-Transform")], False),
        (200, [*FIELDS, (b"Cache-Control", b"max-age=1")], True),
        (304, [], True),
        (304, FIELDS, True),
        (304, [(b"content-type", b"text/html")], False),
    ],
)
def test_which_bodies_may_be_changed(status: int, fields: list[tuple[bytes, bytes]], rewritable: bool) -> None:
    names = AnswerNames()
    special = [(names[name], name, value) for name, value in fields if names[name] not in {KEEP, CONTENT_TYPE}]
    media = b"".join(value.partition(b";")[0].lower() for name, value in fields if names[name] == CONTENT_TYPE)
    assert is_rewritable(status, media, special) == rewritable
