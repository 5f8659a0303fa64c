from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.flow import token_fields
from gateway.flow.token_fields import Faults
from gateway.policy_file.load import parse_policy

POLICY = parse_policy(
    """
version: 1
scopes: {worklogs: {}, teams: {}, plans: {was: [planning]}}
routes: [{path: /worklogs, scope: worklogs}, {path: /teams, scope: teams}, {path: /plans, scope: plans}]
""",
    "policy.yaml",
)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("CI", "CI"),
        ("  two words\n", "two words"),
        ("时间表 – Zeiten ٣ 🕰", "时间表 – Zeiten ٣ 🕰"),
        ("x" * 100, "x" * 100),
        (" " + "x" * 100 + " ", "x" * 100),
        ("\u202eabc", "\u202eabc"),
    ],
    ids=["short", "trimmed", "any script", "longest", "longest after trimming", "direction mark"],
)
def test_name_of_any_script_is_kept_trimmed(given: str, kept: str) -> None:
    assert token_fields.name(given) == kept


@pytest.mark.parametrize("given", ["", "  \t\n", "x" * 101, "a\nb", "a\0b", "a\x7fb", "a\x85b", "a\ud800b"], ids=ascii)
def test_name_that_is_empty_long_or_holds_controls_is_refused(given: str) -> None:
    with pytest.raises(ValueError):
        token_fields.name(given)


@pytest.mark.parametrize("given", ["u1", "o" * 255, "auth0|5f7c", "a b", "Zoë", "名"])
def test_owner_is_kept_as_it_is(given: str) -> None:
    assert token_fields.owner(given) == given


@pytest.mark.parametrize("given", ["", " u1", "u1 ", "o" * 256, "a\r\nX-Admin: 1", "a\0", "\udcff"], ids=ascii)
def test_owner_that_a_header_field_cannot_carry_is_refused(given: str) -> None:
    with pytest.raises(ValueError):
        token_fields.owner(given)


def test_description_may_have_lines_but_no_other_controls() -> None:
    assert token_fields.description("for\n\tCI\r\n") == "for\n\tCI\r\n"
    with pytest.raises(ValueError, match="U\\+001B"):
        token_fields.description("\x1b[2J")
    with pytest.raises(ValueError, match="1000"):
        token_fields.description("x" * 1001)


@pytest.mark.parametrize("value", [1, 30, 5000])
def test_expiry_in_range_is_kept(value: int) -> None:
    assert token_fields.days(value, 5000) == value


@pytest.mark.parametrize("value", [0, -3, 5001, 10**30, True, 1.0, "7", None])
def test_expiry_out_of_range_or_not_whole_is_refused_and_never_clamped(value: Any) -> None:
    with pytest.raises(ValueError, match="from 1 to 5000"):
        token_fields.days(value, 5000)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["worklogs:view"], ("worklogs:view",)),
        (["worklogs"], ("worklogs:manage",)),
        (["teams:view", "worklogs"], ("worklogs:manage", "teams:view")),
        (["worklogs:view", "worklogs:manage"], ("worklogs:manage",)),
        (["worklogs:manage", "worklogs:view", "worklogs:view"], ("worklogs:manage",)),
        (["planning:view"], ("plans:view",)),
        (["planning:view", "plans"], ("plans:manage",)),
    ],
)
def test_grants_are_merged_and_told_in_the_policys_order(given: list[str], kept: tuple[str, ...]) -> None:
    assert token_fields.grants(given, False, POLICY) == kept


def test_full_access_is_every_scope_of_the_policy_with_manage() -> None:
    assert token_fields.grants([], True, POLICY) == ("worklogs:manage", "teams:manage", "plans:manage")


@pytest.mark.parametrize(
    ("given", "full", "told"),
    [
        ([], False, "at least one"),
        (["worklogs"], True, "leave the grants out"),
        (["rates", "worklogs", "skills:view"], False, '"rates", "skills"; it has worklogs, teams, plans'),
        (["worklogs:write"], False, '"worklogs:write" is no grant'),
        (["worklogs:"], False, "is no grant"),
        ([""], False, "is no grant"),
        (["Worklogs"], False, "is no grant"),
        (["worklogs view"], False, "is no grant"),
        (["worklogs\x1b[2J"], False, r"'worklogs\x1b[2J' is no grant"),
    ],
)
def test_grants_that_mean_nothing_are_refused_with_the_reason(given: list[str], full: bool, told: str) -> None:
    with pytest.raises(ValueError) as refused:
        token_fields.grants(given, full, POLICY)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([], ()),
        (["192.0.2.7"], ("192.0.2.7/32",)),
        (["10.0.0.0/8", " 10.0.0.0/255.0.0.0 "], ("10.0.0.0/8",)),
        (["2001:DB8::/32", "::1"], ("2001:db8::/32", "::1/128")),
        (["::ffff:10.1.0.0/112"], ("10.1.0.0/16",)),
        (["::ffff:192.0.2.7"], ("192.0.2.7/32",)),
    ],
)
def test_addresses_are_kept_in_their_usual_form(given: list[str], kept: tuple[str, ...]) -> None:
    assert token_fields.networks(given) == kept


@pytest.mark.parametrize("given", ["", "10.0.0.1/8", "10.0.0.0/33", "example.com", "10.1", "fe80::1%eth0", "*", "010.0.0.1", "1", "10.0.0.0/8,::1"])
def test_what_is_no_address_is_refused_with_what_would_be_right(given: str) -> None:
    with pytest.raises(ValueError, match="is no address or CIDR block: "):
        token_fields.networks([given])


def test_too_many_addresses_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 100"):
        token_fields.networks([f"10.0.0.{n}" for n in range(101)])


def test_faults_of_all_fields_are_collected() -> None:
    faults = Faults()
    checks: list[tuple[str, Callable[[str], str], str]] = [
        ("name", token_fields.name, ""),
        ("owner", token_fields.owner, "u1"),
        ("description", token_fields.description, "\0"),
    ]
    for field, check, value in checks:
        faults.of(field, check, value)
    assert list(faults.found) == ["name", "description"]
