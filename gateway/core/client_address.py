"""Whose request it is: the peer, or, behind trusted proxies, the rightmost untrusted address of X-Forwarded-For."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@lru_cache(maxsize=4096)
def parse_address(text: str) -> Address | None:
    """An address, IPv4-mapped IPv6 as IPv4; None if the text is none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    """Whether the address lies in one of the networks."""
    return any(address in network for network in trusted)


def client_address(peer: Address, forwarded_for: Sequence[bytes], trusted: Sequence[Network]) -> Address:
    """The client of a request from ``peer``. ``forwarded_for`` are the X-Forwarded-For values in order, believed only
    from a trusted peer. Reading from the right, what is no address ends the search: nothing to its left can be believed."""
    client = peer
    if not is_trusted(peer, trusted):
        return client
    for hop in reversed(b",".join(forwarded_for).decode("latin-1").split(",")):
        address = parse_address(hop.strip(" \t"))
        if address is None:
            break
        client = address
        if not is_trusted(address, trusted):
            break
    return client
