from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.path import CanonicalPath, canonicalise
from gateway.core.route_template import canonical_template
from gateway.openapi.path_form import path_form


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/", "/"),
        ("/a/{id}", "/a/{id}"),
        ("/a/{user.id}/{1st}", "/a/{user_id}/{_1st}"),
        ("/a/", "/a"),
        ("/a b/é", "/a%20b/%C3%A9"),
        ("/a%7eb%2fc", "/a~b%2Fc"),
        ("/100%", "/100%25"),
        ("/v1:batch", "/v1:batch"),
        ("/People('x')", "/People('x')"),
        ("/a{b", "/a%7Bb"),
    ],
)
def test_what_a_policy_can_say_is_said_without_a_note(path: str, template: str) -> None:
    form = path_form(path)
    assert (form.template, form.notes, form.wider, form.loose) == (template, (), False, False)


@pytest.mark.parametrize(
    ("path", "template", "told", "loose"),
    [
        ("/c/{base}...{head}", "/c/{base_head}", "{base}...{head} is only part of a segment", False),
        ("/c/{a}.{b}", "/c/{a_b}", "{a}.{b} is only part of a segment", False),
        ("/c/{id}:cancel", "/c/{id}", "{id}:cancel is only part of a segment", False),
        ("/c/{id}.json", "/c/{id}", "{id}.json is only part of a segment", False),
        ("/c/report-{id}", "/c/{id}", "report-{id} is only part of a segment", True),
        ("/pets.{format}", "/{format}", "pets.{format} is only part of a segment", True),
        ("/a/{id:[0-9]{3}}/b", "/a/{id}/b", "{id:[0-9]{3}}: what it says of its form is not compared", False),
        ("/a/x*", "/a/{any}", "x{any*} is only part of a segment", True),
        ("/a?kind=x", "/a", "?kind=x is not part of the path", False),
        ("/a#one", "/a", "#one is not part of the path", False),
        ("/a{?x,y}", "/a", "{?x,y} is not part of the path", False),
    ],
)
def test_a_wider_form_has_a_note_that_says_so(path: str, template: str, told: str, loose: bool) -> None:
    form = path_form(path)
    assert (form.template, form.wider, form.loose) == (template, True, loose)
    assert any(note.startswith(told) for note in form.notes)


@pytest.mark.parametrize("path", ["/f/{path*}", "/f/{+path}", "/f/{path+}", "/f/{path:.*}", "/f/{path:path}", "/f/{path=**}", "/f/**"])
def test_a_last_parameter_that_says_that_it_holds_slashes_is_the_rest(path: str) -> None:
    form = path_form(path)
    assert form.template == "/f/**"
    assert form.notes[0].endswith("holds slashes: ** takes all the rest, none and any number of segments")
    assert re.fullmatch(form.pattern, "/f/a/b/c")


def test_a_parameter_with_slashes_before_the_end_is_one_segment_and_told() -> None:
    form = path_form("/f/{path*}/acl")
    assert (form.template, form.notes) == ("/f/{path}/acl", ("{path} takes one segment: if it holds slashes, write out the routes that it stands for",))


@pytest.mark.parametrize(("path", "spanning"), [("/f/{path}", set()), ("/f/{ref}", {"ref"})])
def test_a_last_parameter_that_may_hold_slashes_stays_one_segment_and_is_told(path: str, spanning: set[str]) -> None:
    form = path_form(path, frozenset(spanning))
    assert form.template == path
    assert form.notes == (f"{path[3:]} takes one segment: if it holds slashes, write ** in its place",)


@pytest.mark.parametrize("path", ["/a//b", "/a/../b", "/a;x", "/a\\b", "/a/%00", "/a%252e", "/" + "a/" * 65])
def test_a_path_that_no_request_can_have_has_no_form_but_a_reason(path: str) -> None:
    form = path_form(path)
    assert form.template == ""
    assert len(form.notes) == 1


PIECES = st.sampled_from(
    ["a", "{x}", "{y}", "/", ".", ":", "-", "*", "**", "{p*}", "{+q}", "{r:.*}", "{", "}", "%2F", "%", "?", "#", "é", ";", "\\", " ", "..", "{?z}", "\n"]
)


@given(st.lists(PIECES, max_size=12).map(lambda pieces: "/" + "".join(pieces)))
def test_every_form_is_canonical_and_its_example_is_taken_by_the_documents_own_pattern(path: str) -> None:
    """Seen to fail when literals are not brought to their canonical form."""
    form = path_form(path)
    if form.template:
        assert canonical_template(form.template) == form.template
        example = canonicalise(form.example("fresh"))
        assert isinstance(example, CanonicalPath)
        assert re.fullmatch(form.pattern, example.path)
    else:
        assert form.notes
