"""The fields of a token as people write them: each check returns the value to keep, or raises ValueError with what is wrong."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Sequence
from ipaddress import IPv6Network, ip_network
from typing import Any, Final, ParamSpec, TypeVar

from gateway.core.policy import Policy
from gateway.core.scope import ACCESS_NAMES, MANAGE, GrantSet, parse_grant
from gateway.ports import CURSOR

LONGEST_NAME: Final = 100
LONGEST_OWNER: Final = 255
LONGEST_DESCRIPTION: Final = 1000
MOST_NETWORKS: Final = 100
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_SHOWN: Final = 40

P = ParamSpec("P")
T = TypeVar("T")


class Faults:
    """Collects what is wrong with each field, so that all of it is told at once."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def of(self, field: str, check: Callable[P, T], *values: P.args, **options: P.kwargs) -> T:
        """The checked value; where it is wrong the fault is kept and an empty value of no further use is returned."""
        try:
            return check(*values, **options)
        except ValueError as error:
            self.found[field] = str(error)
            unused: Any = 0
            return unused  # type: ignore[no-any-return]


def name(text: str) -> str:
    """1 to 100 characters after trimming, of any script, no control characters."""
    trimmed = text.strip()
    if not 1 <= len(trimmed) <= LONGEST_NAME:
        raise ValueError(f"write 1 to {LONGEST_NAME} characters")
    _refuse_controls(trimmed)
    return trimmed


def owner(text: str) -> str:
    """1 to 255 characters; upstreams are told it in a header field, where all but printable ASCII is percent-encoded."""
    if not 1 <= len(text) <= LONGEST_OWNER:
        raise ValueError(f"write 1 to {LONGEST_OWNER} characters")
    if text != text.strip():
        raise ValueError("take the blanks off its ends: a header field cannot carry them")
    _refuse_controls(text)
    return text


def description(text: str) -> str:
    """Up to 1,000 characters; line breaks and tabs are fine."""
    if len(text) > LONGEST_DESCRIPTION:
        raise ValueError(f"write at most {LONGEST_DESCRIPTION} characters")
    _refuse_controls(text, allowed="\n\r\t")
    return text


def days(value: int, most: int) -> int:
    """A whole number of days; out of range is refused, never clamped."""
    return within(value, 1, most, "days")


def within(value: int, least: int, most: int, of_what: str = "") -> int:
    """A whole number from ``least`` to ``most``."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"write a whole number from {least} to {most}{f' ({of_what})' if of_what else ''}")
    return value


def one_of(value: str | None, choices: Collection[str]) -> str | None:
    """None, or one of a few words."""
    if value is not None and value not in choices:
        raise ValueError(f"{shown(value)} is none of {', '.join(choices)}")
    return value


def cursor(text: str) -> str:
    """A place in a listing, as one gave it; "" is its beginning."""
    if text and not CURSOR.match(text):
        raise ValueError("it is not one that a listing gave: begin without one")
    return text


def grants(texts: Sequence[str], full: bool, policy: Policy, held: GrantSet | None = None) -> tuple[str, ...]:
    """Grant texts in the policy's order, one a scope, the wider of two; for full access all scopes with manage, or what ``held`` has of them."""
    if full:
        if texts:
            raise ValueError("full access holds every scope: leave the grants out, or choose custom access")
        levels = {scope: MANAGE if held is None else held.levels.get(scope, 0) for scope in policy.scopes}
        return tuple(f"{scope}:{ACCESS_NAMES[level]}" for scope, level in levels.items() if level)
    if not texts:
        raise ValueError("choose full access, or grant at least one scope")
    # A former id of a scope that was renamed is taken as the present one.
    present = {former: scope.id for scope in policy.scopes.values() for former in (scope.id, *scope.was)}
    levels = dict.fromkeys(policy.scopes, 0)
    unknown: list[str] = []
    for text in texts:
        try:
            scope, level = parse_grant(text)
        except ValueError:
            raise ValueError(f"{shown(text)} is no grant: write SCOPE, SCOPE:view or SCOPE:manage") from None
        if scope not in present:
            unknown.append(shown(scope))
        else:
            levels[present[scope]] = max(levels[present[scope]], level)
    if unknown:
        raise ValueError(f"the policy has no scope {', '.join(unknown)}; it has {', '.join(policy.scopes)}")
    return tuple(f"{scope}:{ACCESS_NAMES[level]}" for scope, level in levels.items() if level)


def networks(texts: Sequence[str]) -> tuple[str, ...]:
    """Addresses and CIDR blocks in their usual form. IPv4-mapped IPv6 counts as IPv4, here as in requests."""
    if len(texts) > MOST_NETWORKS:
        raise ValueError(f"write at most {MOST_NETWORKS} addresses")
    found: dict[str, None] = {}
    for text in texts:
        try:
            network = ip_network(text.strip())
        except ValueError as error:
            hint = "bits behind its mask are set" if "host bits" in str(error) else "write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32"
            raise ValueError(f"{shown(text)} is no address or CIDR block: {hint}") from None
        if "%" in text:
            raise ValueError(f"{shown(text)} is no address or CIDR block: leave the zone out")
        if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
            mapped = network.network_address.ipv4_mapped
            network = ip_network(f"{mapped}/{network.prefixlen - _MAPPED.prefixlen}")
        found[str(network)] = None
    return tuple(found)


def shown(text: str) -> str:
    """What somebody wrote, as it may stand in a message: short, in quotes, controls escaped."""
    return ascii(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…") if not text.isprintable() else f'"{text[:_SHOWN]}{"…" if len(text) > _SHOWN else ""}"'


def _refuse_controls(text: str, allowed: str = "") -> None:
    for character in text:
        if unicodedata.category(character) == "Cc" and character not in allowed:
            raise ValueError(f"take out the control character U+{ord(character):04X}")
        if unicodedata.category(character) == "Cs":
            raise ValueError("it is not valid UTF-8")
