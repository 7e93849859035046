"""What calls have cost since midnight, on a customer's own clocks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_EPOCH: Final = date(1970, 1, 1).toordinal()


class DaySpend:
    """Adds up charges of one day in one time zone; the next day begins at zero.

    Days are numbered from 1 January 1970 by the date on the customer's wall clock, so a day may
    have 23 or 25 hours. A clock that is set back does not bring an earlier day again.

    Raises:
        ValueError: a time zone that is not known.
    """

    def __init__(self, time_zone: str = "UTC", day: int = 0, spent_nanos: int = 0) -> None:
        self.time_zone: str = time_zone
        self.day: int = day
        self.spent_nanos: int = spent_nanos
        self._ends_ms: int = 0
        self._zone: ZoneInfo | None = _zone(time_zone)

    def move(self, time_zone: str) -> None:
        """The customer's zone has changed: what it spent stays; the day ends by its new clocks."""
        if time_zone != self.time_zone:
            self._zone = _zone(time_zone)
            self.time_zone = time_zone
            self._ends_ms = 0

    def spent(self, now_ms: int) -> int:
        """Nano-units spent today, as of now."""
        if now_ms >= self._ends_ms:
            self._roll(now_ms)
        return self.spent_nanos

    def add(self, amount_nanos: int, now_ms: int) -> None:
        """Book a charge of now."""
        self.spent_nanos = self.spent(now_ms) + amount_nanos

    def _roll(self, now_ms: int) -> None:
        at = datetime.fromtimestamp(now_ms // 1000, UTC)
        if self._zone is not None:
            at = at.astimezone(self._zone)
        today = at.date()
        number = today.toordinal() - _EPOCH
        if number > self.day:
            self.day = number
            self.spent_nanos = 0
        midnight = datetime.combine(today + timedelta(days=1), datetime.min.time(), self._zone or UTC)
        # Never behind now, also where clocks skip midnight itself.
        self._ends_ms = max(int(midnight.timestamp() * 1000), now_ms + 1)


def _zone(name: str) -> ZoneInfo | None:
    if name == "UTC":
        return None  # needs no zone file, which a bare system may lack
    try:
        return ZoneInfo(name)
    except KeyError as error:
        raise ValueError(f"no such time zone: {name}") from error
