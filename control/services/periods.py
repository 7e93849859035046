"""Periods of what recurs: their borders on somebody's clocks, and the share of one that a part costs.

Periods are whole days of a calendar, so leap days and months' ends are a matter of dates, and a clock
that is set forward or back moves a border's moment and nothing else. Borders are half open: a period
begins on its first day and ends before `until`, the first day of the next one; there is no gap and no
overlap. Keys are dates, not moments: a period keeps its key where a customer moves to another time zone.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from control.services.fields import EPOCH, YEAR_MAX, ms_moment
from rating.money import HALF_UP, STEPS, round_ratio

Frequency = Literal["once", "daily", "weekly", "monthly"]

FIRST_DAY: Final = date(EPOCH.year, 1, 1)
LAST_DAY: Final = date(YEAR_MAX + 1, 1, 1)
"""`once` is one period between these two."""
DECIMALS: Final = 2
"""Of a share of a price; `currencies.decimals_of` knows those of a currency."""


class Rule(msgspec.Struct, frozen=True):
    """How often something recurs, and on what day a period begins."""

    frequency: Frequency
    day: int = 1
    """Of a week 1 (Monday) to 7, of a month 1 to 31, where a shorter month's last day serves; else 1."""


class Period(msgspec.Struct, frozen=True, order=True):
    """Days from `first` on, before `until`."""

    first: date
    until: date

    @property
    def key(self) -> str:
        """What names it among the periods of its rule, for unique keys."""
        return self.first.isoformat()

    @property
    def days(self) -> int:
        return (self.until - self.first).days

    @property
    def last(self) -> date:
        """The last day that belongs to it."""
        return self.until - timedelta(days=1)

    def start_ms(self, time_zone: str) -> int:
        return day_start_ms(self.first, time_zone)

    def end_ms(self, time_zone: str) -> int:
        return day_start_ms(self.until, time_zone)


def period_of(rule: Rule, day: date) -> Period:
    """The period that this day belongs to."""
    assert FIRST_DAY <= day < LAST_DAY, day
    if rule.frequency == "once":
        return Period(FIRST_DAY, LAST_DAY)
    if rule.frequency == "daily":
        return Period(day, day + timedelta(days=1))
    if rule.frequency == "weekly":
        first = day - timedelta(days=(day.isoweekday() - rule.day) % 7)
        return Period(first, first + timedelta(days=7))
    first = _in_month(day.year, day.month, rule.day)
    if day < first:
        return Period(_in_month(*_month_before(day), rule.day), first)
    return Period(first, _in_month(*_month_after(day), rule.day))


def period_at(rule: Rule, at_ms: int, time_zone: str) -> Period:
    """The period that runs at a moment, on that zone's clocks."""
    return period_of(rule, day_at(at_ms, time_zone))


def next_period(rule: Rule, period: Period) -> Period | None:
    """The one that follows without a gap; none follows `once`."""
    return None if period.until >= LAST_DAY else period_of(rule, period.until)


def periods_between(rule: Rule, first: date, until: date) -> Iterator[Period]:
    """Every period that has a day from `first` on and before `until`, the earliest first."""
    day = first
    while day < until:
        period = period_of(rule, day)
        yield period
        day = period.until


def within(period: Period, first: date, until: date | None) -> Period | None:
    """The part of a period from `first` on and before `until`; None where there is none."""
    part = Period(max(period.first, first), period.until if until is None else min(period.until, until))
    return part if part.days > 0 else None


def share_nanos(amount_nanos: int, rule: Rule, period: Period, part: Period, *, decimals: int = DECIMALS) -> int:
    """What a part of a period costs of the price of the whole: by days, each of which counts the same.

    `once` is never cut, and neither is a whole period: both cost the very amount. Else the exact
    fraction is rounded once, halves away from 0, to so many decimals of a unit.
    """
    assert period.first <= part.first < part.until <= period.until, part
    if rule.frequency == "once" or part == period:
        return amount_nanos
    return round_ratio(amount_nanos * part.days, period.days, STEPS[decimals], HALF_UP)


def day_at(at_ms: int, time_zone: str) -> date:
    """What day it is there; as `day_start_ms` has days, which is what calendars on the wall say too."""
    return ms_moment(at_ms).astimezone(ZoneInfo(time_zone)).date()


def day_start_ms(day: date, time_zone: str) -> int:
    """When a day begins there, in milliseconds since the epoch.

    Where clocks skip midnight, it is the moment they do; where midnight comes twice, the first one. A
    day that a zone leaves out (Samoa, 30 December 2011) is empty: it begins when the next one does.
    """
    zone = ZoneInfo(time_zone)
    # Fold 0 takes the offset of before, in a gap as well as where a time comes twice.
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    return (midnight - EPOCH) // timedelta(milliseconds=1)


def _in_month(year: int, month: int, day: int) -> date:
    return date(year, month, min(day, monthrange(year, month)[1]))


def _month_before(day: date) -> tuple[int, int]:
    return (day.year - 1, 12) if day.month == 1 else (day.year, day.month - 1)


def _month_after(day: date) -> tuple[int, int]:
    return (day.year + 1, 1) if day.month == 12 else (day.year, day.month + 1)
