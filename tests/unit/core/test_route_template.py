from __future__ import annotations

import pytest

from gateway.core.path import CanonicalPath, canonicalise
from gateway.core.route_template import canonical_template, segments


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("/", "/"),
        ("/4/worklogs", "/4/worklogs"),
        ("/4/worklogs/", "/4/worklogs"),
        ("/**", "/**"),
        ("/4/{id}/**", "/4/{id}/**"),
        ("/%77orklogs/%7e", "/worklogs/~"),
        ("/a%3ab", "/a%3Ab"),
        ("/café", "/caf%C3%A9"),
        ("/caf%c3%a9/{id}", "/caf%C3%A9/{id}"),
        ("/a%2fb", "/a%2Fb"),
        ("/.well-known/x", "/.well-known/x"),
    ],
)
def test_template_takes_the_form_of_a_path(written: str, canonical: str) -> None:
    assert canonical_template(written) == canonical


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "begins with a slash"),
        ("worklogs", "begins with a slash"),
        ("https://api.example.com/4", "begins with a slash"),
        ("/a?x=1", "no query"),
        ("/a/../b", "dot segment"),
        ("/a/%2e%2E/b", "dot segment"),
        ("/a//b", "empty segment"),
        ("//a", "empty segment"),
        ("/a;b", "semicolon"),
        ("/a\\b", "backslash"),
        ("/a%5Cb", "backslash"),
        ("/a#b", "#"),
        ("/a b", "blank"),
        ("/a%zz", "two hexadecimal digits"),
        ("/a%252e", "percent-encoded twice"),
        ("/a%00", "control"),
        ("/%c0%ae", "not UTF-8"),
        ("/**/a", "comes last"),
        ("/a*", r"a \* inside a template"),
        ("/*", r"a \* inside a template"),
        ("/***", r"a \* inside a template"),
        ("/a{x}", "whole segment"),
        ("/{x}y", "whole segment"),
        ("/{}", "whole segment"),
        ("/{a b}", "blank"),
        ("/{x", "whole segment"),
        ("/x}", "whole segment"),
        ("/{..}", "whole segment"),
        ("/{id:[0-9]+}", "whole segment"),
        ("/x" * 65, "at most 64"),
    ],
)
def test_template_that_no_request_could_mean_is_refused(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        canonical_template(written)


def test_canonical_template_is_a_path_that_stays_as_it_is() -> None:
    template = canonical_template("/é/%7E/x%3a/{id}")
    path = canonicalise(template)
    assert isinstance(path, CanonicalPath)
    assert path.path == template


def test_final_slash_is_no_segment() -> None:
    assert segments("/a/b/") == segments("/a/b") == ["a", "b"]
    assert segments("/") == []
