"""Addresses, CIDR blocks and host names as fields; each has one spelling in the store."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Final

from msgspec import Meta

from control.services.errors import Invalid, invalid

Host = Annotated[str, Meta(min_length=1, max_length=253)]

_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")


def network_text(path: str, text: str) -> str:
    """An address or a CIDR block; a block of one address is written as the address.

    An IPv4 address in IPv6's clothes (RFC 4291 §2.5.5.2) is written as IPv4, since packets from
    it arrive as such.
    """
    if "%" in text:
        raise invalid(path, "a zone is of no use here: it names an interface of another machine")
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise invalid(path, _why_no_network(text, error)) from error
    if network.prefixlen < network.max_prefixlen:
        return str(network)
    return _plain(network.network_address)


def address_or_name(path: str, text: str) -> str:
    """An address without brackets, or a host name (RFC 1123 §2.1) in lower case."""
    with suppress(Invalid):
        return address_text(path, text)
    name = text.removesuffix(".").lower()
    labels = name.split(".")
    # All digits at the end is a mistyped address, and no top-level domain.
    if not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise invalid(path, "neither an address nor a host name")
    return name


def address_text(path: str, text: str) -> str:
    """An address that packets come from: no block, no name."""
    try:
        if "%" not in text:
            return _plain(ipaddress.ip_address(text))
    except ValueError:
        pass
    raise invalid(path, "not an IP address")


def networks_around(text: str) -> list[str]:
    """All blocks that an address is in, as they are stored; none of what is no address."""
    try:
        address = ipaddress.ip_address(address_text("", text))
    except Invalid:
        return []
    return [str(ipaddress.ip_network((address, length), strict=False)) for length in range(address.max_prefixlen)]


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def _why_no_network(text: str, error: ValueError) -> str:
    try:
        wider = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return "neither an address nor a CIDR block"
    return f"the block has address bits beyond its length; its own address is {wider}"


def is_in_networks(address: str, networks: Sequence[str]) -> bool:
    """Whether an address is one of these, or in one of these blocks; what is no address is in none."""
    try:
        parsed = ipaddress.ip_address(_plain(ipaddress.ip_address(address)))
    except ValueError:
        return False
    return any(parsed in ipaddress.ip_network(network) for network in networks)
