from __future__ import annotations

import itertools

from hypothesis import given, settings

from gateway.core.policy import Policy
from gateway.core.route_shape import Forms, unnamed
from gateway.core.route_template import segments
from gateway.policy_file.load import parse_policy
from tests.harness.random_policies import policies


def policy(*templates: str, ignore_case: bool = False) -> Policy:
    routes = "".join(f'  - {{path: "{template}", public: true}}\n' for template in templates)
    return parse_policy(f"version: 1\nscopes: {{}}\nroutes:\n{routes}paths: {{ignore_case: {str(ignore_case).lower()}}}\n", "p.yaml")


def forms(old: str, new: str, *cases: bool) -> list[tuple[str, ...]]:
    """Each form in which the two templates meet: the template and its paths."""
    old_case, new_case = cases or (False, False)
    both = Forms(policy(old, ignore_case=old_case), policy(new, ignore_case=new_case))
    return [(form.template, *form.paths) for form in both.between(segments(old), segments(new))]


def test_templates_meet_in_the_literals_of_either() -> None:
    assert forms("/a/{x}/c", "/a/b/{y}") == [("/a/b/c", "/a/b/c")]
    assert forms("/a/{x}", "/a/{id}") == [("/a/{id}", "/a/any")]


def test_templates_that_no_path_matches_both_do_not_meet() -> None:
    assert forms("/a/b", "/a/c") == forms("/a", "/a/{x}") == forms("/a/b/**", "/a") == []


def test_two_rests_meet_in_every_length_that_another_template_may_have() -> None:
    assert forms("/a/**", "/{x}/b/**") == [("/a/b/**", "/a/b/any/any"), ("/a/b/{_}", "/a/b/any"), ("/a/b", "/a/b")]


def test_a_rest_meets_a_template_in_the_length_of_that_one() -> None:
    assert forms("/a/**", "/{x}/b/{y}") == [("/a/b/{y}", "/a/b/any")]


def test_a_fresh_segment_equals_no_literal_of_either_policy() -> None:
    assert forms("/any/{x}", "/ANY1/any2/**") == []
    assert forms("/{x}/any", "/{y}/{z}") == [("/{x}/any", "/any1/any")]


def test_an_encoded_slash_stands_in_a_fresh_segment_only() -> None:
    both = Forms(policy("/a/{x}"), policy("/a/{x}", "/a/b"))
    assert [form.encoded for form in both.between(["a", "{x}"], ["a", "{x}"])] == [("/a/any%2Fany",)]
    assert [form.encoded for form in both.between(["a", "{x}"], ["a", "b"])] == [()]


def test_where_case_counts_in_one_policy_a_path_in_other_letters_is_looked_at_too() -> None:
    assert forms("/ab/{x}", "/{y}/z", True, False) == [("/ab/z", "/ab/z")]
    assert forms("/ab/{x}", "/ab/z", True, False) == [("/ab/z", "/ab/z")]
    old, new = policy("/ab%20c", ignore_case=True), policy("/{x}", "/ab%20c")
    assert [form.paths for form in Forms(old, new).between(["ab%20c"], ["{x}"])] == [("/ab%20c", "/AB%20C")]
    assert forms("/Ab", "/aB", True, True) == [("/Ab", "/Ab")]
    assert forms("/Ab", "/aB", True, False) == [("/aB", "/aB")]


def test_literals_that_case_alone_tells_apart_are_both_met_by_one_that_ignores_it() -> None:
    both = Forms(policy("/ab", ignore_case=True), policy("/ab", "/AB", "/Ab/c"))
    (one,) = both.old.values()
    assert sorted(shape.parts for shape in both.met_by(one)) == [("AB",), ("ab",)]


@settings(max_examples=150, deadline=None)
@given(policies, policies)
def test_every_pair_that_meets_is_found_unless_both_are_in_both_policies(old: Policy, new: Policy) -> None:
    both = Forms(old, new)
    alike = old.ignore_case == new.ignore_case
    stay = {key for key in both.old.keys() & both.new.keys() if alike and both.old[key].routes.keys() == both.new[key].routes.keys()}
    for key, one in both.old.items():
        found = {unnamed(shape.parts, ignore_case=False) for shape in both.met_by(one)}
        others = (shape for name, shape in both.new.items() if name == key or not {name, key} <= stay)
        pairs = itertools.product([one.parts], (shape.parts for shape in others))
        meeting = {unnamed(other, ignore_case=False) for parts, other in pairs if any(True for _ in both.between(parts, other))}
        assert meeting <= found
