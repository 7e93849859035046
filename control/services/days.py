"""Calendar days as fields: `2027-02-01`, on the clocks of a site or a client."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Final

from msgspec import Meta

from control.services.errors import invalid
from control.services.fields import EPOCH, YEAR_MAX, day_or_moment_ms
from control.services.periods import day_at, day_start_ms

DayText = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$(?!\n)", examples=["2027-02-01"])]
DAY_CHARACTERS: Final = 10
MONTH_CHARACTERS: Final = 7
Bound = Annotated[str, Meta(min_length=1, max_length=40, examples=["2027-02-01T09:00:00Z", "2027-02-01", "2027-02"])]
"""Of a stretch of time: a time, or a day or a month on somebody's clocks, of which all counts."""


def parse_day(path: str, text: str) -> date:
    """A day field as a date; `Invalid` names the field."""
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise invalid(path, "no day of the calendar, as in 2027-02-01") from error
    if day.isoformat() != text:
        # Weeks are days of ISO 8601 too, and do not sort among those that are kept as text.
        raise invalid(path, "written as in 2027-02-01")
    if not EPOCH.year <= day.year <= YEAR_MAX:
        raise invalid(path, f"outside the years {EPOCH.year} to {YEAR_MAX}")
    return day


def begin_ms(path: str, text: str | None, time_zone: str) -> int | None:
    """When what begins on a day, or at a time, begins."""
    if text is None or len(text) != DAY_CHARACTERS:
        return day_or_moment_ms(path, text, is_end=False)
    return day_start_ms(parse_day(path, text), time_zone)


def end_ms(path: str, text: str | None, time_zone: str) -> int | None:
    """When what lasts through a day, or until a time, is over."""
    if text is None or len(text) != DAY_CHARACTERS:
        return day_or_moment_ms(path, text, is_end=True)
    return day_start_ms(parse_day(path, text) + timedelta(days=1), time_zone)


def since_ms(path: str, text: str, time_zone: str) -> int:
    """When a stretch from this time, day or month on begins."""
    found = begin_ms(path, f"{text}-01" if len(text) == MONTH_CHARACTERS else text, time_zone)
    assert found is not None, "a text was given"
    return found


def until_ms(path: str, text: str, time_zone: str) -> int:
    """When a stretch up to this time, or through this day or month, is over."""
    if len(text) == MONTH_CHARACTERS:
        month = parse_day(path, f"{text}-01")
        return day_start_ms((month + timedelta(days=31)).replace(day=1), time_zone)
    found = end_ms(path, text, time_zone)
    assert found is not None, "a text was given"
    return found


def day_of(path: str, text: str, time_zone: str) -> date:
    """The day that a day or a time falls on."""
    if len(text) == DAY_CHARACTERS:
        return parse_day(path, text)
    ms = day_or_moment_ms(path, text, is_end=False)
    assert ms is not None, "a text was given"
    return day_at(ms, time_zone)


def year_after(day: date) -> date:
    """The same day of the next year; of 29 February the 28th, since the next year has no other last day of it."""
    try:
        return day.replace(year=day.year + 1)
    except ValueError:
        return day.replace(year=day.year + 1, day=28)
