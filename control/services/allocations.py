"""Payments put against invoices: by themselves, the oldest first, or by hand; and taken off again.

An allocation moves no balance: the payment did that when it was completed. No payment is allocated above
its total, no invoice above what is open of it, and what was paid back to a customer pays no invoice.
What is released stays as a row, so that the past can be read.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Select, func, insert, select, update
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.errors import Conflict, NotFound, invalid
from control.services.fields import ROW_ID_MAX, Amount, Id, Moment, amount_nanos, moment_or_none, ms_moment
from control.services.outbox import emit
from control.services.pages import ListQuery, Page, read_page
from control.store import tables
from control.store.engine import Tx
from control.store.invoice_tables import invoice_profiles, invoices, payment_allocations
from rating.money import format_amount


class AllocationNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    payment_id: Id
    amount: Amount | None = None
    """As much as the payment has left and the invoice leaves open where it is left out."""


class Allocation(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    customer_id: int
    payment_id: int
    invoice_id: int
    amount: str
    is_automatic: bool
    created_at: Moment
    created_by: str
    released_at: Moment | None
    """When it was taken off; null while it counts."""
    released_by: str


class AllocationQuery(ListQuery, frozen=True, kw_only=True):
    customer_id: Id | None = None
    payment_id: Id | None = None
    invoice_id: Id | None = None
    released: Annotated[bool | None, Meta(description="Those that were taken off, or those that count.")] = None


class Allocated(msgspec.Struct, frozen=True, kw_only=True):
    allocations: int
    """How many were made."""


async def page(ctx: Context, query: AllocationQuery) -> Page[Allocation]:
    """The youngest first unless asked otherwise."""
    c = payment_allocations.c
    statement = select(payment_allocations)
    for name in ("customer_id", "payment_id", "invoice_id"):
        value = getattr(query, name)
        if value is not None:
            statement = statement.where(c[name] == value)
    if query.released is not None:
        statement = statement.where(c.released_ms.is_not(None) if query.released else c.released_ms.is_(None))
    ordered = msgspec.structs.replace(query, sort=query.sort or "-id")
    async with ctx.store.read() as tx:
        rows, next_cursor = await read_page(tx, payment_allocations, statement, ordered, ("id", "created_at"))
    return Page(items=[shown(row) for row in rows], next_cursor=next_cursor)


async def of_invoice(tx: Tx, invoice_id: int) -> list[Allocation]:
    c = payment_allocations.c
    rows = await tx.execute(select(payment_allocations).where(c.invoice_id == invoice_id).order_by(c.id))
    return [shown(row) for row in rows.mappings()]


async def allocate(ctx: Context, invoice_id: int, new: AllocationNew) -> Allocation:
    """Put a payment, or a part of it, against an invoice.

    Raises:
        Invalid: the payment is another customer's, or not completed.
        Conflict: there is not so much left of the payment, or not so much open.
    """
    async with ctx.change() as change:
        invoice = await invoice_row(change.tx, invoice_id)
        if invoice["status"] != "issued":
            raise Conflict("A draft is not paid: issue it first.")
        payment = await _payment_row(change.tx, invoice["customer_id"], new.payment_id)
        most = min(await _left_of(change.tx, payment), await _left_of_all(change.tx, invoice["customer_id"]))
        open_now = open_nanos(invoice)
        amount = min(most, open_now) if new.amount is None else amount_nanos("amount", new.amount)
        if amount <= 0:
            if new.amount is not None:
                raise invalid("amount", "not above 0")
            raise Conflict("There is nothing left of the payment, or nothing open of the invoice.")
        if amount > most:
            raise Conflict(f"The payment has {format_amount(max(0, most))} left.")
        if amount > open_now:
            raise Conflict(f"The invoice has {format_amount(open_now)} open.")
        return await _put(change, invoice, payment["id"], amount, is_automatic=False)


async def release(ctx: Context, allocation_id: int) -> Allocation:
    """Take an allocation off; one that was taken off before stays as it is."""
    async with ctx.change() as change:
        c = payment_allocations.c
        row = None
        if 0 < allocation_id <= ROW_ID_MAX:
            found = await change.tx.execute(select(payment_allocations).where(c.id == allocation_id))
            row = found.mappings().first()
        if row is None:
            raise NotFound("allocation", allocation_id)
        return shown(row) if row["released_ms"] is not None else await _release(change, row)


async def settle_now(ctx: Context, customer_id: int) -> Allocated:
    """Allocate what is left of a customer's payments, the oldest first, whatever its profile says."""
    async with ctx.change() as change:
        return Allocated(allocations=await settle(change, customer_id, is_asked=True))


async def settle(change: Change, customer_id: int, *, is_asked: bool = False) -> int:
    """Put what is left of payments against what is open, the oldest first of both; how many allocations it made.

    Does nothing for customers whose profile says so, unless somebody asks.
    """
    c = invoice_profiles.c
    wanted = select(c.auto_allocate).where(c.customer_id == customer_id)
    if not is_asked and (await change.tx.execute(wanted)).scalar_one_or_none() is False:
        return 0
    open_ones = [row for row in (await change.tx.execute(_open(customer_id))).mappings() if open_nanos(row) > 0]
    if not open_ones:
        return 0
    available = await _left_of_all(change.tx, customer_id)
    count = 0
    for payment in (await change.tx.execute(_payments(customer_id))).mappings():
        left = min(payment["total_nanos"] - int(payment["taken"]), available)
        while left > 0 and open_ones:
            amount = min(left, open_nanos(open_ones[0]))
            await _put(change, open_ones[0], payment["id"], amount, is_automatic=True)
            left, available, count = left - amount, available - amount, count + 1
            invoice = await invoice_row(change.tx, open_ones[0]["id"])
            open_ones = open_ones[1:] if open_nanos(invoice) <= 0 else [invoice, *open_ones[1:]]
    return count


async def release_payment(change: Change, payment_id: int) -> None:
    """The payment was taken back: it pays nothing any more."""
    for row in await _in_force(change.tx, payment_allocations.c.payment_id == payment_id):
        await _release(change, row)


async def trim(change: Change, invoice_id: int) -> None:
    """After a credit note: take off, the youngest first, what is paid above what is left to pay."""
    rows = await _in_force(change.tx, payment_allocations.c.invoice_id == invoice_id)
    for row in reversed(rows):
        invoice = await invoice_row(change.tx, invoice_id)
        over = invoice["paid_nanos"] - max(0, invoice["total_nanos"] - invoice["credited_nanos"])
        if over <= 0:
            return
        if row["amount_nanos"] > over:
            # What stays is put first, so that the invoice is never open in between.
            kept = row["amount_nanos"] - over
            await _put(change, invoice, row["payment_id"], kept, is_automatic=row["is_automatic"])
        await _release(change, row)


async def invoice_row(tx: Tx, invoice_id: int) -> RowMapping:
    row = None
    if 0 < invoice_id <= ROW_ID_MAX:
        query = select(invoices).where(invoices.c.id == invoice_id, invoices.c.archived_ms.is_(None))
        row = (await tx.execute(query)).mappings().first()
    if row is None:
        raise NotFound("invoice", invoice_id)
    return row


def open_nanos(invoice: RowMapping) -> int:
    """What is still to be paid of it."""
    return max(0, int(invoice["total_nanos"] - invoice["credited_nanos"] - invoice["paid_nanos"]))


async def move(change: Change, invoice: RowMapping, **by: int) -> RowMapping:
    """Move an invoice's sums (`paid_nanos`, `credited_nanos`), and tell when nothing is open any more."""
    values: dict[str, Any] = {name: invoice[name] + amount for name, amount in by.items()}
    after = {**invoice, **values}
    still_open = max(0, after["total_nanos"] - after["credited_nanos"] - after["paid_nanos"])
    was_settled = invoice["settled_ms"] is not None
    if still_open and was_settled:
        values["settled_ms"] = None
    elif not still_open and not was_settled:
        values["settled_ms"] = change.now_ms
    values |= {"row_version": invoice["row_version"] + 1, "updated_ms": change.now_ms}
    written = update(invoices).where(invoices.c.id == invoice["id"]).values(**values).returning(invoices)
    row: RowMapping = (await change.tx.execute(written)).mappings().one()
    if not still_open and not was_settled:
        payload = {
            "customer_id": row["customer_id"],
            "invoice_id": row["id"],
            "number": row["number"],
            "total": format_amount(row["total_nanos"]),
            "currency": row["currency"],
        }
        await emit(change, "invoice.paid", payload, customer_id=row["customer_id"])
    return row


def shown(row: RowMapping) -> Allocation:
    return Allocation(
        id=row["id"],
        customer_id=row["customer_id"],
        payment_id=row["payment_id"],
        invoice_id=row["invoice_id"],
        amount=format_amount(row["amount_nanos"]),
        is_automatic=row["is_automatic"],
        created_at=ms_moment(row["created_ms"]),
        created_by=row["created_by"],
        released_at=moment_or_none(row["released_ms"]),
        released_by=row["released_by"],
    )


async def _put(change: Change, invoice: RowMapping, payment_id: int, amount: int, *, is_automatic: bool) -> Allocation:
    values = {
        "customer_id": invoice["customer_id"],
        "payment_id": payment_id,
        "invoice_id": invoice["id"],
        "amount_nanos": amount,
        "is_automatic": is_automatic,
        "created_by": change.actor.name,
        "created_ms": change.now_ms,
    }
    made = await change.tx.execute(insert(payment_allocations).values(**values).returning(payment_allocations))
    allocation = shown(made.mappings().one())
    await move(change, invoice, paid_nanos=amount)
    await change.audit("create", "allocation", allocation.id, after=allocation)
    return allocation


async def _release(change: Change, row: RowMapping) -> Allocation:
    c = payment_allocations.c
    values = {"released_ms": change.now_ms, "released_by": change.actor.name}
    released = update(payment_allocations).where(c.id == row["id"]).values(**values).returning(payment_allocations)
    after = shown((await change.tx.execute(released)).mappings().one())
    await move(change, await invoice_row(change.tx, row["invoice_id"]), paid_nanos=-row["amount_nanos"])
    await change.audit("release", "allocation", row["id"], before=shown(row), after=after)
    return after


async def _in_force(tx: Tx, condition: Any) -> list[RowMapping]:
    c = payment_allocations.c
    query = select(payment_allocations).where(condition, c.released_ms.is_(None)).order_by(c.id)
    return list((await tx.execute(query)).mappings())


def _open(customer_id: int) -> Select[Any]:
    c = invoices.c
    return (
        select(invoices)
        .where(c.customer_id == customer_id, c.status == "issued", c.archived_ms.is_(None), c.settled_ms.is_(None))
        .order_by(c.serial)
    )


def _payments(customer_id: int) -> Select[Any]:
    """Payments that count and have something left, with what is taken of them, the oldest first."""
    c, a = tables.payments.c, payment_allocations.c
    taken = (
        select(func.coalesce(func.sum(a.amount_nanos), 0))
        .where(a.payment_id == c.id, a.released_ms.is_(None))
        .scalar_subquery()
    )
    return (
        select(tables.payments, taken.label("taken"))
        .where(c.customer_id == customer_id, _counts(), c.total_nanos > taken)
        .order_by(c.completed_ms, c.id)
    )


def _counts() -> Any:
    c = tables.payments.c
    return (c.status == "completed") & c.reversed_ms.is_(None)


async def _payment_row(tx: Tx, customer_id: int, payment_id: int) -> RowMapping:
    c = tables.payments.c
    query = select(tables.payments).where(c.id == payment_id, c.customer_id == customer_id)
    row = (await tx.execute(query)).mappings().first()
    if row is None:
        raise invalid("payment_id", f"the customer has no payment {payment_id}")
    if row["status"] != "completed" or row["reversed_ms"] is not None:
        raise invalid("payment_id", "the payment does not count")
    return row


async def _left_of(tx: Tx, payment: RowMapping) -> int:
    a = payment_allocations.c
    taken = select(func.coalesce(func.sum(a.amount_nanos), 0)).where(
        a.payment_id == payment["id"], a.released_ms.is_(None)
    )
    return int(payment["total_nanos"]) - int((await tx.execute(taken)).scalar_one())


async def _left_of_all(tx: Tx, customer_id: int) -> int:
    """What a customer has paid, less what went back to it, less what is allocated."""
    c, a = tables.payments.c, payment_allocations.c
    paid = select(func.coalesce(func.sum(c.total_nanos), 0)).where(c.customer_id == customer_id, _counts())
    taken = select(func.coalesce(func.sum(a.amount_nanos), 0)).where(
        a.customer_id == customer_id, a.released_ms.is_(None)
    )
    return int((await tx.execute(paid)).scalar_one()) - int((await tx.execute(taken)).scalar_one())
