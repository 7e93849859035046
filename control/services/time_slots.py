"""Minutes, hours, days and months on somebody's clocks, and how sums by UTC minute fall into them.

Between two changes of its clocks a zone is a fixed number of quarters of an hour from UTC, so a stretch
of time is cut at those changes, and within each piece hours and days are plain divisions, which the
database does. Pieces of one day come together again by the day's date, months by their days.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from control.services.fields import ms_moment
from control.services.periods import day_start_ms

Step = Literal["minute", "hour", "day", "month"]

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
UNITS: Final[dict[Step, int]] = {"minute": MINUTE_MS, "hour": HOUR_MS, "day": DAY_MS, "month": DAY_MS}
"""What the database divides by; days come together as months afterwards."""
_EPOCH: Final = date(1970, 1, 1)


class Piece(msgspec.Struct, frozen=True):
    """From `start_ms` on and before `end_ms` clocks are `offset_ms` ahead of UTC."""

    start_ms: int
    end_ms: int
    offset_ms: int


class Slot(msgspec.Struct, frozen=True, order=True):
    """One step, cut to what was asked for."""

    start_ms: int
    end_ms: int


def pieces(time_zone: str, start_ms: int, end_ms: int) -> list[Piece]:
    """A stretch of time, cut where the zone's clocks change."""
    zone = ZoneInfo(time_zone)
    found: list[Piece] = []
    for at_ms in _looks(start_ms, end_ms):
        offset_ms = _offset_ms(zone, at_ms)
        if found and found[-1].offset_ms == offset_ms:
            found[-1] = Piece(found[-1].start_ms, at_ms, offset_ms)
            continue
        change_ms = start_ms
        if found:
            change_ms = _change_ms(zone, found[-1].end_ms, at_ms)
            found[-1] = Piece(found[-1].start_ms, change_ms, found[-1].offset_ms)
        found.append(Piece(change_ms, at_ms, offset_ms))
    if found:
        found[-1] = Piece(found[-1].start_ms, end_ms, found[-1].offset_ms)
    return found


def slot_of(step: Step, time_zone: str, piece: Piece, number: int, start_ms: int, end_ms: int) -> Slot:
    """The step with this number: `(at_ms + piece.offset_ms) // UNITS[step]` of any moment in it."""
    if step in ("minute", "hour"):
        first = number * UNITS[step] - piece.offset_ms
        # Where clocks change within an hour, the piece's own part of it is an hour to its readers.
        return Slot(max(first, piece.start_ms), min(first + UNITS[step], piece.end_ms))
    first_day = _EPOCH + timedelta(days=number)
    next_day = first_day + timedelta(days=1)
    if step == "month":
        first_day = first_day.replace(day=1)
        next_day = (first_day + timedelta(days=32)).replace(day=1)
    return Slot(max(start_ms, day_start_ms(first_day, time_zone)), min(end_ms, day_start_ms(next_day, time_zone)))


def _looks(start_ms: int, end_ms: int) -> Iterator[int]:
    """No zone has changed its clocks twice within a day."""
    at_ms = start_ms
    while at_ms < end_ms:
        yield at_ms
        at_ms += DAY_MS
    if start_ms < end_ms:
        yield end_ms - 1


def _offset_ms(zone: ZoneInfo, at_ms: int) -> int:
    offset = ms_moment(at_ms).astimezone(zone).utcoffset()
    assert offset is not None, "zones know their offset"
    return offset // timedelta(milliseconds=1)


def _change_ms(zone: ZoneInfo, before_ms: int, after_ms: int) -> int:
    """The first moment at which the offset is that of `after_ms`."""
    wanted = _offset_ms(zone, after_ms)
    while after_ms - before_ms > 1:
        middle = (before_ms + after_ms) // 2
        if _offset_ms(zone, middle) == wanted:
            after_ms = middle
        else:
            before_ms = middle
    return after_ms
