"""Which stored calls a recalculation looks at: a range of INVITE times, walked in bounded steps."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Select, exists, or_, select
from sqlalchemy.engine import RowMapping

from control.services.errors import invalid
from control.services.fields import moment_ms
from control.services.recalculation_views import Filters, Rule
from control.services.repricing import TIMER_CAUSES
from control.store import tables
from control.store.engine import Tx
from control.store.recalculation_tables import lines

CALLS_A_STEP: Final = 500
"""Some 20 ms of pricing: the API answers others between two steps."""

_READ: Final = (
    *("number", "id", "customer_id", "provider_id", "route_id", "dialled_out", "invited_ms", "answered_ms"),
    *("duration_ms", "billed_s", "cause", "currency", "card_id", "revision_id", "prefix", "rate_nanos"),
    *("net_nanos", "tax_nanos", "gross_nanos", "attempts"),
)


class Calls:
    """The calls that one recalculation is about, in the order of their INVITEs."""

    def __init__(self, filters: Filters, rule: Rule, upto_number: int, zones: Mapping[int, str]) -> None:
        """
        Args:
            upto_number: of the last CDR that was there when it began; later ones are left out.
            zones: time zones by customer.
        """
        self._filters = filters
        self._rule = rule
        self._upto = upto_number
        self._zones = zones
        self._days: dict[str, tuple[int, int]] = {}

    async def step(self, tx: Tx, after: tuple[int, int]) -> list[RowMapping]:
        """The next CDRs behind this INVITE time and number; what is not of their customer's day is among them."""
        cdrs = tables.cdrs.c
        at_ms, number = after
        # By the time first, which has an index; the number only where times are equal.
        further = (cdrs.invited_ms >= at_ms) & or_(cdrs.invited_ms > at_ms, cdrs.number > number)
        query = self._filtered().where(further).order_by(cdrs.invited_ms, cdrs.number).limit(CALLS_A_STEP)
        return list((await tx.execute(query)).mappings())

    def is_wanted(self, cdr: RowMapping) -> bool:
        """Whether the INVITE came on the day asked for, on the wall clocks of the call's customer."""
        if self._filters.day is None:
            return True
        from_ms, to_ms = self._day(self._zones.get(cdr["customer_id"], "UTC"))
        invited_ms: int = cdr["invited_ms"]
        return from_ms <= invited_ms < to_ms

    def _filtered(self) -> Select[Any]:
        cdrs, filters, rule = tables.cdrs.c, self._filters, self._rule
        query = select(*(cdrs[name] for name in _READ)).where(cdrs.answered_ms.is_not(None), cdrs.number <= self._upto)
        for name in ("customer_id", "route_id", "card_id", "revision_id", "provider_id"):
            value = getattr(filters, name)
            if value is not None:
                query = query.where(cdrs[name] == value)
        if filters.since is not None:
            query = query.where(cdrs.invited_ms >= moment_ms("filters.from", filters.since))
        if filters.until is not None:
            query = query.where(cdrs.invited_ms < moment_ms("filters.to", filters.until))
        if filters.day is not None:
            from_ms, to_ms = self._widest_day()
            query = query.where(cdrs.invited_ms >= from_ms, cdrs.invited_ms < to_ms)
        if filters.prefix is not None:
            query = query.where(cdrs.dialled_out.startswith(filters.prefix, autoescape=True))
        is_cap_alone = rule.max_duration_s is not None and rule.card_id is None and rule.revision_id is None
        causes = filters.causes or (sorted(TIMER_CAUSES) if is_cap_alone else None)
        if causes is not None:
            query = query.where(cdrs.cause.in_(causes))
        if is_cap_alone:
            # What is not longer keeps its price, unless an earlier rule has given it another.
            was_changed = exists().where(lines.c.cdr_number == cdrs.number, lines.c.is_booked)
            query = query.where(or_(cdrs.duration_ms > (rule.max_duration_s or 0) * 1000, was_changed))
        return query

    def _widest_day(self) -> tuple[int, int]:
        if self._filters.customer_id is not None:
            return self._day(self._zones.get(self._filters.customer_id, "UTC"))
        days = [self._day(zone) for zone in {"UTC", *self._zones.values()}]
        return min(start for start, _ in days), max(end for _, end in days)

    def _day(self, zone: str) -> tuple[int, int]:
        found = self._days.get(zone)
        if found is None:
            assert self._filters.day is not None, "asked of days only"
            found = self._days[zone] = day_bounds(self._filters.day, zone)
        return found


def day_bounds(day: str, zone: str) -> tuple[int, int]:
    """A day on the wall clocks of a zone, as half-open milliseconds since the epoch.

    A day lasts 23 or 25 hours where clocks are put on or back in it, and begins at the first moment
    that is called by its name where midnight is skipped.

    Raises:
        Invalid: no such day.
    """
    try:
        first = date.fromisoformat(day)
        return _midnight_ms(first, zone), _midnight_ms(first + timedelta(days=1), zone)
    except (ValueError, OverflowError) as error:
        raise invalid("filters.day", "not a day (2026-11-22)") from error


def _midnight_ms(day: date, zone: str) -> int:
    # Of an hour that clocks read twice the first counts, and of a skipped one the offset before the
    # gap: both come out at the moment in which the day begins (PEP 495).
    local = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    return moment_ms("filters.day", local.astimezone(UTC))


def check_filters(filters: Filters) -> None:
    """Refuse filters that name no time, or none that exists."""
    if filters.day is not None:
        if filters.since is not None or filters.until is not None:
            raise invalid("filters.day", "a day, or from and to; not both")
        day_bounds(filters.day, "UTC")
    elif filters.since is None:
        raise invalid("filters.from", "needed, or day")
    else:
        since_ms = moment_ms("filters.from", filters.since)
        if filters.until is not None and moment_ms("filters.to", filters.until) <= since_ms:
            raise invalid("filters.to", "not after from")


async def read_cdrs(tx: Tx, numbers: list[int]) -> list[RowMapping]:
    cdrs = tables.cdrs.c
    query = select(*(cdrs[name] for name in _READ)).where(cdrs.number.in_(numbers)).order_by(cdrs.number)
    return list((await tx.execute(query)).mappings())


async def read_zones(tx: Tx) -> dict[int, str]:
    """Time zones by customer, of archived ones too: their calls stay."""
    customers = tables.customers.c
    return {row.id: row.time_zone for row in await tx.execute(select(customers.id, customers.time_zone))}
