"""A row of a rate card: what one prefix costs, from when until when."""

from __future__ import annotations

from typing import Final

UNSET: Final = -1
"""In `minimum_s`, `grace_s` and `max_cost_nanos`: the card's own value counts."""

WEEK_MINUTES: Final = 7 * 24 * 60


class RateRow:
    """Price of the numbers that begin with `prefix`.

    Rates are nano-units per minute, times milliseconds since the epoch with 0 for open, validity
    the half-open interval [`valid_from_ms`, `valid_to_ms`). Never changed once made: it is shared.

    Attributes:
        first_s, next_s: increments in seconds; `30/6` is first 30, next 6.
        tiers: (from_s, rate_nanos), ascending: talk time beyond `from_s` is charged at that rate.
        windows: (from_minute, to_minute, rate_nanos), ascending and apart, half-open, in minutes
            since Monday 00:00 on the wall clocks of the card's time zone: the rate of calls that
            begin in there, instead of `rate_nanos`. Tiers stay as they are.
    """

    __slots__ = (
        "connect_fee_nanos",
        "first_s",
        "grace_s",
        "is_blocked",
        "max_cost_nanos",
        "minimum_s",
        "name",
        "next_s",
        "prefix",
        "rate_nanos",
        "tiers",
        "valid_from_ms",
        "valid_to_ms",
        "windows",
    )

    def __init__(
        self,
        prefix: str,
        name: str,
        rate_nanos: int,
        first_s: int = 1,
        next_s: int = 1,
        connect_fee_nanos: int = 0,
        valid_from_ms: int = 0,
        valid_to_ms: int = 0,
        is_blocked: bool = False,
        minimum_s: int = UNSET,
        grace_s: int = UNSET,
        max_cost_nanos: int = UNSET,
        tiers: tuple[tuple[int, int], ...] = (),
        windows: tuple[tuple[int, int, int], ...] = (),
    ) -> None:
        self.prefix: str = prefix
        self.name: str = name
        self.rate_nanos: int = rate_nanos
        self.first_s: int = first_s
        self.next_s: int = next_s
        self.connect_fee_nanos: int = connect_fee_nanos
        self.valid_from_ms: int = valid_from_ms
        self.valid_to_ms: int = valid_to_ms
        self.is_blocked: bool = is_blocked
        self.minimum_s: int = minimum_s
        self.grace_s: int = grace_s
        self.max_cost_nanos: int = max_cost_nanos
        self.tiers: tuple[tuple[int, int], ...] = tiers
        self.windows: tuple[tuple[int, int, int], ...] = windows

    def is_valid_at(self, at_ms: int) -> bool:
        """Whether the row is in force then."""
        return self.valid_from_ms <= at_ms and (self.valid_to_ms == 0 or at_ms < self.valid_to_ms)

    def facts(
        self,
    ) -> tuple[
        str,
        str,
        int,
        int,
        int,
        int,
        int,
        int,
        bool,
        int,
        int,
        int,
        tuple[tuple[int, int], ...],
        tuple[tuple[int, int, int], ...],
    ]:
        """Every field in the constructor's order: what makes two rows equal."""
        return (
            self.prefix,
            self.name,
            self.rate_nanos,
            self.first_s,
            self.next_s,
            self.connect_fee_nanos,
            self.valid_from_ms,
            self.valid_to_ms,
            self.is_blocked,
            self.minimum_s,
            self.grace_s,
            self.max_cost_nanos,
            self.tiers,
            self.windows,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RateRow):
            return NotImplemented
        return self.facts() == other.facts()

    def __hash__(self) -> int:
        return hash(self.facts())

    def __repr__(self) -> str:
        return f"RateRow{self.facts()!r}"
