"""What a customer's contacts see of what is billed: issued invoices, credit notes and packages, without costs.

Drafts are not shown, nor what staff wrote for themselves.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec
from sqlalchemy import Table, select
from sqlalchemy.engine import RowMapping

from control.services import allocations, documents
from control.services.context import Context
from control.services.customer_packages import CUSTOMER_PACKAGES, CustomerPackageQuery, read_assignment, usage_of
from control.services.errors import NotFound
from control.services.fields import Moment, percent_text
from control.services.invoice_views import LineShown, TaxShown, line_rows, line_shown, taxes_of, values_of
from control.services.pages import Page, make_cursor, read_cursor
from control.services.periods import Frequency
from control.services.portal_views import OwnQuery, own_customer_id
from control.store.engine import Tx
from control.store.invoice_tables import credit_notes, invoices
from control.store.package_tables import packages
from rating.money import format_amount


class OwnInvoice(msgspec.Struct, frozen=True, kw_only=True, rename={"from_day": "from", "to_day": "to"}):
    """What was charged in a period. It charges nothing itself."""

    id: int
    number: str
    state: str
    currency: str
    from_day: date
    to_day: date
    issued_on: date | None
    due_on: date | None
    net: str
    tax: str
    gross: str
    total: str
    opening_balance: str
    payments: str
    closing_balance: str
    credited: str
    paid: str
    open: str


class PaidBy(msgspec.Struct, frozen=True, kw_only=True):
    payment_id: int
    amount: str
    at: Moment


class OwnInvoiceDetail(OwnInvoice, frozen=True, kw_only=True, rename={"from_day": "from", "to_day": "to"}):
    lines: list[LineShown]
    taxes: list[TaxShown]
    paid_by: list[PaidBy]


class OwnCreditNote(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    number: str
    invoice_id: int
    issued_on: date
    currency: str
    description: str
    tax_percent: str
    net: str
    tax: str
    gross: str


class OwnPackage(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    name: str
    description: str
    quantity: int
    start: date
    last_day: date | None
    currency: str
    price: str
    """Of one, a period, net."""
    setup_price: str
    frequency: Frequency
    day: int
    next_charge: date | None
    free_minutes: int | None
    free_destination: str
    free_left_s: int
    """Of the period that runs."""
    minimum_spend: str | None
    notes: str


async def page_invoices(ctx: Context, query: OwnQuery) -> Page[OwnInvoice]:
    """The youngest first."""
    async with ctx.store.read() as tx:
        rows, next_cursor = await _page(tx, invoices, ctx, query, invoices.c.status == "issued")
    return Page(items=[OwnInvoice(**_facts(row, ctx.now_ms())) for row in rows], next_cursor=next_cursor)


async def get_invoice(ctx: Context, invoice_id: int) -> OwnInvoiceDetail:
    async with ctx.store.read() as tx:
        row = await allocations.invoice_row(tx, invoice_id)
        if row["customer_id"] != own_customer_id(ctx) or row["status"] != "issued":
            raise NotFound("invoice", invoice_id)
        lines = await line_rows(tx, invoice_id)
        paid = await allocations.of_invoice(tx, invoice_id)
    return OwnInvoiceDetail(
        **_facts(row, ctx.now_ms()),
        lines=[line_shown(line) for line in lines],
        taxes=taxes_of(lines),
        paid_by=[
            PaidBy(payment_id=each.payment_id, amount=each.amount, at=each.created_at)
            for each in paid
            if each.released_at is None
        ],
    )


async def invoice_pdf(ctx: Context, invoice_id: int) -> documents.Pdf:
    # A draft's document is a conflict to staff and nothing at all to a customer.
    await get_invoice(ctx, invoice_id)
    return await documents.pdf(ctx, "invoice", invoice_id, own_customer_id(ctx))


async def page_credit_notes(ctx: Context, query: OwnQuery) -> Page[OwnCreditNote]:
    async with ctx.store.read() as tx:
        rows, next_cursor = await _page(tx, credit_notes, ctx, query)
    items = [
        OwnCreditNote(
            id=row["id"],
            number=row["number"],
            invoice_id=row["invoice_id"],
            issued_on=date.fromisoformat(row["issued_day"]),
            currency=row["currency"],
            description=row["reason"],
            tax_percent=percent_text(row["tax_ppm"]),
            net=format_amount(row["net_nanos"]),
            tax=format_amount(row["tax_nanos"]),
            gross=format_amount(row["gross_nanos"]),
        )
        for row in rows
    ]
    return Page(items=items, next_cursor=next_cursor)


async def credit_note_pdf(ctx: Context, note_id: int) -> documents.Pdf:
    return await documents.pdf(ctx, "credit_note", note_id, own_customer_id(ctx))


async def page_packages(ctx: Context, query: OwnQuery) -> Page[OwnPackage]:
    asked = CustomerPackageQuery(customer_id=own_customer_id(ctx), limit=query.limit, cursor=query.cursor)
    found = await CUSTOMER_PACKAGES.page(ctx, asked)
    items: list[OwnPackage] = []
    async with ctx.store.read() as tx:
        names = select(packages.c.id, packages.c.description)
        texts = {row.id: row.description for row in await tx.execute(names)}
        for row in found.items:
            usage = await usage_of(tx, await read_assignment(tx, row.id), ctx.now_ms())
            assert row.start is not None
            items.append(
                OwnPackage(
                    id=row.id,
                    name=row.terms.name,
                    description=texts.get(row.package_id, ""),
                    quantity=row.quantity,
                    start=row.start,
                    last_day=row.last_day,
                    currency=row.terms.currency,
                    price=row.terms.retail,
                    setup_price=row.terms.setup_retail,
                    frequency=row.terms.frequency,
                    day=row.terms.day,
                    next_charge=row.next_charge,
                    free_minutes=row.terms.free_minutes,
                    free_destination=row.terms.free_destination,
                    free_left_s=usage.left_s,
                    minimum_spend=row.terms.minimum_spend,
                    notes=row.notes_public,
                )
            )
    return Page(items=items, next_cursor=found.next_cursor)


def _facts(row: RowMapping, now_ms: int) -> dict[str, Any]:
    values = values_of(row, now_ms)
    return {name: values[name] for name in OwnInvoice.__struct_fields__}


async def _page(
    tx: Tx, table: Table, ctx: Context, query: OwnQuery, *conditions: Any
) -> tuple[list[RowMapping], str | None]:
    """A customer's rows, the youngest first."""
    statement = select(table).where(table.c.customer_id == own_customer_id(ctx), *conditions)
    if query.cursor:
        _, before = read_cursor(query.cursor, "-id", int)
        statement = statement.where(table.c.id < before)
    rows = list((await tx.execute(statement.order_by(table.c.id.desc()).limit(query.limit + 1))).mappings())
    if len(rows) <= query.limit:
        return rows, None
    rows = rows[: query.limit]
    return rows, make_cursor("-id", rows[-1]["id"], rows[-1]["id"])
