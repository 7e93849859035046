"""What calls have cost since midnight, on a customer's own clocks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_EPOCH: Final = date(1970, 1, 1).toordinal()
_AHEAD_MAX: Final = 2
"""Days that a kept day may be ahead: zones lie up to 26 hours apart, so a changed zone explains two."""


class DaySpend:
    """Adds up charges of one day in one time zone; the next day begins at zero.

    Days are numbered from 1 January 1970 by the date on the customer's wall clock, so a day may
    have 23 or 25 hours. A clock that is set back does not bring an earlier day again: what was
    spent stays until a day later than the one kept begins. Only a day that lies further ahead than
    clocks and zones differ is taken for a mistake; then the spending stays, and counts as today's.

    Only a charge moves the day on, so that the same charges in the same order come to the same,
    whenever it was asked for in between: a journal has the charges alone.

    Args:
        day, spent_nanos: as they were kept; 0 for a customer that has spent nothing yet.
    Raises:
        ValueError: a time zone that is not known.
    """

    def __init__(self, time_zone: str = "UTC", day: int = 0, spent_nanos: int = 0) -> None:
        self.time_zone: str = time_zone
        self.day: int = day
        self.spent_nanos: int = spent_nanos
        self._today: int = 0
        """The day between `_begins_ms` and `_ends_ms`; not known where these are equal."""
        self._begins_ms: int = 0
        self._ends_ms: int = 0
        self._zone: ZoneInfo | None = _zone(time_zone)

    def move(self, time_zone: str) -> None:
        """The customer's zone has changed: what it spent stays; the day ends by its new clocks."""
        if time_zone != self.time_zone:
            self._zone = _zone(time_zone)
            self.time_zone = time_zone
            self._begins_ms = self._ends_ms = 0

    def spent(self, now_ms: int) -> int:
        """Nano-units spent today, as of now."""
        return 0 if self._day_of(now_ms) > self.day else self.spent_nanos

    def add(self, amount_nanos: int, now_ms: int) -> None:
        """Book a charge of now."""
        today = self._day_of(now_ms)
        if today > self.day:
            self.day = today
            self.spent_nanos = 0
        self.spent_nanos += amount_nanos

    def _day_of(self, now_ms: int) -> int:
        """Number of the day; one that was kept by mistake becomes this one."""
        if not self._begins_ms <= now_ms < self._ends_ms:
            self._find_day(now_ms)
        if self._today < self.day - _AHEAD_MAX:
            self.day = self._today
        return self._today

    def _find_day(self, now_ms: int) -> None:
        today = self._date(now_ms // 1000)
        self._today = today.toordinal() - _EPOCH
        midnight = datetime.combine(today + timedelta(days=1), datetime.min.time(), self._zone or UTC)
        # Midnight is asked for by its first pass where clocks repeat it. Where they skip it this is
        # the moment they do, or, if they skip from before it, some time after: then nothing is kept.
        ends_s = int(midnight.timestamp())
        is_certain = now_ms < ends_s * 1000 and self._date(ends_s - 1) == today
        self._begins_ms = now_ms
        self._ends_ms = ends_s * 1000 if is_certain else now_ms

    def _date(self, at_s: int) -> date:
        at = datetime.fromtimestamp(at_s, UTC)
        return (at if self._zone is None else at.astimezone(self._zone)).date()


def _zone(name: str) -> ZoneInfo | None:
    if name == "UTC":
        return None  # needs no zone file, which a bare system may lack
    try:
        return ZoneInfo(name)
    except KeyError as error:
        raise ValueError(f"no such time zone: {name}") from error
