"""Which endpoint an address belongs to: longest block, then transport and tech prefix.

The longest block that holds any endpoint says whose address it is. Shorter blocks are looked at
only for the same customers: who shares a wide block with another customer's single address must
never be charged for that customer's calls.
"""

from __future__ import annotations

from switch.policy.blocks import address_number, address_text, parse_block
from switch.policy.callers import Caller


class _Network:
    """All blocks of one length: the address's leading bits to its endpoints."""

    def __init__(self, length: int, shift: int) -> None:
        self.length: int = length
        self.shift: int = shift
        self.blocks: dict[int, list[Caller]] = {}


class Sources:
    """Index of the endpoints that send calls. Single addresses are found by their text alone."""

    def __init__(self) -> None:
        self._exact: dict[str, list[Caller]] = {}
        self._v4: list[_Network] = []
        self._v6: list[_Network] = []

    def add(self, caller: Caller, host: str) -> None:
        """File an endpoint under its address or block.

        Raises:
            ValueError: `host` is neither.
        """
        block = parse_block(host)
        bucket = self._bucket(block)
        bucket.append(caller)
        bucket.sort(key=_precedence)

    def discard(self, caller: Caller, host: str) -> None:
        """Take an endpoint out again; one that is not filed there changes nothing."""
        try:
            block = parse_block(host)
        except ValueError:
            return
        bucket = self._bucket(block)
        if caller in bucket:
            bucket.remove(caller)
        if not bucket:
            self._drop(block)

    def find(self, source_ip: str, transport: str, dialled: str) -> Caller | None:
        """The endpoint that a packet comes from.

        Args:
            source_ip: as the socket says it; IPv4 mapped into IPv6 is read as IPv4.
            transport: `udp`, `tcp` or `tls`.
            dialled: user part of the Request-URI, tech prefix and all.
        """
        bucket = self._exact.get(source_ip)
        if bucket is not None:
            for caller in bucket:
                if caller.takes(transport, dialled):
                    return caller
        if not self._v4 and not self._v6 and ":" not in source_ip:
            return None
        return self._find_block(source_ip, transport, dialled)

    def knows(self, source_ip: str) -> bool:
        """Whether any endpoint, of whatever transport and prefix, sends from that address."""
        if source_ip in self._exact:
            return True
        if not self._v4 and not self._v6:
            return False
        address, is_v6 = address_number(source_ip)
        networks = self._v6 if is_v6 else self._v4
        return address >= 0 and any((address >> network.shift) in network.blocks for network in networks)

    def _find_block(self, source_ip: str, transport: str, dialled: str) -> Caller | None:
        address, is_v6 = address_number(source_ip)
        if address < 0:
            return None
        owners = self._exact.get(source_ip)
        if owners is None and ":" in source_ip:
            owners = self._exact.get(address_text(address, is_v6))
            for caller in owners or ():
                if caller.takes(transport, dialled):
                    return caller
        for network in self._v6 if is_v6 else self._v4:
            bucket = network.blocks.get(address >> network.shift)
            if bucket is None:
                continue
            for caller in bucket:
                if caller.takes(transport, dialled) and (owners is None or _is_owner(owners, caller)):
                    return caller
            if owners is None:
                owners = bucket
        return None

    def _bucket(self, block: tuple[bool, int, int]) -> list[Caller]:
        is_v6, bits, length = block
        width = 128 if is_v6 else 32
        if length == width:
            return self._exact.setdefault(address_text(bits, is_v6), [])
        networks = self._v6 if is_v6 else self._v4
        for network in networks:
            if network.length == length:
                return network.blocks.setdefault(bits, [])
        network = _Network(length, width - length)
        networks.append(network)
        networks.sort(key=_length, reverse=True)
        return network.blocks.setdefault(bits, [])

    def _drop(self, block: tuple[bool, int, int]) -> None:
        is_v6, bits, length = block
        if length == (128 if is_v6 else 32):
            self._exact.pop(address_text(bits, is_v6), None)
            return
        networks = self._v6 if is_v6 else self._v4
        for network in networks:
            if network.length == length:
                network.blocks.pop(bits, None)
        networks[:] = [network for network in networks if network.blocks]


def _is_owner(owners: list[Caller], caller: Caller) -> bool:
    return any(owner.customer_id == caller.customer_id for owner in owners)


def _precedence(caller: Caller) -> tuple[int, bool, int]:
    return (-len(caller.tech_prefix), caller.transport is None, caller.record_id)


def _length(network: _Network) -> int:
    return network.length
