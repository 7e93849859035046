"""The ledger as people read it: a customer's entries, newest first, and entries that staff make by hand."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import ColumnElement, Select, and_, func, or_, select, text
from sqlalchemy.engine import RowMapping

from control.services import ledger
from control.services.context import Change, Context
from control.services.days import Bound, since_ms, until_ms
from control.services.errors import Conflict, NotFound, invalid
from control.services.fields import ROW_ID_MAX, Amount, Moment, amount_nanos, ms_moment
from control.services.idempotency import Answer, Done, once
from control.services.pages import PAGE_ROWS, PAGE_ROWS_MAX, Page, make_cursor, read_cursor
from control.services.payments import Reason, ReversalNew, Text, customer_row, live_customer_row
from control.store import tables
from control.store.engine import Tx
from rating.money import format_amount

PATH: Final = "/api/v1/customers/{customer_id}/ledger/{entry_id}"
_ORDER: Final = "-at"


class EntryShown(msgspec.Struct, frozen=True, kw_only=True):
    """One movement of a balance; it is never changed."""

    id: int
    customer_id: int
    kind: ledger.Kind
    amount: str
    """What the balance moved by: a call's gross amount below 0."""
    net: str | None
    tax: str | None
    at: Moment
    """Of a call, when it ended."""
    description: str
    note: str
    """For staff alone."""
    cdr_id: str | None
    payment_id: int | None
    reversed_id: int | None
    """The entry that this one takes back."""
    reference: str
    actor: str
    """Who made it; empty of a call."""
    is_in_switch: bool
    balance: str | None = None
    """After it, where `with_balance` asks."""


class LedgerQuery(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"since": "from", "until": "to"}
):
    kind: ledger.Kind | None = None
    since: Bound | None = None
    """Entries from this time on …"""
    until: Bound | None = None
    """… and before this one. Days and months are those of the customer, and count whole."""
    with_balance: bool = False
    """Show the balance after each."""
    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS
    cursor: Annotated[str, Meta(max_length=500)] = ""


class AdjustmentNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    amount: Amount
    """What the balance moves by: below 0 takes money from the customer, as a fee must."""
    reason: Reason
    """For staff and the audit trail."""
    kind: Literal["adjustment", "fee"] = "adjustment"
    description: Text = ""
    """For the customer."""


async def page(ctx: Context, customer_id: int, query: LedgerQuery) -> Page[EntryShown]:
    """The latest first."""
    entries = tables.ledger_entries.c
    async with ctx.store.read() as tx:
        zone = (await customer_row(tx, customer_id))["time_zone"]
    statement = _entries().where(entries.customer_id == customer_id)
    if query.kind is not None:
        statement = statement.where(entries.kind == query.kind)
        if query.kind != "call":
            statement = statement.where(_IS_BOOKED)
    if query.since is not None:
        statement = statement.where(entries.at_ms >= since_ms("from", query.since, zone))
    if query.until is not None:
        statement = statement.where(entries.at_ms < until_ms("to", query.until, zone))
    if query.cursor:
        at_ms, entry_id = read_cursor(query.cursor, _ORDER, int)
        statement = statement.where(_is_before(int(at_ms), entry_id))
    statement = statement.order_by(entries.at_ms.desc(), entries.id.desc()).limit(query.limit + 1)
    async with ctx.store.read() as tx:
        rows = list((await tx.execute(statement)).mappings())
        next_cursor = None
        if len(rows) > query.limit:
            rows = rows[: query.limit]
            next_cursor = make_cursor(_ORDER, rows[-1]["at_ms"], rows[-1]["id"])
        items = [_shown(ctx, row) for row in rows]
        if query.with_balance:
            items = await _with_balances(tx, items, rows)
    return Page(items=items, next_cursor=next_cursor)


async def get(ctx: Context, customer_id: int, entry_id: int) -> EntryShown:
    async with ctx.store.read() as tx:
        return _shown(ctx, await _row(tx, customer_id, entry_id))


async def adjust(ctx: Context, customer_id: int, new: AdjustmentNew, key: str = "") -> Answer:
    """Move a balance by hand."""
    amount = amount_nanos("amount", new.amount)
    if not amount:
        raise invalid("amount", "nothing would move")
    if new.kind == "fee" and amount > 0:
        raise invalid("amount", "a fee takes money: below 0")

    async def act(change: Change) -> Done:
        await live_customer_row(change.tx, customer_id)
        entry_id = await ledger.append(
            change,
            customer_id=customer_id,
            kind=new.kind,
            amount_nanos=amount,
            description=new.description,
            note=new.reason,
        )
        return await _done(ctx, change, "create", customer_id, entry_id)

    return await once(ctx, customer_id, key, ["adjustment", customer_id, new], 201, act)


async def reverse(ctx: Context, customer_id: int, entry_id: int, new: ReversalNew, key: str = "") -> Answer:
    """Take back an entry that was made by hand.

    Raises:
        Conflict: it was taken back before, or belongs to a payment, a call or a recalculation,
            each of which has its own way back.
    """

    async def act(change: Change) -> Done:
        await live_customer_row(change.tx, customer_id)
        row = await _row(change.tx, customer_id, entry_id)
        if row["payment_id"] is not None:
            raise Conflict(f"The entry is payment {row['payment_id']}; reverse that.")
        if row["reference"] or row["cdr_id"] is not None:
            raise Conflict("The entry was not made by hand; what made it takes it back.")
        made = await ledger.reverse(change, entry_id, description=row["description"], note=new.reason)
        return await _done(ctx, change, "reverse", customer_id, made)

    return await once(ctx, customer_id, key, ["reverse entry", customer_id, entry_id, new], 201, act)


_IS_BOOKED: Final = text("ledger_entries.kind <> 'call'")
"""As the index of entries that calls did not make has it."""


def _entries() -> Select[Any]:
    entries, cdrs = tables.ledger_entries, tables.cdrs
    joined = entries.outerjoin(cdrs, cdrs.c.number == entries.c.cdr_number)
    return select(entries, cdrs.c.id.label("cdr_id")).select_from(joined)


def _is_before(at_ms: int, entry_id: int) -> ColumnElement[bool]:
    """Older than that entry, in the order of the list."""
    entries = tables.ledger_entries.c
    # The first term says less than the second and is what an index can begin at.
    return and_(entries.at_ms <= at_ms, or_(entries.at_ms < at_ms, entries.id < entry_id))


def _is_upto(at_ms: int, entry_id: int) -> ColumnElement[bool]:
    """As old as that entry, or older."""
    return _is_before(at_ms, entry_id + 1)


def _is_from(at_ms: int, entry_id: int) -> ColumnElement[bool]:
    entries = tables.ledger_entries.c
    return and_(entries.at_ms >= at_ms, or_(entries.at_ms > at_ms, entries.id >= entry_id))


async def _with_balances(tx: Tx, items: list[EntryShown], rows: list[RowMapping]) -> list[EntryShown]:
    """Balances by the order of the list, whatever was filtered out of it: what came until then, added up."""
    if not rows:
        return items
    entries = tables.ledger_entries.c
    mine = entries.customer_id == rows[0]["customer_id"]
    youngest, oldest = ((row["at_ms"], row["id"]) for row in (rows[0], rows[-1]))
    before = select(func.coalesce(func.sum(entries.amount_nanos), 0)).where(mine, _is_before(*oldest))
    base = int((await tx.execute(before)).scalar_one())
    running = (
        select(entries.id, func.sum(entries.amount_nanos).over(order_by=(entries.at_ms, entries.id)).label("sum"))
        .where(mine, _is_from(*oldest), _is_upto(*youngest))
        .subquery()
    )
    of_page = select(running.c.id, running.c["sum"]).where(running.c.id.in_([item.id for item in items]))
    after = {entry_id: base + int(amount) for entry_id, amount in (await tx.execute(of_page)).all()}
    return [msgspec.structs.replace(item, balance=format_amount(after[item.id])) for item in items]


async def _row(tx: Tx, customer_id: int, entry_id: int) -> RowMapping:
    entries = tables.ledger_entries.c
    row: RowMapping | None = None
    if 0 < entry_id <= ROW_ID_MAX and 0 < customer_id <= ROW_ID_MAX:
        query = _entries().where(entries.id == entry_id, entries.customer_id == customer_id)
        row = (await tx.execute(query)).mappings().first()
    if row is None:
        raise NotFound("ledger_entry", entry_id)
    return row


async def _done(ctx: Context, change: Change, action: str, customer_id: int, entry_id: int) -> Done:
    shown = _shown(ctx, await _row(change.tx, customer_id, entry_id))
    value = msgspec.structs.replace(shown, is_in_switch=True)
    await change.audit(action, "ledger_entry", entry_id, after=value)
    return Done(value, entry_id, PATH.format(customer_id=customer_id, entry_id=entry_id))


def _shown(ctx: Context, row: RowMapping) -> EntryShown:
    net, tax = row["net_nanos"], row["tax_nanos"]
    return EntryShown(
        id=row["id"],
        customer_id=row["customer_id"],
        kind=row["kind"],
        amount=format_amount(row["amount_nanos"]),
        net=None if net is None else format_amount(net),
        tax=None if tax is None else format_amount(tax),
        at=ms_moment(row["at_ms"]),
        description=row["description"],
        note=row["note"],
        cdr_id=row["cdr_id"],
        payment_id=row["payment_id"],
        reversed_id=row["reversed_id"],
        reference=row["reference"],
        actor=row["actor"],
        is_in_switch=row["kind"] == "call" or ctx.publisher.is_booked(row["id"]),
    )
