"""Payments: money that customers bring, or take back.

A pending one counts for nothing. A completed one is an entry of the ledger and stays: it is taken
back by another entry. What stands behind `#` in a description is for staff alone.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import insert, select, update
from sqlalchemy.engine import RowMapping

from control.services import allocations, ledger
from control.services.context import Change, Context
from control.services.days import Bound, since_ms, until_ms
from control.services.errors import Conflict, NotFound, Reference, invalid
from control.services.fields import ROW_ID_MAX, Amount, Label, Moment, amount_nanos, moment_or_none, ms_moment
from control.services.idempotency import Answer, Done, once
from control.services.pages import ListQuery, Page, contains, read_page
from control.store import tables
from control.store.engine import Tx
from rating.money import format_amount

PATH: Final = "/api/v1/customers/{customer_id}/payments/{payment_id}"

Status = Literal["pending", "completed", "cancelled"]
Text = Annotated[str, Meta(max_length=1_000, pattern=r"^(?![\s\S]*\x00)")]
Reason = Annotated[str, Meta(min_length=1, max_length=1_000, pattern=r"^(?![\s\S]*\x00)")]


class PaymentNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    total: Amount
    """Below 0 it goes back to the customer, and needs a reason."""
    description: Text = ""
    """What stands behind a `#` is for staff alone."""
    status: Status = "completed"
    """`pending` counts for nothing until it is completed, `cancelled` is only written down."""
    reason: Text = ""


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    row_version: int
    customer_id: int
    status: Status
    total: str
    currency: str
    description: str
    reason: str
    key: str | None
    """`Idempotency-Key` that it was made under."""
    entry_id: int | None
    """Of the ledger; null while it does not count."""
    is_in_switch: bool
    """Whether the balance that calls are held against has it."""
    reversal_entry_id: int | None
    completed_at: Moment | None
    reversed_at: Moment | None
    created_at: Moment
    created_by: str
    updated_at: Moment


class PaymentQuery(ListQuery, frozen=True, kw_only=True, rename={"since": "from", "until": "to"}):
    status: Status | None = None
    key: Label | None = None
    since: Bound | None = None
    """Made from this time on …"""
    until: Bound | None = None
    """… and before this one. Days and months are those of the customer, and count whole."""


class ReversalNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reason: Reason


async def page(ctx: Context, customer_id: int, query: PaymentQuery) -> Page[Payment]:
    """The youngest first unless asked otherwise."""
    payments = tables.payments
    statement = select(payments).where(payments.c.customer_id == customer_id)
    for name in ("status", "key"):
        value = getattr(query, name)
        if value is not None:
            statement = statement.where(payments.c[name] == value)
    if query.search:
        statement = statement.where(contains(payments, "description", query.search))
    ordered = msgspec.structs.replace(query, sort=query.sort or "-id")
    async with ctx.store.read() as tx:
        customer = await customer_row(tx, customer_id)
        if query.since is not None:
            since = since_ms("from", query.since, customer["time_zone"])
            statement = statement.where(payments.c.created_ms >= since)
        if query.until is not None:
            until = until_ms("to", query.until, customer["time_zone"])
            statement = statement.where(payments.c.created_ms < until)
        rows, next_cursor = await read_page(tx, payments, statement, ordered, ("id", "created_at", "updated_at"))
    return Page(items=[_shown(ctx, row, customer) for row in rows], next_cursor=next_cursor)


async def get(ctx: Context, customer_id: int, payment_id: int) -> Payment:
    async with ctx.store.read() as tx:
        customer = await customer_row(tx, customer_id)
        return _shown(ctx, await _row(tx, customer_id, payment_id), customer)


async def create(ctx: Context, customer_id: int, new: PaymentNew, key: str = "") -> Answer:
    """Take a payment; completed, it is in the ledger and in the switch's balance.

    Raises:
        Invalid: a total of 0, one below the customer's `minimum_payment`, one below 0 without a reason.
    """
    total = amount_nanos("total", new.total)
    if not total:
        raise invalid("total", "a payment of nothing")
    if total < 0 and not new.reason.strip():
        raise invalid("reason", "a payment back to the customer needs one")

    async def act(change: Change) -> Done:
        customer = await live_customer_row(change.tx, customer_id)
        least = customer["minimum_payment_nanos"]
        if least is not None and 0 < total < least:
            raise invalid("total", f"below the smallest payment accepted, {format_amount(least)}")
        values = {
            "customer_id": customer_id,
            "status": "cancelled" if new.status == "cancelled" else "pending",
            "total_nanos": total,
            "description": new.description,
            "reason": new.reason,
            "key": key or None,
            "created_by": change.actor.name,
            "created_ms": change.now_ms,
            "updated_ms": change.now_ms,
        }
        payments = tables.payments
        made = (await change.tx.execute(insert(payments).values(**values).returning(payments))).mappings().one()
        row = await _complete(change, made) if new.status == "completed" else made
        return await _done(change, "create", None, row, customer)

    return await once(ctx, customer_id, key, ["payment", customer_id, new], 201, act)


async def complete(ctx: Context, customer_id: int, payment_id: int, key: str = "") -> Answer:
    """Make a pending payment count; one that counts already stays as it is."""

    async def act(change: Change) -> Done:
        customer, row = await _own_rows(change.tx, customer_id, payment_id)
        if row["status"] == "cancelled":
            raise Conflict("The payment was cancelled.")
        if row["status"] == "completed":
            return Done(_shown(ctx, row, customer), row["entry_id"])
        return await _done(change, "complete", row, await _complete(change, row), customer)

    return await once(ctx, customer_id, key, ["complete", customer_id, payment_id], 200, act)


async def cancel(ctx: Context, customer_id: int, payment_id: int, key: str = "") -> Answer:
    """Give a pending payment up; one that was given up before stays as it is."""

    async def act(change: Change) -> Done:
        customer, row = await _own_rows(change.tx, customer_id, payment_id)
        if row["status"] == "completed":
            raise Conflict("A completed payment cannot go back; reverse it.")
        if row["status"] == "cancelled":
            return Done(_shown(ctx, row, customer))
        return await _done(change, "cancel", row, await _write(change, row, {"status": "cancelled"}), customer)

    return await once(ctx, customer_id, key, ["cancel", customer_id, payment_id], 200, act)


async def reverse(ctx: Context, customer_id: int, payment_id: int, new: ReversalNew, key: str = "") -> Answer:
    """Take a completed payment back by an entry of the opposite amount.

    Raises:
        Conflict: it does not count, or was taken back before.
    """

    async def act(change: Change) -> Done:
        customer, row = await _own_rows(change.tx, customer_id, payment_id)
        if row["status"] != "completed":
            raise Conflict(f"The payment is {row['status']}: there is nothing to take back.")
        if row["reversal_id"] is not None:
            references = [Reference(noun="ledger_entry", id=str(row["reversal_id"]))]
            raise Conflict("The payment was taken back before.", references=references)
        public, _ = _split(row["description"])
        entry_id = await ledger.reverse(change, row["entry_id"], description=public, note=new.reason)
        after = await _write(change, row, {"reversal_id": entry_id, "reversed_ms": change.now_ms})
        await allocations.release_payment(change, payment_id)
        await allocations.settle(change, customer_id)
        return await _done(change, "reverse", row, after, customer, entry_id)

    return await once(ctx, customer_id, key, ["reverse", customer_id, payment_id, new], 200, act)


async def customer_row(tx: Tx, customer_id: int) -> RowMapping:
    """A customer, archived or not: what was paid can still be read."""
    customers = tables.customers
    row = None
    if 0 < customer_id <= ROW_ID_MAX:
        row = (await tx.execute(select(customers).where(customers.c.id == customer_id))).mappings().first()
    if row is None:
        raise NotFound("customer", customer_id)
    return row


async def live_customer_row(tx: Tx, customer_id: int) -> RowMapping:
    """A customer whose money may still move."""
    row = await customer_row(tx, customer_id)
    if row["archived_ms"] is not None:
        raise NotFound("customer", customer_id)
    return row


async def _own_rows(tx: Tx, customer_id: int, payment_id: int) -> tuple[RowMapping, RowMapping]:
    return await live_customer_row(tx, customer_id), await _row(tx, customer_id, payment_id)


async def _row(tx: Tx, customer_id: int, payment_id: int) -> RowMapping:
    payments = tables.payments
    row: RowMapping | None = None
    if 0 < payment_id <= ROW_ID_MAX:
        query = select(payments).where(payments.c.id == payment_id, payments.c.customer_id == customer_id)
        row = (await tx.execute(query)).mappings().first()
    if row is None:
        raise NotFound("payment", payment_id)
    return row


async def _complete(change: Change, row: RowMapping) -> RowMapping:
    public, private = _split(row["description"])
    entry_id = await ledger.append(
        change,
        customer_id=row["customer_id"],
        kind="payment",
        amount_nanos=row["total_nanos"],
        description=public,
        note="; ".join(part for part in (private, row["reason"]) if part),
        payment_id=row["id"],
    )
    after = await _write(change, row, {"status": "completed", "entry_id": entry_id, "completed_ms": change.now_ms})
    await allocations.settle(change, row["customer_id"])
    return after


async def _write(change: Change, row: RowMapping, values: dict[str, Any]) -> RowMapping:
    payments = tables.payments
    stamped = {**values, "row_version": row["row_version"] + 1, "updated_ms": change.now_ms}
    written = update(payments).where(payments.c.id == row["id"]).values(**stamped).returning(payments)
    after: RowMapping = (await change.tx.execute(written)).mappings().one()
    return after


async def _done(
    change: Change, action: str, before: RowMapping | None, row: RowMapping, customer: RowMapping, entry_id: int = 0
) -> Done:
    """Audit what became of a payment, and show it as it is when the switch has the entry."""
    # Whoever reads the trail reads when it was written: nothing was in the switch then.
    old = None if before is None else _payment(before, customer, is_in_switch=False)
    value = _payment(row, customer, is_in_switch=row["entry_id"] is not None)
    await change.audit(action, "payment", row["id"], before=old, after=value)
    location = PATH.format(customer_id=row["customer_id"], payment_id=row["id"])
    return Done(value, entry_id or row["entry_id"], location if action == "create" else "")


def _shown(ctx: Context, row: RowMapping, customer: RowMapping) -> Payment:
    last = row["reversal_id"] or row["entry_id"]
    return _payment(row, customer, is_in_switch=last is not None and ctx.publisher.is_booked(last))


def _payment(row: RowMapping, customer: RowMapping, *, is_in_switch: bool) -> Payment:
    return Payment(
        id=row["id"],
        row_version=row["row_version"],
        customer_id=row["customer_id"],
        status=row["status"],
        total=format_amount(row["total_nanos"]),
        currency=customer["currency"],
        description=row["description"],
        reason=row["reason"],
        key=row["key"],
        entry_id=row["entry_id"],
        is_in_switch=is_in_switch,
        reversal_entry_id=row["reversal_id"],
        completed_at=moment_or_none(row["completed_ms"]),
        reversed_at=moment_or_none(row["reversed_ms"]),
        created_at=ms_moment(row["created_ms"]),
        created_by=row["created_by"],
        updated_at=ms_moment(row["updated_ms"]),
    )


def _split(description: str) -> tuple[str, str]:
    """What customers read of a description, and what they do not."""
    public, _, private = description.partition("#")
    return public.strip(), private.strip()
