"""What a replay found, as it is shown and stored."""

from __future__ import annotations

import msgspec


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """Calls and money of one side. Charges are net, tax on top is in `gross`; profit is charge minus cost."""

    admitted: int
    answered: int
    talk_s: int
    charge: str
    gross: str
    cost: str
    profit: str


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """After minus before."""

    charge: str
    gross: str
    cost: str
    profit: str


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """Of one currency: different ones are never added up."""

    currency: str
    calls: int
    before: Sums
    after: Sums
    difference: Difference


class DestinationTotal(msgspec.Struct, frozen=True, kw_only=True):
    currency: str
    prefix: str
    """Of the sell row that priced the calls; where none did, of the one that does now."""
    destination: str
    calls: int
    changed: int
    before: Sums
    after: Sums
    difference: Difference


class VendorTotal(msgspec.Struct, frozen=True, kw_only=True):
    provider_id: int
    provider: str
    currency: str
    before: Sums
    after: Sums


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """Calls that go elsewhere; null is no vendor at all."""

    from_provider_id: int | None
    from_provider: str
    to_provider_id: int | None
    to_provider: str
    calls: int


class ChangedCall(msgspec.Struct, frozen=True, kw_only=True):
    cdr_id: str
    currency: str
    cause_before: str
    """Empty: admitted."""
    cause_after: str
    provider_before: str
    provider_after: str
    charge_before: str
    charge_after: str
    cost_before: str
    cost_after: str


class ReplayResult(msgspec.Struct, frozen=True, kw_only=True):
    calls: int
    changed: int
    """Calls that are refused, admitted, routed, sold or bought otherwise."""
    kept: int
    """Calls that the moment had decided (call rates, channels, money) and that were left as they were."""
    totals: list[Total]
    refused_before: dict[str, int]
    """Calls by cause."""
    refused_after: dict[str, int]
    newly_refused: dict[str, int]
    """By the cause that they are refused with now …"""
    newly_admitted: dict[str, int]
    """… and by the cause that they had been refused with. How long they would have been nobody knows: they
    count as calls and bring nothing."""
    moves: list[Move]
    vendors: list[VendorTotal]
    destinations: list[DestinationTotal]
    """The largest changes of profit first; all of them are in the CSV."""
    destinations_more: int
    examples: list[ChangedCall]
    notes: list[str]
