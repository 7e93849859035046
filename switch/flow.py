"""Where messages come from and go to, as sockets have it."""

from __future__ import annotations

import msgspec

Address = tuple[str, int]
"""Address literal and port, as sockets have them (IPv6 without brackets, flow or scope)."""


class Flow(msgspec.Struct, frozen=True, gc=False):
    """Where bytes came from, or where they shall go.

    `listener` is an index into the engine's list of listeners. `connection` is 0 on UDP; on
    streams it is the shell's number of an open connection, or 0 to reach `address` over any
    connection to it, opened when there is none.
    """

    listener: int
    address: Address
    connection: int = 0
    server_name: str = ""
    """TLS: the name that the peer's certificate must carry; empty means the address."""
    tls_verify: bool = True
