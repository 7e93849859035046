"""Invoices and credit notes as PDF: rendered once, kept, and the same bytes for ever after.

A document is drawn from what was written when it was issued, by a typst template that gets all of it as
JSON: whatever a name or an address holds is text there and never markup. The first who wants it, a
download or a mail, has it rendered; two at once keep the first.
"""

from __future__ import annotations

import asyncio
import hashlib
import unicodedata
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import typst
from sqlalchemy import insert, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import IntegrityError

from control.services.context import Context
from control.services.currencies import decimals_of
from control.services.errors import Conflict, NotFound
from control.services.fields import ROW_ID_MAX, percent_text
from control.services.invoice_views import Party
from control.store.engine import Tx
from control.store.invoice_tables import credit_notes, documents, invoice_lines, invoices
from rating.money import NANOS, format_amount

Kind = Literal["invoice", "credit_note"]
TEMPLATE: Final = Path(__file__).parent / "templates" / "document.typ"
LINE_DECIMALS: Final = 4
"""Calls are charged to so many; lines show as many as they have, between the currency's own and these."""
WORD_CHARACTERS_MAX: Final = 12
"""Longer words get places where they may be broken, so that none runs over its column."""


class Pdf(msgspec.Struct, frozen=True):
    name: str
    content: bytes
    sha256: str
    subject: str
    text: str
    """Of the mail that it is sent with."""


class Facts(msgspec.Struct, frozen=True):
    """What a document is drawn from."""

    customer_id: int
    number: str
    title: str
    row: RowMapping
    data: dict[str, Any]


async def pdf(ctx: Context, kind: Kind, document_id: int, customer_id: int | None = None) -> Pdf:
    """A document, rendered where nobody has asked for it before.

    Args:
        customer_id: whose it must be; another's is not there.
    Raises:
        NotFound: there is none.
        Conflict: it is a draft.
    """
    c = documents.c
    kept = select(documents).where(c.kind == kind, c.document_id == document_id)
    async with ctx.store.read() as tx:
        facts = await facts_of(tx, kind, document_id)
        if customer_id is not None and facts.customer_id != customer_id:
            raise NotFound(kind, document_id)
        row = (await tx.execute(kept)).mappings().first()
    if row is None:
        content = await asyncio.to_thread(render, facts.data)
        values = {
            "kind": kind,
            "document_id": document_id,
            "sha256": hashlib.sha256(content).hexdigest(),
            "content": content,
            "created_ms": ctx.now_ms(),
        }
        try:
            async with ctx.store.begin() as tx:
                await tx.execute(insert(documents).values(**values))
        except IntegrityError:
            pass  # somebody else was first, and that one is the document
        async with ctx.store.read() as tx:
            row = (await tx.execute(kept)).mappings().one()
    name = "".join(each if each.isalnum() or each in "-_." else "-" for each in facts.number)
    return Pdf(
        name=f"{name}.pdf",
        content=row["content"],
        sha256=row["sha256"],
        subject=f"{facts.title} {facts.number} from {facts.data['seller']['name']}",
        text=_mail_text(facts),
    )


def render(data: dict[str, Any], output: Literal["pdf", "png"] = "pdf") -> Any:
    """Bytes of a PDF; a PNG a page where there is more than one, for looking at."""
    return typst.compile(TEMPLATE.read_bytes(), sys_inputs={"data": msgspec.json.encode(data).decode()}, format=output)


async def facts_of(tx: Tx, kind: Kind, document_id: int) -> Facts:
    row = None
    table = invoices if kind == "invoice" else credit_notes
    if 0 < document_id <= ROW_ID_MAX:
        row = (await tx.execute(select(table).where(table.c.id == document_id))).mappings().first()
    if row is None or ("archived_ms" in row and row["archived_ms"] is not None):
        raise NotFound(kind, document_id)
    if row["number"] is None:
        raise Conflict("A draft has no number and no document: issue it first.")
    data = await (_invoice_data if kind == "invoice" else _credit_note_data)(tx, row)
    return Facts(row["customer_id"], row["number"], data["title"], row, data)


async def _invoice_data(tx: Tx, row: RowMapping) -> dict[str, Any]:
    c = invoice_lines.c
    query = select(invoice_lines).where(c.invoice_id == row["id"]).order_by(c.position)
    lines = list((await tx.execute(query)).mappings())
    currency, decimals = row["currency"], decimals_of(row["currency"])
    charges = [line for line in lines if line["section"] not in ("payment", "credit")]
    rounding = row["total_nanos"] - row["gross_nanos"]
    until = date.fromisoformat(row["until_day"])
    totals = [["Net", _amount(row["net_nanos"], decimals)]]
    totals += [
        [f"Tax {percent_text(ppm)} % on {_amount(net, decimals)}", _amount(tax, decimals)]
        for ppm, (net, tax) in sorted(_taxes(charges).items())
        if ppm or tax
    ]
    if rounding:
        totals.append(["Rounding", _amount(rounding, decimals)])
    details = [
        ["Invoice number", row["number"]],
        ["Date", row["issued_day"]],
        ["Period", f"{row['from_day']} to {until - timedelta(days=1)}"],
        ["Due", row["due_day"]],
    ]
    balances = [
        [f"Balance before {row['from_day']}", _amount(row["opening_nanos"], decimals)],
        ["Charges of this invoice", _amount(-row["gross_nanos"], decimals)],
        *(
            [_clean(line["description"]), _amount(line["gross_nanos"], decimals)]
            for line in lines
            if line["section"] in ("payment", "credit")
        ),
        [f"Balance on {until - timedelta(days=1)}", _amount(row["closing_nanos"], decimals)],
    ]
    return {
        **_common(row, "Invoice", details),
        "sections": _sections(charges, decimals),
        "totals": totals,
        "total": ["Total", f"{_amount(row['total_nanos'], decimals)} {currency}"],
        "balances": balances,
        "notes": [
            "These charges were taken from the account's balance when they arose. This invoice lists them and "
            "charges nothing again."
        ],
        "currency": currency,
    }


async def _credit_note_data(tx: Tx, row: RowMapping) -> dict[str, Any]:
    c = invoices.c
    number, day = (await tx.execute(select(c.number, c.issued_day).where(c.id == row["invoice_id"]))).one()
    decimals = decimals_of(row["currency"])
    details = [
        ["Credit note number", row["number"]],
        ["Date", row["issued_day"]],
        ["Refers to invoice", f"{number} of {day}"],
    ]
    line = {
        "section": "credit",
        "description": row["reason"],
        "prefix": "",
        "count": 1,
        "seconds": 0,
        "tax_ppm": row["tax_ppm"],
        "net_nanos": row["net_nanos"],
    }
    common = _common(row, "Credit note", details)
    return {
        **common,
        # Nobody pays it.
        "seller": {**common["seller"], "payment": []},
        "sections": _sections([line], decimals),
        "totals": [
            ["Net", _amount(row["net_nanos"], decimals)],
            [f"Tax {percent_text(row['tax_ppm'])} %", _amount(row["tax_nanos"], decimals)],
        ],
        "total": ["Credited", f"{_amount(row['gross_nanos'], decimals)} {row['currency']}"],
        "balances": [],
        "notes": ["The amount was added to the account's balance."],
        "currency": row["currency"],
    }


_HEADINGS: Final = {
    "call": "Calls",
    "package": "Packages",
    "fee": "Fees",
    "adjustment": "Adjustments",
    "credit": "Credit",
}


def _common(row: RowMapping, title: str, details: list[list[str]]) -> dict[str, Any]:
    seller, buyer = (msgspec.convert(row[name], Party) for name in ("seller", "buyer"))
    if buyer.reference:
        details.append(["Your reference", buyer.reference])
    if buyer.tax_id:
        details.append(["Your tax number", buyer.tax_id])
    return {
        "title": title,
        "number": _clean(row["number"]),
        "details": [[name, _clean(text)] for name, text in details],
        "seller": {
            "name": _clean(seller.name),
            "lines": _lines(seller.address) + _lines(seller.contact),
            "tax": _clean(seller.tax_id),
            "payment": _lines(seller.payment_details),
            "footer": _clean(seller.footer),
        },
        "buyer": {"name": _clean(buyer.name), "lines": _lines(buyer.address)},
    }


def _sections(lines: list[Any], decimals: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, heading in _HEADINGS.items():
        mine = [line for line in lines if line["section"] == name]
        if not mine:
            continue
        most = max((_decimals(line["net_nanos"]) for line in mine), default=0)
        shown = max(decimals, min(most, LINE_DECIMALS))
        rows = [
            {
                "text": _clean(line["description"]),
                "prefix": _clean(line["prefix"]),
                "count": f"{line['count']:,}",
                "minutes": _minutes(line["seconds"]) if name == "call" else "",
                "tax": f"{percent_text(line['tax_ppm'])} %",
                "net": _amount(line["net_nanos"], shown),
            }
            for line in mine
        ]
        net = sum(line["net_nanos"] for line in mine)
        found.append(
            {
                "heading": heading,
                "is_calls": name == "call",
                "rows": rows,
                "count": f"{sum(line['count'] for line in mine):,}",
                "minutes": _minutes(sum(line["seconds"] for line in mine)),
                "net": _amount(net, shown),
            }
        )
    return found


def _taxes(charges: list[RowMapping]) -> dict[int, tuple[int, int]]:
    sums: dict[int, tuple[int, int]] = {}
    for line in charges:
        net, tax = sums.get(line["tax_ppm"], (0, 0))
        sums[line["tax_ppm"]] = net + line["net_nanos"], tax + line["tax_nanos"]
    return sums


def _amount(nanos: int, decimals: int) -> str:
    """With thousands apart, and as many decimals as asked for; more where fewer would hide something."""
    magnitude = abs(nanos)
    places = max(decimals, min(_decimals(nanos), LINE_DECIMALS))
    step = 10 ** (9 - places)
    rounded = (magnitude + step // 2) // step * step
    whole, rest = divmod(rounded, NANOS)
    text = f"{whole:,}" + (f".{rest:09d}"[: places + 1] if places else "")
    return f"\u2212{text}" if nanos < 0 and rounded else text


def _decimals(nanos: int) -> int:
    text = format_amount(nanos)
    return len(text.partition(".")[2])


def _minutes(seconds: int) -> str:
    return f"{seconds // 60:,}:{seconds % 60:02d}"


def _lines(text: str) -> list[str]:
    return [line for line in (_clean(each) for each in text.splitlines()) if line][:12]


def _clean(text: str) -> str:
    """Text without what steers a printer or turns the direction of reading, its longest words breakable."""
    kept = "".join(each if unicodedata.category(each) not in ("Cc", "Cf", "Cs", "Co") else " " for each in text)
    words = []
    for word in kept.split():
        pieces = [word[at : at + WORD_CHARACTERS_MAX] for at in range(0, len(word), WORD_CHARACTERS_MAX)]
        words.append("\u200b".join(pieces))
    return " ".join(words)[:2_000]


def _mail_text(facts: Facts) -> str:
    row, buyer = facts.row, facts.data["buyer"]["name"].replace("\u200b", "")
    name, total = facts.data["total"]
    text = [f"Dear {buyer},", "", f"please find attached {facts.title.lower()} {facts.number}.", "", f"{name}: {total}"]
    if "due_day" in row:
        text.append(f"Due: {row['due_day']}")
    return "\n".join([*text, "", facts.data["seller"]["name"].replace("\u200b", ""), ""])
