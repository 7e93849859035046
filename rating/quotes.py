"""What a call costs: one rule, in whole numbers, rounded once.

    d       the talk time in whole seconds, rounded as the card says
    billed  0 where the call was not answered, or d is within the grace time; else
            first + ⌈(d − first) ÷ next⌉ · next, not under first, and at least the minimum
    net     connect fee + billed ÷ 60 · rate, the part beyond a tier's start at the tier's rate;
            rounded once to the card's decimals by its method; not above the maximum cost
    tax     net · tax, rounded by the same method to the same decimals
    gross   net + tax

A call in its grace time costs nothing: no connect fee either. A grace time of 0 is none at all, so
an answered call of no length costs its first increment. The rate is the one in force when the call
came in (the INVITE), and stays for the whole call.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from rating.money import DECIMALS_MAX, HALF_UP, PPM, STEPS, UP, MoneyError, round_ratio, rounding_code
from rating.rows import UNSET, WEEK_MINUTES, RateRow

__all__ = ["Charge", "Quote", "RateRow", "Tariff", "billed_seconds", "minute_rate_nanos", "net_nanos_at", "price"]

_MINUTE_MS: Final = 60_000
_WEEK_MS: Final = WEEK_MINUTES * _MINUTE_MS
_MONDAY_MS: Final = 4 * 24 * 60 * _MINUTE_MS
"""The first Monday after the epoch, which was a Thursday."""


class Tariff:
    """What a whole rate card says about rounding and limits; its rows may override the last three.

    Raises:
        MoneyError: a rounding that does not exist, decimals outside 0..9, negative limits.
        ValueError: a time zone that is not known.
    """

    __slots__ = (
        "_zone",
        "decimals",
        "duration_code",
        "duration_rounding",
        "grace_s",
        "max_cost_nanos",
        "minimum_s",
        "rounding",
        "rounding_code",
        "step_nanos",
        "time_zone",
    )

    def __init__(
        self,
        decimals: int = 4,
        rounding: str = "up",
        duration_rounding: str = "up",
        grace_s: int = 0,
        minimum_s: int = 0,
        max_cost_nanos: int | None = None,
        time_zone: str = "UTC",
    ) -> None:
        if not 0 <= decimals <= DECIMALS_MAX:
            raise MoneyError(f"decimals outside 0..{DECIMALS_MAX}: {decimals}")
        if grace_s < 0 or minimum_s < 0 or (max_cost_nanos is not None and max_cost_nanos < UNSET):
            raise MoneyError("negative grace, minimum or maximum cost")
        self.decimals: int = decimals
        self.step_nanos: int = STEPS[decimals]
        self.rounding: str = rounding
        self.duration_rounding: str = duration_rounding
        self.rounding_code: int = rounding_code(rounding)
        self.duration_code: int = rounding_code(duration_rounding)
        self.grace_s: int = grace_s
        self.minimum_s: int = minimum_s
        self.max_cost_nanos: int = UNSET if max_cost_nanos is None else max_cost_nanos
        self.time_zone: str = time_zone
        # UTC needs no zone file, which a bare system may lack.
        self._zone: ZoneInfo | None = None
        if time_zone != "UTC":
            try:
                self._zone = ZoneInfo(time_zone)
            except KeyError as error:
                raise ValueError(f"no such time zone: {time_zone}") from error

    def facts(self) -> tuple[int, str, str, int, int, int | None, str]:
        """Every argument of the constructor, in its order."""
        return (
            self.decimals,
            self.rounding,
            self.duration_rounding,
            self.grace_s,
            self.minimum_s,
            None if self.max_cost_nanos == UNSET else self.max_cost_nanos,
            self.time_zone,
        )

    def week_minute(self, at_ms: int) -> int:
        """Minutes since Monday 00:00 on this card's wall clocks; an hour that clocks repeat is read twice."""
        if self._zone is not None:
            offset = datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(self._zone).utcoffset()
            if offset is not None:
                at_ms += (offset.days * 86_400 + offset.seconds) * 1000
        return (at_ms - _MONDAY_MS) % _WEEK_MS // _MINUTE_MS


class Quote:
    """A row, under its card's rules, for one customer's tax: everything that prices a call.

    Args:
        at_ms: when the call came in. It fixes the rate where the row has time-of-week windows;
            0 leaves that to `price`, which then takes the time of the answer.
    """

    __slots__ = (
        "at_ms",
        "card_id",
        "grace_s",
        "max_cost_nanos",
        "minimum_s",
        "rate_nanos",
        "revision_id",
        "row",
        "tariff",
        "tax_ppm",
    )

    def __init__(
        self, row: RateRow, tariff: Tariff, tax_ppm: int = 0, card_id: int = 0, revision_id: int = 0, at_ms: int = 0
    ) -> None:
        self.row: RateRow = row
        self.tariff: Tariff = tariff
        self.tax_ppm: int = tax_ppm
        self.card_id: int = card_id
        self.revision_id: int = revision_id
        self.at_ms: int = at_ms
        self.grace_s: int = tariff.grace_s if row.grace_s == UNSET else row.grace_s
        self.minimum_s: int = tariff.minimum_s if row.minimum_s == UNSET else row.minimum_s
        self.max_cost_nanos: int = tariff.max_cost_nanos if row.max_cost_nanos == UNSET else row.max_cost_nanos
        self.rate_nanos: int = row.rate_nanos
        """Per minute, before tiers: the row's, or that of the window which `at_ms` falls in."""
        if row.windows and at_ms:
            self.rate_nanos = _window_rate(row, tariff, at_ms)


class Charge:
    """A call's price; `gross_nanos` is what a balance moves by."""

    __slots__ = ("billed_s", "gross_nanos", "net_nanos", "tax_nanos")

    def __init__(self, billed_s: int, net_nanos: int, tax_nanos: int) -> None:
        self.billed_s: int = billed_s
        self.net_nanos: int = net_nanos
        self.tax_nanos: int = tax_nanos
        self.gross_nanos: int = net_nanos + tax_nanos

    def __repr__(self) -> str:
        return f"Charge(billed_s={self.billed_s}, net_nanos={self.net_nanos}, tax_nanos={self.tax_nanos})"


def price(quote: Quote, duration_ms: int, answered_ms: int) -> Charge:
    """The charge of a call that lasted `duration_ms` from its answer at `answered_ms` (0: not answered)."""
    if answered_ms == 0:
        return Charge(0, 0, 0)
    tariff = quote.tariff
    duration_s = rounded_seconds(duration_ms, tariff.duration_code)
    if 0 < quote.grace_s >= duration_s:
        return Charge(0, 0, 0)
    rate_nanos = quote.rate_nanos
    if quote.at_ms == 0 and quote.row.windows:
        rate_nanos = _window_rate(quote.row, tariff, answered_ms)
    billed_s = billed_seconds(quote, duration_s)
    net = net_nanos_at(quote, billed_s, rate_nanos)
    tax = 0
    if quote.tax_ppm:
        tax = round_ratio(net * quote.tax_ppm, PPM, tariff.step_nanos, tariff.rounding_code)
    return Charge(billed_s, net, tax)


def minute_rate_nanos(quote: Quote, at_ms: int) -> int:
    """The rate of a call that comes in at `at_ms`, per minute, before tiers, fee and tax."""
    return _window_rate(quote.row, quote.tariff, at_ms) if quote.row.windows else quote.row.rate_nanos


def rounded_seconds(duration_ms: int, code: int) -> int:
    """Whole seconds of a duration; a clock that ran backwards counts as none."""
    if duration_ms <= 0:
        return 0
    if code == UP:
        return (duration_ms + 999) // 1000
    if code == HALF_UP:
        return (duration_ms + 500) // 1000
    return duration_ms // 1000


def billed_seconds(quote: Quote, duration_s: int) -> int:
    """What an answered call of so many rounded seconds is billed for."""
    if 0 < quote.grace_s >= duration_s:
        return 0
    row = quote.row
    billed_s = row.first_s
    if duration_s > billed_s:
        billed_s += -((billed_s - duration_s) // row.next_s) * row.next_s
    return billed_s if billed_s > quote.minimum_s else quote.minimum_s


def net_nanos_at(quote: Quote, billed_s: int, rate_nanos: int) -> int:
    """The net charge of an answered call outside its grace time, at this rate."""
    exact = sixtieths_at(quote.row, billed_s, rate_nanos)
    net = round_ratio(exact, 60, quote.tariff.step_nanos, quote.tariff.rounding_code)
    return quote.max_cost_nanos if 0 <= quote.max_cost_nanos < net else net


def sixtieths_at(row: RateRow, billed_s: int, rate_nanos: int) -> int:
    """The same before rounding and maximum, exactly: in sixtieths of a nano-unit."""
    exact = row.connect_fee_nanos * 60
    if not row.tiers:
        return exact + billed_s * rate_nanos
    # Each stretch between two tiers at the rate of the tier it follows.
    reached_s = 0
    for from_s, tier_rate_nanos in row.tiers:
        if billed_s <= from_s:
            break
        exact += (from_s - reached_s) * rate_nanos
        reached_s = from_s
        rate_nanos = tier_rate_nanos
    return exact + (billed_s - reached_s) * rate_nanos


def _window_rate(row: RateRow, tariff: Tariff, at_ms: int) -> int:
    minute = tariff.week_minute(at_ms)
    for start, end, rate_nanos in row.windows:
        if start <= minute < end:
            return rate_nanos
    return row.rate_nanos
