"""Invoices of which something is open after their due day: each is told of once."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select, update
from sqlalchemy.engine import RowMapping

from control.services import allocations
from control.services.context import Change, Context
from control.services.outbox import emit
from control.store.invoice_tables import invoices
from rating.money import format_amount

INVOICES_A_STEP: Final = 200
"""Told of in one transaction: all of a month may be overdue at one midnight."""


async def mark_overdue(ctx: Context) -> int:
    """Tell, once of each, that an invoice's due day is over and something is open; how many."""
    c = invoices.c
    due = select(invoices).where(
        c.status == "issued",
        c.settled_ms.is_(None),
        c.overdue_ms.is_(None),
        c.archived_ms.is_(None),
        c.due_ms <= ctx.now_ms(),
    )
    async with ctx.store.read() as tx:
        if (await tx.execute(due.limit(1))).first() is None:
            return 0
    count = 0
    while True:
        async with ctx.change() as change:
            rows = list((await change.tx.execute(due.order_by(c.id).limit(INVOICES_A_STEP))).mappings())
            for row in rows:
                await _tell_overdue(change, row)
        count += len(rows)
        if len(rows) < INVOICES_A_STEP:
            return count


async def _tell_overdue(change: Change, row: RowMapping) -> None:
    await change.tx.execute(update(invoices).where(invoices.c.id == row["id"]).values(overdue_ms=change.now_ms))
    payload = {
        "customer_id": row["customer_id"],
        "invoice_id": row["id"],
        "number": row["number"],
        "open": format_amount(allocations.open_nanos(row)),
        "currency": row["currency"],
        "due_on": row["due_day"],
    }
    await emit(change, "invoice.overdue", payload, customer_id=row["customer_id"])
