"""Credit notes: what is taken back of an invoice that was issued, under numbers of their own.

The invoice stays as it is. The amount goes to the customer's balance by one ledger entry, for that is
where the invoice's charges were taken from, and lowers what is open of the invoice; what was paid above
that is free for other invoices.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Final

import msgspec
from sqlalchemy import insert, select
from sqlalchemy.engine import RowMapping

from control.services import allocations, document_mail, ledger
from control.services.allocations import invoice_row
from control.services.context import Change, Context
from control.services.currencies import decimals_of
from control.services.errors import Conflict, NotFound, invalid
from control.services.fields import ROW_ID_MAX, Amount, Id, Moment, Percent, amount_nanos, ms_moment, percent_text
from control.services.fields import percent_ppm as to_ppm
from control.services.idempotency import Answer, Done, once
from control.services.invoice_sums import CREDIT_NOTE
from control.services.invoice_views import line_rows
from control.services.invoices import buyer_party, seller_party
from control.services.invoicing import profile_of, profile_row
from control.services.number_series import draw
from control.services.outbox import emit
from control.services.package_terms import tax_nanos
from control.services.pages import ListQuery, Page, read_page
from control.services.payments import Reason, Text, live_customer_row
from control.services.periods import day_at
from control.store.engine import Tx
from control.store.invoice_tables import credit_notes
from rating.money import STEPS, format_amount

PATH: Final = "/api/v1/credit-notes/{row_id}"


class CreditNoteNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    net: Amount
    """What is taken back, before tax; above 0."""
    tax_percent: Percent | None = None
    """One of the invoice's rates; its only one where it is left out."""
    reason: Reason
    """Shown to the customer."""
    note: Text = ""
    """For staff alone."""


class CreditNote(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    customer_id: int
    invoice_id: int
    number: str
    issued_on: date
    currency: str
    reason: str
    note: str
    tax_percent: str
    net: str
    tax: str
    gross: str
    entry_id: int
    is_in_switch: bool
    created_at: Moment
    created_by: str


class CreditNoteQuery(ListQuery, frozen=True, kw_only=True):
    customer_id: Id | None = None
    invoice_id: Id | None = None


async def page(ctx: Context, query: CreditNoteQuery) -> Page[CreditNote]:
    """The youngest first unless asked otherwise."""
    statement = select(credit_notes)
    for name in ("customer_id", "invoice_id"):
        value = getattr(query, name)
        if value is not None:
            statement = statement.where(credit_notes.c[name] == value)
    ordered = msgspec.structs.replace(query, sort=query.sort or "-id")
    async with ctx.store.read() as tx:
        rows, next_cursor = await read_page(tx, credit_notes, statement, ordered, ("id", "created_at"))
    items = [shown(row, is_in_switch=ctx.publisher.is_booked(row["entry_id"])) for row in rows]
    return Page(items=items, next_cursor=next_cursor)


async def get(ctx: Context, row_id: int) -> CreditNote:
    async with ctx.store.read() as tx:
        row = await note_row(tx, row_id)
    return shown(row, is_in_switch=ctx.publisher.is_booked(row["entry_id"]))


async def note_row(tx: Tx, row_id: int) -> RowMapping:
    row = None
    if 0 < row_id <= ROW_ID_MAX:
        row = (await tx.execute(select(credit_notes).where(credit_notes.c.id == row_id))).mappings().first()
    if row is None:
        raise NotFound("credit_note", row_id)
    return row


async def create(ctx: Context, invoice_id: int, new: CreditNoteNew, key: str = "") -> Answer:
    """Take a part of an invoice back, or all of it.

    Raises:
        Invalid: not above 0, finer than the currency, or taxed by a rate that the invoice does not have.
        Conflict: the invoice is a draft, or there is not so much left of it.
    """
    async with ctx.store.read() as tx:
        customer_id = (await invoice_row(tx, invoice_id))["customer_id"]

    async def act(change: Change) -> Done:
        invoice = await invoice_row(change.tx, invoice_id)
        row = await _create(ctx, change, invoice, new)
        value = shown(row, is_in_switch=True)
        await change.audit("create", "credit_note", row["id"], after=value)
        payload = {
            "customer_id": row["customer_id"],
            "credit_note_id": row["id"],
            "number": row["number"],
            "invoice_id": invoice_id,
            "invoice_number": invoice["number"],
            "gross": value.gross,
            "currency": row["currency"],
        }
        await emit(change, "credit_note.issued", payload, customer_id=row["customer_id"])
        return Done(value, row["entry_id"], PATH.format(row_id=row["id"]))

    return await once(ctx, customer_id, key, ["credit note", invoice_id, new], 201, act)


async def _create(ctx: Context, change: Change, invoice: RowMapping, new: CreditNoteNew) -> RowMapping:
    if invoice["status"] != "issued":
        raise Conflict("A draft is dropped, not credited.")
    customer = await live_customer_row(change.tx, invoice["customer_id"])
    decimals = decimals_of(invoice["currency"])
    net = amount_nanos("net", new.net)
    if net <= 0:
        raise invalid("net", "not above 0")
    if net % STEPS[decimals]:
        raise invalid("net", f"{invoice['currency']} has {decimals} decimals")
    ppm = await _rate(change.tx, invoice, new)
    tax = tax_nanos(net, ppm, decimals)
    gross = net + tax
    left = invoice["total_nanos"] - invoice["credited_nanos"]
    if gross > left:
        raise Conflict(
            f"{format_amount(max(0, left))} is left of the invoice, {format_amount(gross)} with tax is more."
        )
    serial, number = await draw(change, "credit_note", ctx.billing.credit_note_prefix, ctx.billing.number_digits)
    entry_id = await ledger.append(
        change,
        customer_id=invoice["customer_id"],
        kind="adjustment",
        amount_nanos=gross,
        net_nanos=-net,
        tax_nanos=-tax,
        description=f"Credit note {number} on invoice {invoice['number']}",
        note=new.reason,
        reference=f"{CREDIT_NOTE}{number}",
    )
    profile = profile_of(await profile_row(change.tx, invoice["customer_id"]))
    values: dict[str, Any] = {
        "customer_id": invoice["customer_id"],
        "invoice_id": invoice["id"],
        "number": number,
        "serial": serial,
        "currency": invoice["currency"],
        "reason": new.reason,
        "note": new.note,
        "tax_ppm": ppm,
        "net_nanos": net,
        "tax_nanos": tax,
        "gross_nanos": gross,
        "entry_id": entry_id,
        "seller": msgspec.to_builtins(seller_party(ctx)),
        "buyer": msgspec.to_builtins(buyer_party(customer, profile)),
        "issued_day": day_at(change.now_ms, customer["time_zone"]).isoformat(),
        "created_ms": change.now_ms,
        "created_by": change.actor.name,
    }
    made = await change.tx.execute(insert(credit_notes).values(**values).returning(credit_notes))
    row: RowMapping = made.mappings().one()
    await allocations.move(change, invoice, credited_nanos=gross)
    await allocations.trim(change, invoice["id"])
    await allocations.settle(change, invoice["customer_id"])
    if profile.send_mail:
        await document_mail.queue(change, "credit_note", row["id"], invoice["customer_id"], profile.recipients)
    return row


async def _rate(tx: Tx, invoice: RowMapping, new: CreditNoteNew) -> int:
    lines = await line_rows(tx, invoice["id"])
    rates = {line["tax_ppm"] for line in lines if line["section"] not in ("payment", "credit")}
    if new.tax_percent is not None:
        ppm = to_ppm("tax_percent", new.tax_percent)
        if ppm not in rates:
            raise invalid("tax_percent", "the invoice has no such rate")
        return ppm
    if len(rates) != 1:
        raise invalid("tax_percent", "the invoice has several rates: say which")
    return int(rates.pop())


def shown(row: RowMapping, *, is_in_switch: bool) -> CreditNote:
    return CreditNote(
        id=row["id"],
        customer_id=row["customer_id"],
        invoice_id=row["invoice_id"],
        number=row["number"],
        issued_on=date.fromisoformat(row["issued_day"]),
        currency=row["currency"],
        reason=row["reason"],
        note=row["note"],
        tax_percent=percent_text(row["tax_ppm"]),
        net=format_amount(row["net_nanos"]),
        tax=format_amount(row["tax_nanos"]),
        gross=format_amount(row["gross_nanos"]),
        entry_id=row["entry_id"],
        is_in_switch=is_in_switch,
        created_at=ms_moment(row["created_ms"]),
        created_by=row["created_by"],
    )
