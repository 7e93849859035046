"""Addresses and CIDR blocks as numbers: IPv4, IPv6, and IPv4 mapped into IPv6, which is IPv4."""

from __future__ import annotations

import ipaddress
import socket


def parse_block(host: str) -> tuple[bool, int, int]:
    """An address or CIDR block as (is IPv6, leading bits, how many); bits after the length are let pass.

    Raises:
        ValueError: it is neither.
    """
    if "/" not in host:
        # The plain form is by far the commonest, and loading 100,000 of them should take no second.
        try:
            return False, int.from_bytes(socket.inet_pton(socket.AF_INET, host), "big"), 32
        except OSError:
            pass
    network = ipaddress.ip_network(host, strict=False)
    if isinstance(network, ipaddress.IPv6Network):
        mapped = network.network_address.ipv4_mapped
        if mapped is not None and network.prefixlen >= 96:
            length = network.prefixlen - 96
            return False, int(mapped) >> (32 - length), length
        return True, int(network.network_address) >> (128 - network.prefixlen), network.prefixlen
    return False, int(network.network_address) >> (32 - network.prefixlen), network.prefixlen


class Blocks:
    """A list of addresses and blocks as one question: is this address in any of them?"""

    def __init__(self, hosts: tuple[str, ...]) -> None:
        self._blocks: list[tuple[bool, int, int]] = [parse_block(host) for host in hosts]

    def __contains__(self, source_ip: str) -> bool:
        address, is_v6 = address_number(source_ip)
        if address < 0:
            return False
        width = 128 if is_v6 else 32
        for block_is_v6, bits, length in self._blocks:
            if block_is_v6 == is_v6 and address >> (width - length) == bits:
                return True
        return False


def address_number(source_ip: str) -> tuple[int, bool]:
    """An address as a number, and whether it is IPv6; -1 for what is no address."""
    try:
        if ":" not in source_ip:
            return int.from_bytes(socket.inet_pton(socket.AF_INET, source_ip), "big"), False
        address = int.from_bytes(socket.inet_pton(socket.AF_INET6, source_ip.split("%", 1)[0]), "big")
    except (OSError, ValueError):
        return -1, False
    if address >> 32 == 0xFFFF:
        return address & 0xFFFFFFFF, False
    return address, True


def address_text(number: int, is_v6: bool) -> str:
    """An address as sockets spell it, so that a packet's source is found by its text."""
    if is_v6:
        return socket.inet_ntop(socket.AF_INET6, number.to_bytes(16, "big"))
    return socket.inet_ntop(socket.AF_INET, number.to_bytes(4, "big"))
