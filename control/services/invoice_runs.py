"""Invoices that are made by themselves: each customer's period, once it is over, one after the other.

A period without entries makes none. What cannot be done now (a draft stands before it, the installation
does not say who sends invoices) is tried at every look, and holds up nobody else.
"""

from __future__ import annotations

from datetime import date
from typing import Final

import structlog
from sqlalchemy import select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import SQLAlchemyError

from control.services import invoices
from control.services.context import Context
from control.services.errors import ServiceError
from control.services.fields import ms_moment
from control.services.invoicing import profile_of
from control.services.payments import live_customer_row
from control.services.periods import day_start_ms, period_of
from control.store import tables
from control.store.engine import Tx
from control.store.invoice_tables import invoice_profiles
from control.store.invoice_tables import invoices as invoice_table

log = structlog.get_logger("control.invoices")

LATE_MS: Final = 120_000
"""A period is invoiced so long after its end: calls and packages that count for it are in the ledger by then."""


async def run_due(ctx: Context) -> int:
    """Make what is due; how many invoices."""
    async with ctx.store.read() as tx:
        rows = await _due(ctx, tx)
    if not rows or not await ctx.wait_read(invoices.READ_WAIT_S):
        return 0
    count = 0
    for row in rows:
        try:
            count += await _run(ctx, row)
        except (ServiceError, SQLAlchemyError) as error:
            log.error("a customer was not invoiced", customer_id=row["customer_id"], reason=str(error))
    return count


async def _due(ctx: Context, tx: Tx) -> list[RowMapping]:
    """Profiles whose period is over, but those of customers whose draft stands in the way."""
    p, i, customers = invoice_profiles.c, invoice_table.c, tables.customers
    today = ms_moment(ctx.now_ms()).date().isoformat()
    draft = select(i.id).where(i.customer_id == p.customer_id, i.status == "draft", i.archived_ms.is_(None))
    query = (
        select(invoice_profiles, customers.c.time_zone.label("zone"))
        .join(customers, customers.c.id == p.customer_id)
        .where(customers.c.archived_ms.is_(None), p.frequency != "never", p.since_day <= today, ~draft.exists())
        .order_by(p.customer_id)
    )
    if not ctx.billing.seller_name:
        query = query.where(p.auto_issue.is_(False))
    return [row for row in (await tx.execute(query)).mappings() if _is_over(row, ctx.now_ms())]


def _is_over(row: RowMapping, now_ms: int) -> bool:
    rule = invoices.rule_of(profile_of(row))
    return day_start_ms(period_of(rule, date.fromisoformat(row["since_day"])).until, row["zone"]) + LATE_MS <= now_ms


async def _run(ctx: Context, row: RowMapping) -> int:
    """Invoice the periods of one customer that are over, until one is not, or a draft stands in the way."""
    profile = profile_of(row)
    rule, customer_id = invoices.rule_of(profile), row["customer_id"]
    first = date.fromisoformat(row["since_day"])
    count = 0
    while True:
        period = period_of(rule, first)
        if period.end_ms(row["zone"]) + LATE_MS > ctx.now_ms():
            return count
        async with ctx.store.read() as tx:
            customer = await live_customer_row(tx, customer_id)
            before = await invoices.last_row(tx, customer_id)
            span = invoices.make_span(row["zone"], first, period.until, before)
            window, sums, opening = await invoices.read_span(tx, customer_id, span)
        async with ctx.change() as change:
            await invoices.check_unchanged(change.tx, customer_id, span)
            if not sums.lines or span.is_empty:
                skipped = update(invoice_profiles).where(invoice_profiles.c.customer_id == customer_id)
                await change.tx.execute(skipped.values(since_day=period.until.isoformat()))
            else:
                made = await invoices.insert_draft(change, customer, span, window, sums, opening)
                count += 1
                if not profile.auto_issue:
                    return count
                await invoices.issue_in(ctx, change, made, None)
        first = period.until
