"""The summary of a customer's card, and of a provider's: live, by day and by month, on its own clocks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Table, select

from control.services.context import Context
from control.services.errors import NotFound
from control.services.fields import Label, Moment, check_time_zone, ms_moment
from control.services.load_watch import Busy
from control.services.periods import day_at, day_start_ms
from control.services.rollups import QUARTER_MS
from control.services.stats import Figures, figures
from control.services.stats_sums import Asked, is_complete, read_sums
from control.store import tables
from control.store.rollup_tables import SUMS, call_rollups, provider_rollups


class LiveNow(msgspec.Struct, frozen=True, kw_only=True):
    is_live: bool
    """False: the switch is away, and what is up is not known."""
    channels: int
    cps: float


class PeriodFigures(Figures, frozen=True, kw_only=True):
    at: Moment
    until: Moment


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    time_zone: str
    is_complete: bool
    """False while calls that were stored before there were sums are still being added."""
    live: LiveNow
    today: PeriodFigures
    yesterday: PeriodFigures
    this_month: PeriodFigures
    last_month: PeriodFigures


class SummaryQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    time_zone: Annotated[Label | None, Meta(description="Left out: the customer's, or UTC.")] = None


async def of_customer(ctx: Context, customer_id: int, query: SummaryQuery) -> Summary:
    c = tables.customers.c
    return await _read(ctx, query, call_rollups, customer_id, "customer", (c.currency, c.time_zone))


async def of_provider(ctx: Context, provider_id: int, query: SummaryQuery) -> Summary:
    c = tables.providers.c
    return await _read(ctx, query, provider_rollups, provider_id, "provider", (c.currency,))


async def _read(
    ctx: Context, query: SummaryQuery, table: Table, row_id: int, noun: str, columns: tuple[Any, ...]
) -> Summary:
    look = await ctx.load.now()
    busy = (look.customers if noun == "customer" else look.providers).get(row_id, Busy())
    now_ms = ctx.now_ms()
    async with ctx.store.read() as tx:
        row = (await tx.execute(select(*columns).where(columns[0].table.c.id == row_id))).first()
        if row is None:
            raise NotFound(noun, row_id)
        zone = query.time_zone or (row[1] if len(row) > 1 else "UTC")
        check_time_zone("time_zone", zone)
        today = day_at(now_ms, zone)
        periods = _periods(today)
        start_ms = min(day_start_ms(first, zone) for first, _ in periods.values())
        asked = Asked(
            table=table,
            column=None,
            where=(table.primary_key.columns[0] == row_id,),
            owner=None,
            step="day",
            start_ms=start_ms,
            end_ms=now_ms - now_ms % QUARTER_MS + QUARTER_MS,
            time_zone=zone,
        )
        found = await read_sums(tx, asked)
        complete = await is_complete(tx)
    # A currency is never changed, and a call is priced in its customer's; so is what its vendors take for it.
    days = [(slot.start_ms, sums) for (slot, _, currency), sums in found.items() if currency == row[0]]
    shown = {
        name: _period(name, first, until, zone, row[0], table, days, now_ms) for name, (first, until) in periods.items()
    }
    live = LiveNow(is_live=look.is_live, channels=busy.channels, cps=busy.cps)
    return Summary(time_zone=zone, is_complete=complete, live=live, **shown)


def _periods(today: date) -> dict[str, tuple[date, date]]:
    """First days, and first days after."""
    month = today.replace(day=1)
    last_month = (month - timedelta(days=1)).replace(day=1)
    tomorrow = today + timedelta(days=1)
    return {
        "today": (today, tomorrow),
        "yesterday": (today - timedelta(days=1), today),
        "this_month": (month, (month + timedelta(days=32)).replace(day=1)),
        "last_month": (last_month, month),
    }


def _period(
    name: str,
    first: date,
    until: date,
    zone: str,
    currency: str,
    table: Table,
    days: Iterable[tuple[int, dict[str, Any]]],
    now_ms: int,
) -> PeriodFigures:
    start_ms, end_ms = day_start_ms(first, zone), day_start_ms(until, zone)
    names = SUMS[table.name]
    total: dict[str, Any] = {**dict.fromkeys(names, 0), "codes": {}}
    for at_ms, sums in days:
        if not start_ms <= at_ms < end_ms:
            continue
        for each in names:
            total[each] += sums[each]
        for code, count in sums["codes"].items():
            total["codes"][code] = total["codes"].get(code, 0) + count
    return PeriodFigures(**figures(total, currency), at=ms_moment(start_ms), until=ms_moment(end_ms))
