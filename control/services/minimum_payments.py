"""The least that a customer pays per day, week or month to stay active, on its own clocks.

The first whole period after the rule is set counts as the first one, and so does the first whole one
after somebody made the customer active again. At the end of each, what was paid within it is added up:
completed payments by the time of their completion, less those paid back, without those that were
reversed since. Less than `minimum_payment` makes the customer inactive. Periods that ended while nobody
looked are judged one by one, the oldest first.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import structlog
from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import SQLAlchemyError

from control.services.context import Change, Context
from control.services.customers import CUSTOMERS
from control.services.errors import ServiceError
from control.services.fields import ms_moment
from control.services.one_by_one import work_through
from control.services.periods import Frequency, Rule, period_at
from control.store import tables
from control.store.engine import Tx
from control.store.minimum_payment_tables import minimum_payment_periods as periods
from rating.money import format_amount

LOOK_S: Final = 30.0
"""How late after midnight a period is judged, and how soon after it is set a rule counts."""
STATUSES: Final = ("active", "penalty")

log = structlog.get_logger("control.minimum_payments")


async def run(ctx: Context) -> None:
    """Look until cancelled; what fails is tried again."""
    while True:
        try:
            count = await run_due(ctx)
            if count:
                log.info("customers paid less than their minimum", count=count)
        except (SQLAlchemyError, ServiceError, OSError) as error:
            log.error("minimum payments were not looked at", reason=str(error))
        await asyncio.sleep(LOOK_S)


async def run_due(ctx: Context) -> int:
    """Judge the periods that are over, and begin those of new rules; how many customers became inactive."""
    now_ms = ctx.now_ms()
    async with ctx.store.read() as tx:
        ids = [row["id"] for row in await _rows(tx) if _has_work(row, now_ms)]

    async def judge(change: Change, customer_id: int) -> int:
        rows = [row for row in await _rows(change.tx, customer_id) if _has_work(row, change.now_ms)]
        return await _step(ctx, change, rows[0]) if rows else 0

    return await work_through(ctx, "minimum payment of customer", ids, judge)


def next_start_ms(kind: Frequency, time_zone: str, at_ms: int) -> int:
    """When the first day, week (from Monday) or month after this time begins there."""
    return period_at(Rule(kind), at_ms, time_zone).end_ms(time_zone)


async def _rows(tx: Tx, customer_id: int | None = None) -> list[RowMapping]:
    """Customers with a rule or with a period, and both."""
    customers = tables.customers
    query = (
        select(
            *(customers.c[name] for name in ("id", "status", "archived_ms", "minimum_payment_nanos")),
            customers.c.minimum_payment_period.label("rule"),
            customers.c.time_zone.label("zone"),
            periods,
        )
        .outerjoin(periods, periods.c.customer_id == customers.c.id)
        .where(or_(customers.c.minimum_payment_period.is_not(None), periods.c.customer_id.is_not(None)))
        .order_by(customers.c.id)
    )
    if customer_id is not None:
        query = query.where(customers.c.id == customer_id)
    return list((await tx.execute(query)).mappings())


def _is_watched(row: RowMapping) -> bool:
    is_ruled = row["rule"] is not None and bool(row["minimum_payment_nanos"])
    return is_ruled and row["archived_ms"] is None and row["status"] in STATUSES


def _is_as_ruled(row: RowMapping) -> bool:
    return (row["kind"], row["time_zone"]) == (row["rule"], row["zone"])


def _has_work(row: RowMapping, now_ms: int) -> bool:
    has_period = row["customer_id"] is not None
    if not _is_watched(row):
        return has_period
    return not has_period or not _is_as_ruled(row) or bool(row["ends_ms"] <= now_ms)


async def _step(ctx: Context, change: Change, row: RowMapping) -> bool:
    """Bring one customer's period to what it should be; True where it has missed its minimum."""
    if not _is_watched(row):
        await _forget(change, row["id"])
        return False
    if row["customer_id"] is None or not _is_as_ruled(row):
        await _forget(change, row["id"])
        starts_ms = next_start_ms(row["rule"], row["zone"], change.now_ms)
        await change.tx.execute(insert(periods).values(customer_id=row["id"], **_period(row, starts_ms)))
        return False
    starts_ms, ends_ms = row["starts_ms"], row["ends_ms"]
    while ends_ms <= change.now_ms:
        paid = await _paid(change.tx, row["id"], starts_ms, ends_ms)
        if paid < row["minimum_payment_nanos"]:
            await _deactivate(ctx, change, row, starts_ms, ends_ms, paid)
            return True
        starts_ms, ends_ms = ends_ms, next_start_ms(row["rule"], row["zone"], ends_ms)
    of_customer = periods.c.customer_id == row["id"]
    await change.tx.execute(update(periods).where(of_customer).values(starts_ms=starts_ms, ends_ms=ends_ms))
    return False


def _period(row: RowMapping, starts_ms: int) -> dict[str, Any]:
    ends_ms = next_start_ms(row["rule"], row["zone"], starts_ms)
    return {"kind": row["rule"], "time_zone": row["zone"], "starts_ms": starts_ms, "ends_ms": ends_ms}


async def _forget(change: Change, customer_id: int) -> None:
    await change.tx.execute(delete(periods).where(periods.c.customer_id == customer_id))


async def _paid(tx: Tx, customer_id: int, since_ms: int, until_ms: int) -> int:
    c = tables.payments.c
    query = select(func.coalesce(func.sum(c.total_nanos), 0)).where(
        c.customer_id == customer_id,
        c.status == "completed",
        c.reversed_ms.is_(None),
        c.completed_ms >= since_ms,
        c.completed_ms < until_ms,
    )
    return int((await tx.execute(query)).scalar_one())


async def _deactivate(
    ctx: Context, change: Change, row: RowMapping, starts_ms: int, ends_ms: int, paid_nanos: int
) -> None:
    await _forget(change, row["id"])
    missed = {
        "from": ms_moment(starts_ms),
        "to": ms_moment(ends_ms),
        "paid": format_amount(paid_nanos),
        "minimum_payment": format_amount(row["minimum_payment_nanos"]),
    }
    await change.audit("miss_minimum_payment", "customer", row["id"], after=missed)
    await CUSTOMERS.update_in(ctx, change, row["id"], {"status": "inactive", "penalty_until": None})
