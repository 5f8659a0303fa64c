"""Which addresses may be called on somebody's word: those of the public internet. The address that is checked is the one that is connected to.

A name is resolved once, here, for each connection: whoever has it resolve to another address afterwards (DNS rebinding) gains nothing. An address that
carries another in it (IPv4-mapped, NAT64, 6to4, Teredo) is judged by both.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

Address = IPv4Address | IPv6Address
LookUp = Callable[[str, int], Awaitable[list[str]]]  # host and port -> addresses; OSError where there is none

_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))


class AddressRefused(OSError):
    """The name leads to an address that must not be called."""


def is_public(address: Address) -> bool:
    """Whether it is one of the public internet's, unicast, whatever other address it carries too."""
    if isinstance(address, IPv6Address):
        carried = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if any(address in network for network in _NAT64):
            carried.append(IPv4Address(int(address) & 0xFFFFFFFF))
        inner = [one for one in carried if one is not None]
        if inner:
            return all(is_public(one) for one in inner)
        if address.is_site_local:  # given up by RFC 3879, and still nobody's but a site's
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


async def system_look_up(host: str, port: int) -> list[str]:
    """As the machine resolves names."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class CheckedResolver(AbstractResolver):
    """For an aiohttp connector. ``may_call`` judges each address; where one of a name's may not be called, none is."""

    def __init__(self, may_call: Callable[[Address], bool], look_up: LookUp = system_look_up) -> None:
        self._may_call = may_call
        self._look_up = look_up

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:  # noqa: ARG002
        """The addresses to connect to. AddressRefused, or OSError where there is none."""
        addresses = await self._look_up(host, port)
        for text in addresses:
            self.check(text)
        return [
            ResolveResult(
                hostname=host,
                host=text,
                port=port,
                family=socket.AF_INET6 if ":" in text else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for text in addresses
        ]

    def check(self, text: str) -> None:
        """AddressRefused unless this address may be called."""
        if "%" in text or not self._may_call(ip_address(text)):  # with a zone it is a link's own
            raise AddressRefused("its address is not one of the public internet")

    async def close(self) -> None:
        """There is nothing to close."""
