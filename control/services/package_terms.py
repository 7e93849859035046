"""What was agreed on when a package was assigned, and the days for which it holds."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, timedelta
from typing import Any

import msgspec
from sqlalchemy import Select, select
from sqlalchemy.engine import RowMapping

from control.services.packages import DurationUnit
from control.services.periods import LAST_DAY, Frequency, Period, Rule, day_at, period_of, within
from control.store import tables
from control.store.package_tables import customer_packages
from rating.money import HALF_UP, PPM, STEPS, round_ratio


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """The catalogue's row, as it was; the names are its columns'."""

    name: str
    currency: str
    duration: int | None
    duration_unit: DurationUnit
    cost_nanos: int
    retail_nanos: int
    setup_cost_nanos: int
    setup_retail_nanos: int
    frequency: Frequency
    day: int
    minimum_days: int
    free_minutes: int | None
    free_destination: str
    minimum_spend_nanos: int | None

    @property
    def rule(self) -> Rule:
        return Rule(self.frequency, self.day)


def terms_of(package: RowMapping) -> Terms:
    return Terms(**{name: package[name] for name in Terms.__struct_fields__})


def until_day(terms: Terms, start: date, end: date | None) -> date | None:
    """The first day that does not belong to an assignment any more; None: it goes on."""
    ends = [] if end is None else [end + timedelta(days=1)]
    if terms.duration is not None:
        ends.append(day_after(start, terms.duration, terms.duration_unit))
    return min(ends, default=None)


def day_after(start: date, count: int, unit: DurationUnit) -> date:
    """So much later on the calendar; where a month has no such day, its last. Not beyond what periods know."""
    if unit in ("day", "week"):
        days = count * (7 if unit == "week" else 1)
        return min(start + timedelta(days=min(days, (LAST_DAY - start).days)), LAST_DAY)
    months = start.year * 12 + start.month - 1 + count * (12 if unit == "year" else 1)
    year, month = months // 12, months % 12 + 1
    if year >= LAST_DAY.year:
        return LAST_DAY
    return date(year, month, min(start.day, monthrange(year, month)[1]))


def with_owner() -> Select[Any]:
    """Assignments with what charging them needs of their customers and these customers' clients."""
    customers, clients = tables.customers, tables.clients
    return (
        select(
            customer_packages,
            customers.c.time_zone.label("zone"),
            customers.c.tax_ppm.label("tax_ppm"),
            customers.c.archived_ms.label("customer_archived_ms"),
            clients.c.status.label("client_status"),
            clients.c.starts_at_ms.label("client_starts_ms"),
            clients.c.ends_at_ms.label("client_ends_ms"),
        )
        .join(customers, customers.c.id == customer_packages.c.customer_id)
        .outerjoin(clients, clients.c.id == customers.c.client_id)
        .where(customer_packages.c.archived_ms.is_(None))
    )


class Assignment:
    """A row of `with_owner`, read."""

    def __init__(self, row: RowMapping) -> None:
        self.row = row
        self.id: int = row["id"]
        self.customer_id: int = row["customer_id"]
        self.quantity: int = row["quantity"]
        self.terms = msgspec.convert(row["terms"], Terms)
        self.rule = self.terms.rule
        self.zone: str = row["zone"]
        self.tax_ppm: int = row["tax_ppm"]
        self.start = date.fromisoformat(row["start"])
        self.first, self.until = _days(row, self.start, self.zone)
        self.is_billed = row["customer_archived_ms"] is None and not _is_without(row)
        """All are, suspended clients and inactive customers too, but for who is archived and clients that have not
        begun or that left without a day on which their contract ended."""

    def part_of(self, period: Period) -> Period | None:
        """What of a period belongs to it."""
        return within(period, self.first, self.until)

    def period_at(self, at_ms: int) -> Period:
        return period_of(self.rule, day_at(at_ms, self.zone))


def _is_without(row: RowMapping) -> bool:
    status: str | None = row["client_status"]
    return status in ("new", "scheduled") or (status == "inactive" and row["client_ends_ms"] is None)


def _days(row: RowMapping, start: date, zone: str) -> tuple[date, date]:
    """From when until before when it is billed: its own days, within those of the customer's client."""
    first = start
    until = LAST_DAY if row["until_day"] is None else date.fromisoformat(row["until_day"])
    if row["client_starts_ms"] is not None:
        first = max(first, day_at(row["client_starts_ms"], zone))
    if row["client_ends_ms"] is not None:
        # A contract ends when its last day is over: at midnight that is the day before.
        until = min(until, day_at(row["client_ends_ms"] - 1, zone) + timedelta(days=1))
    return first, max(first, until)


def tax_nanos(net_nanos: int, tax_ppm: int, decimals: int) -> int:
    """Of a net amount, rounded once, halves away from 0, to what the currency is paid in."""
    return round_ratio(net_nanos * tax_ppm, PPM, STEPS[decimals], HALF_UP)
