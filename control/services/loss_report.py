"""What a comparison of price lists found, as it is shown."""

from __future__ import annotations

import msgspec

from control.services.fields import Moment


class LengthRange(msgspec.Struct, frozen=True):
    """Calls of these lengths, in seconds rounded up, both ends included."""

    from_s: int
    to_s: int


class RouteMargin(msgspec.Struct, frozen=True, kw_only=True):
    """The mean margin of a call as long as the route's calls of late."""

    route_id: int
    name: str
    calls: int
    """That it was weighed by."""
    margin: str


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """A destination whose calls can cost more than they bring."""

    prefix: str
    destination: str
    currency: str
    sell_card_id: int
    sell_card: str
    sell_revision_id: int
    sell_prefix: str
    sell_rate: str
    buy_card_id: int
    buy_card: str
    buy_revision_id: int
    buy_prefix: str
    buy_rate: str
    worst_margin: str
    worst_at_s: int
    """A length that has it, in seconds rounded up."""
    was_worst_margin: str | None
    """By what is in force instead; null where it prices no such call."""
    is_new: bool
    """It does not lose by what is in force."""
    at: Moment
    """When calls come in that lose most; another time only where rates change with the hour."""
    losing: list[LengthRange]
    losing_lengths: int
    """Seconds in all of them, listed or not."""
    expected: list[RouteMargin]
    """Of the routes that sell by the card and have calls enough to know."""


class Losses(msgspec.Struct, frozen=True, kw_only=True):
    compared: int
    """Destinations with a price on both sides."""
    losing: int
    newly_losing: int
    items: list[Loss]
    """The largest losses first."""
    more: int
    """That are not listed."""
    prices_change: list[Moment]
    """When rows of these cards begin or end after the time that was asked for: the next such dates, each a
    question of its own."""
    not_compared: list[str]
    """Pairs of cards, sold by and bought by, that were left for a question of their own: there are too many rows."""
