"""A client's bill as a page to print. Typst reads the bill as JSON data: nothing in it is ever read as markup."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
import typst

from control.services.client_bills import Bill
from control.services.currencies import decimals_of

TEMPLATE: Final = rb"""
#let bill = json(bytes(sys.inputs.bill))
#set document(title: "Bill " + bill.number, date: none)
#set page(
  paper: "a4",
  margin: (x: 22mm, top: 24mm, bottom: 22mm),
  footer: context align(right, text(8pt, fill: luma(90))[
    Bill #bill.number, page #counter(page).display("1 of 1", both: true)
  ]),
)
#set text(9.5pt, hyphenate: false)
#text(20pt, weight: "bold")[Bill #bill.number]
#v(4mm)
#grid(
  columns: (1fr, auto), column-gutter: 10mm,
  [#text(12pt, weight: "bold", bill.client_name)],
  grid(
    columns: (auto, auto), column-gutter: 6mm, row-gutter: 2mm,
    [Billing reference], align(right, bill.billing_ref),
    [Period], align(right)[#bill.first_day to #bill.last_day],
    [Issued], align(right, bill.issued_day),
    [Currency], align(right, bill.currency),
  ),
)
#v(8mm)
#let head(body) = text(weight: "bold", body)
#table(
  columns: (1fr, auto, auto, auto, auto),
  align: (left, right, right, left, right),
  stroke: none, inset: (x: 3pt, y: 4pt),
  table.hline(stroke: 0.8pt),
  table.header(head[Description], head[Quantity], head[Price], head[Days], head[Amount]),
  table.hline(stroke: 0.5pt),
  ..bill.lines.map(line => (
    line.name + if line.kind == "setup" { " (set-up)" } else { "" },
    line.quantity, line.price, line.days, line.net,
  )).flatten(),
  table.hline(stroke: 0.5pt),
  table.cell(colspan: 4)[Net], bill.net,
  table.cell(colspan: 4)[Tax #bill.tax_percent %], bill.tax,
  table.hline(stroke: 0.8pt),
  table.cell(colspan: 4, head[Total #bill.currency]), head(bill.total),
)
#if bill.account != none [
  #v(8mm)
  #text(11pt, weight: "bold")[Telephone account #bill.account.name]
  #v(1mm)
  Moved on the account itself in this period, and no part of the total above.
  #table(
    columns: (1fr, auto, auto), align: (left, right, right), stroke: none, inset: (x: 3pt, y: 4pt),
    table.hline(stroke: 0.5pt),
    table.header(head[Kind], head[Number], head[Amount #bill.account.currency]),
    table.hline(stroke: 0.5pt),
    ..bill.account.sums.map(each => (each.kind, each.count, each.amount)).flatten(),
  )
]
"""


async def pdf(bill: Bill) -> bytes:
    """The same bill gives the same bytes."""
    data = msgspec.json.encode(_shown(bill)).decode()
    return await asyncio.to_thread(_compile, data)


def _compile(data: str) -> bytes:
    made = typst.compile(TEMPLATE, format="pdf", sys_inputs={"bill": data})
    assert isinstance(made, bytes), "one document"
    return made


def _shown(bill: Bill) -> dict[str, Any]:
    """Texts as they are printed."""
    account = bill.account
    return {
        "number": f"{bill.number:06d}",
        "client_name": bill.client_name,
        "billing_ref": bill.billing_ref,
        "first_day": bill.first_day,
        "last_day": bill.last_day,
        "issued_day": bill.issued_at.date().isoformat(),
        "currency": bill.currency,
        "net": printed(bill.net, bill.currency),
        "tax_percent": bill.tax_percent,
        "tax": printed(bill.tax, bill.currency),
        "total": printed(bill.total, bill.currency),
        "lines": [
            {
                "name": line.name,
                "kind": line.kind,
                "quantity": str(line.quantity),
                "price": printed(line.price, bill.currency),
                "days": _days(line.first_day, line.last_day, line.days, line.month_days, line.kind),
                "net": printed(line.net, bill.currency),
            }
            for line in bill.lines
        ],
        "account": None
        if account is None
        else {
            "name": account.name,
            "currency": account.currency,
            "sums": [
                {"kind": each.kind, "count": str(each.count), "amount": printed(each.amount, account.currency)}
                for each in account.sums
            ],
        },
    }


def printed(amount: str, currency: str) -> str:
    """With the currency's decimals at least, and all that there are: a printed amount is exact too."""
    decimals = decimals_of(currency)
    whole, _, part = amount.partition(".")
    part = part.ljust(decimals, "0")
    return f"{whole}.{part}" if part else whole


def _days(first: str, last: str, days: int, month_days: int, kind: str) -> str:
    if kind == "setup":
        return first
    return f"{days}" if days == month_days else f"{first} to {last} ({days} of {month_days})"
