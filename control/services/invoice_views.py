"""Invoices as clients read them: amounts as decimal strings, days on the customer's calendar."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from control.services.allocations import Allocation, open_nanos
from control.services.fields import Id, Label, Moment, moment_or_none, ms_moment, percent_text
from control.services.invoice_sums import CHARGES, Section
from control.services.pages import ListQuery
from control.store.engine import Tx
from control.store.invoice_tables import document_mails, invoice_lines
from rating.money import format_amount

State = Literal["draft", "issued", "partially_paid", "paid", "overdue"]


class Invoice(msgspec.Struct, frozen=True, kw_only=True, rename={"from_day": "from", "to_day": "to"}):
    """What a customer was charged in a period. It charges nothing itself: the balance was, when it happened."""

    id: int
    row_version: int
    customer_id: int
    number: str | None
    """Given when it is issued; no number is left out and none comes twice."""
    state: State
    """`overdue`: something is open after its due day; else `partially_paid` where something is paid or credited."""
    currency: str
    from_day: date
    to_day: date
    """The last day, on the customer's calendar."""
    issued_on: date | None
    due_on: date | None
    net: str
    tax: str
    gross: str
    """To the last digit what the ledger was charged."""
    total: str
    """Gross, rounded to what the currency is paid in, halves up: what is to be paid."""
    opening_balance: str
    payments: str
    """Payments and credits of the period, less what was taken back."""
    closing_balance: str
    """Opening balance, less gross, plus payments."""
    credited: str
    """By credit notes."""
    paid: str
    """By payments that are allocated to it."""
    open: str
    created_at: Moment
    created_by: str
    updated_at: Moment


class LineShown(msgspec.Struct, frozen=True, kw_only=True):
    section: Section
    description: str
    """Of calls, the name of their rate row."""
    prefix: str
    count: int
    """Of calls, or of entries of the same text."""
    seconds: int
    tax_percent: str
    net: str
    tax: str
    gross: str


class TaxShown(msgspec.Struct, frozen=True, kw_only=True):
    tax_percent: str
    net: str
    tax: str


class Party(msgspec.Struct, frozen=True, kw_only=True):
    """Who sends it, or who gets it, as it was when it was issued."""

    name: str
    address: str = ""
    tax_id: str = ""
    contact: str = ""
    reference: str = ""
    payment_details: str = ""
    footer: str = ""


class MailShown(msgspec.Struct, frozen=True, kw_only=True):
    recipient: str
    state: Literal["pending", "sending", "sent", "failed"]
    """`sending` for long: whether the server took it is not known, and it is not sent again by itself."""
    attempts: int
    error: str
    sent_at: Moment | None


class InvoiceDetail(Invoice, frozen=True, kw_only=True, rename={"from_day": "from", "to_day": "to"}):
    seller: Party | None
    """Null of a draft."""
    buyer: Party | None
    lines: list[LineShown]
    taxes: list[TaxShown]
    allocations: list[Allocation]
    credit_notes: list[str]
    """Their numbers."""
    mails: list[MailShown]


class InvoiceQuery(ListQuery, frozen=True, kw_only=True):
    customer_id: Id | None = None
    state: State | None = None
    number: Label | None = None
    issued_from: Annotated[date | None, Meta(description="Issued on this day or later.")] = None
    issued_to: Annotated[date | None, Meta(description="Issued on this day or before.")] = None


def state_of(row: RowMapping, now_ms: int) -> State:
    if row["status"] == "draft":
        return "draft"
    if not open_nanos(row):
        return "paid"
    if row["due_ms"] is not None and row["due_ms"] <= now_ms:
        return "overdue"
    return "partially_paid" if row["paid_nanos"] or row["credited_nanos"] else "issued"


def values_of(row: RowMapping, now_ms: int) -> dict[str, Any]:
    """The fields of `Invoice`."""
    amounts = {
        name: format_amount(row[f"{name}_nanos"])
        for name in ("net", "tax", "gross", "total", "payments", "credited", "paid")
    }
    return {
        **amounts,
        "id": row["id"],
        "row_version": row["row_version"],
        "customer_id": row["customer_id"],
        "number": row["number"],
        "state": state_of(row, now_ms),
        "currency": row["currency"],
        "from_day": date.fromisoformat(row["from_day"]),
        "to_day": date.fromisoformat(row["until_day"]) - timedelta(days=1),
        "issued_on": _day(row["issued_day"]),
        "due_on": _day(row["due_day"]),
        "opening_balance": format_amount(row["opening_nanos"]),
        "closing_balance": format_amount(row["closing_nanos"]),
        "open": format_amount(open_nanos(row) if row["status"] == "issued" else 0),
        "created_at": ms_moment(row["created_ms"]),
        "created_by": row["created_by"],
        "updated_at": ms_moment(row["updated_ms"]),
    }


def invoice_of(row: RowMapping, now_ms: int) -> Invoice:
    return Invoice(**values_of(row, now_ms))


def line_shown(row: RowMapping) -> LineShown:
    return LineShown(
        section=row["section"],
        description=row["description"],
        prefix=row["prefix"],
        count=row["count"],
        seconds=row["seconds"],
        tax_percent=percent_text(row["tax_ppm"]),
        net=format_amount(row["net_nanos"]),
        tax=format_amount(row["tax_nanos"]),
        gross=format_amount(row["gross_nanos"]),
    )


def taxes_of(rows: Sequence[RowMapping]) -> list[TaxShown]:
    """What is taxed by each rate, of the charges."""
    sums: dict[int, tuple[int, int]] = {}
    for row in rows:
        if row["section"] in CHARGES:
            net, tax = sums.get(row["tax_ppm"], (0, 0))
            sums[row["tax_ppm"]] = net + row["net_nanos"], tax + row["tax_nanos"]
    return [
        TaxShown(tax_percent=percent_text(ppm), net=format_amount(net), tax=format_amount(tax))
        for ppm, (net, tax) in sorted(sums.items())
    ]


async def line_rows(tx: Tx, invoice_id: int) -> list[RowMapping]:
    c = invoice_lines.c
    query = select(invoice_lines).where(c.invoice_id == invoice_id).order_by(c.position)
    return list((await tx.execute(query)).mappings())


async def mails_of(tx: Tx, kind: str, document_id: int) -> list[MailShown]:
    c = document_mails.c
    query = select(document_mails).where(c.kind == kind, c.document_id == document_id).order_by(c.id)
    return [
        MailShown(
            recipient=row["recipient"],
            state=row["state"],
            attempts=row["attempts"],
            error=row["error"],
            sent_at=moment_or_none(row["sent_ms"]),
        )
        for row in (await tx.execute(query)).mappings()
    ]


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)
