"""What the engine wants done: values that a shell acts upon, in order.

A shell writes `records` to the journal in one write before it sends any of `sends` of the same
batch: a record is on its way to the disk before the message that it stands for leaves.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from switch.flow import Address as Address
from switch.flow import Flow as Flow
from switch.records import JournalRecord
from switch.registrations import Registration


class Target(msgspec.Struct, frozen=True):
    """One address of a gateway as the resolver found it, the best first (RFC 3263 §4)."""

    transport: Literal["udp", "tcp", "tls"]
    ip: str
    port: int
    server_name: str = ""
    """TLS: the gateway's configured name, which its certificate must carry; empty: the address."""
    priority: int = 0
    weight: int = 0
    """Of the SRV record: lower priorities first, shares by weight within one (RFC 2782)."""


class Send(msgspec.Struct, frozen=True, gc=False):
    flow: Flow
    data: bytes
    token: int = 0
    """Not 0: the shell calls `engine.send_failed(token, reason, now)` if it cannot deliver."""
    is_loose: bool = False
    """It belongs to no call: an answer to a stranger, or to an OPTIONS or a REGISTER."""


class Close(msgspec.Struct, frozen=True, gc=False):
    """Close a stream connection once what was sent on it is out."""

    flow: Flow


class GatewayHealth(msgspec.Struct, frozen=True, kw_only=True, tag="gateway_health"):
    gateway_id: int
    is_up: bool
    reason: str
    changed_ms: int


class Alarm(msgspec.Struct, frozen=True, kw_only=True, tag="alarm"):
    name: str
    detail: str
    at_ms: int


Event = GatewayHealth | Alarm


class Outputs(msgspec.Struct, frozen=True, gc=False):
    records: list[JournalRecord]
    sends: list[Send | Close]
    events: list[Event]
    registrations: list[Registration] = []
    """Contacts that have changed; written, like records, before anything is sent."""
