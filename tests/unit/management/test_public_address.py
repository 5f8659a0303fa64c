"""Which addresses a webhook may go to."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from gateway.management.public_address import AddressRefused, CheckedResolver, is_public

PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::1"]
NOT_PUBLIC = [
    *("127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "198.18.0.1"),
    *("192.0.2.1", "192.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1", "2002:a9fe:a9fe::", "fec0::1", "::127.0.0.1"),
    *("64:ff9b:1::a00:1", "2001:0:7f00:1::"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_public_internet_may_be_called(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_all_others_may_not_nor_what_carries_one(address: str) -> None:
    """Seen to fail for the last rows without the look at carried addresses."""
    assert not is_public(ip_address(address))


async def test_a_name_of_which_one_address_may_not_be_called_is_refused_whole() -> None:
    async def look_up(_host: str, _port: int) -> list[str]:
        return ["1.1.1.1", "127.0.0.1"]

    with pytest.raises(AddressRefused):
        await CheckedResolver(is_public, look_up).resolve("hooks.test", 443)


@pytest.mark.parametrize("address", ["fe80::1%eth0", "2606:4700::1111%1"])
async def test_an_address_with_a_zone_is_refused(address: str) -> None:
    async def look_up(_host: str, _port: int) -> list[str]:
        return [address]

    with pytest.raises(AddressRefused):
        await CheckedResolver(lambda _: True, look_up).resolve("hooks.test", 443)


async def test_what_was_checked_is_what_is_connected_to() -> None:
    async def look_up(_host: str, _port: int) -> list[str]:
        return ["1.1.1.1", "2606:4700::1111"]

    found = await CheckedResolver(is_public, look_up).resolve("hooks.test", 443)
    assert [(each["host"], each["hostname"], each["port"]) for each in found] == [("1.1.1.1", "hooks.test", 443), ("2606:4700::1111", "hooks.test", 443)]
