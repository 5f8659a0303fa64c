from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.client_address import client_address, is_trusted, parse_address

PROXY, STRANGER = ip_address("10.0.0.1"), ip_address("203.0.113.1")
TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:0201", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_an_address_has_one_form(text: str, address: str) -> None:
    assert parse_address(text) == ip_address(address)


@pytest.mark.parametrize("text", ["", "x", "192.0.2", "192.0.2.1:80", "[::1]", "192.0.2.01", "192.0.2.1/32", "unknown", "_hidden", "1.2.3.4.5", "\u0661.1.1.1"])
def test_what_is_no_address_is_none(text: str) -> None:
    assert parse_address(text) is None


@pytest.mark.parametrize(
    ("peer", "chain", "client"),
    [
        (STRANGER, [b"198.51.100.1"], "203.0.113.1"),
        (PROXY, [], "10.0.0.1"),
        (PROXY, [b""], "10.0.0.1"),
        (PROXY, [b"198.51.100.1"], "198.51.100.1"),
        (PROXY, [b"198.51.100.1, 198.51.100.2"], "198.51.100.2"),
        (PROXY, [b"198.51.100.1", b"198.51.100.2"], "198.51.100.2"),
        (PROXY, [b"198.51.100.1,10.0.0.9, fd00::1"], "198.51.100.1"),
        (PROXY, [b"10.0.0.8,10.0.0.9"], "10.0.0.8"),
        (PROXY, [b"198.51.100.1, x"], "10.0.0.1"),
        (PROXY, [b"198.51.100.1, x, 10.0.0.9"], "10.0.0.9"),
        (PROXY, [b"x, 198.51.100.1"], "198.51.100.1"),
        (PROXY, [b"::ffff:198.51.100.1"], "198.51.100.1"),
        (PROXY, [b"198.51.100.1, ::ffff:10.0.0.9"], "198.51.100.1"),
        (PROXY, [b"\xff, \xfe"], "10.0.0.1"),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_not_trusted(peer: object, chain: list[bytes], client: str) -> None:
    assert client_address(peer, chain, TRUSTED) == ip_address(client)  # type: ignore[arg-type]


@given(st.lists(st.sampled_from([b"10.0.0.2", b"198.51.100.1", b"198.51.100.2", b"x", b""]), max_size=6))
def test_what_stands_left_of_the_client_never_changes_who_it_is(chain: list[bytes]) -> None:
    found = client_address(PROXY, [b", ".join(chain)] if chain else [], TRUSTED)
    if is_trusted(found, TRUSTED):
        return
    assert client_address(PROXY, [b"203.0.113.99, x", b", ".join(chain)], TRUSTED) == found


def test_nobody_is_trusted_by_default() -> None:
    assert client_address(STRANGER, [b"10.0.0.1"], ()) == STRANGER
    assert not is_trusted(PROXY, ())
