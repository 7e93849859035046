"""What stands on an invoice: ledger entries and CDRs of a period, added up by line.

Nothing is priced here. Every line is a sum of ledger entries, so that an invoice says what the balance was
charged, to the last digit, and moves nothing. Calls are lines by prefix and name of their rate row, all
else by what its entries say. Payments and credit notes of the period are shown and are no charges.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.engine import RowMapping

from control.services.fields import percent_ppm
from control.store import tables
from control.store.engine import Tx, from_json
from rating.money import PPM

Section = Literal["call", "package", "fee", "adjustment", "payment", "credit"]
CHARGES: Final = ("call", "package", "fee", "adjustment")

CREDIT_NOTE: Final = "credit note "
"""How the references of credit notes' entries begin."""

_ENTRIES: Final = tables.ledger_entries.c
_CDRS: Final = tables.cdrs.c


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries: those that count before the end and that the invoice before has not."""

    customer_id: int
    starts_ms: int
    ends_ms: int
    after_entry_id: int
    """Up to which the invoice before has what counts before `starts_ms`; the same as `upto_entry_id` where there is
    none, and what came before is opening balance alone."""
    upto_entry_id: int
    """The last that there was: what comes later is on the next."""

    def condition(self) -> ColumnElement[bool]:
        is_late = and_(_ENTRIES.at_ms < self.starts_ms, _ENTRIES.id > self.after_entry_id)
        return and_(
            _ENTRIES.customer_id == self.customer_id,
            _ENTRIES.id <= self.upto_entry_id,
            _ENTRIES.at_ms < self.ends_ms,
            or_(_ENTRIES.at_ms >= self.starts_ms, is_late),
        )


class Line(msgspec.Struct, frozen=True, kw_only=True):
    section: Section
    description: str
    prefix: str = ""
    count: int = 1
    """Calls, or entries."""
    seconds: int = 0
    """Billed."""
    tax_ppm: int = 0
    net_nanos: int
    tax_nanos: int
    gross_nanos: int
    """Of charges what is to be paid; of payments and credits what came."""


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    lines: list[Line]
    net_nanos: int
    tax_nanos: int
    gross_nanos: int
    payments_nanos: int
    """Payments and credit notes, less what was taken back."""


async def read_sums(tx: Tx, window: Window) -> Sums:
    rates = await _read_rates(tx, window.customer_id)
    lines = [*await _read_calls(tx, window, rates), *await _read_others(tx, window, rates)]
    charges = [line for line in lines if line.section in CHARGES]
    return Sums(
        lines=lines,
        net_nanos=sum(line.net_nanos for line in charges),
        tax_nanos=sum(line.tax_nanos for line in charges),
        gross_nanos=sum(line.gross_nanos for line in charges),
        payments_nanos=sum(line.gross_nanos for line in lines if line.section not in CHARGES),
    )


async def last_entry_id(tx: Tx) -> int:
    return (await tx.execute(select(func.max(_ENTRIES.id)))).scalar_one_or_none() or 0


async def balance_before(tx: Tx, customer_id: int, at_ms: int, upto_entry_id: int) -> int:
    """The balance by entries that count before a time, as far as there were any."""
    query = select(func.coalesce(func.sum(_ENTRIES.amount_nanos), 0)).where(
        _ENTRIES.customer_id == customer_id, _ENTRIES.at_ms < at_ms, _ENTRIES.id <= upto_entry_id
    )
    return int((await tx.execute(query)).scalar_one())


class Rate(msgspec.Struct, frozen=True):
    """A customer's tax from a time on."""

    since_ms: int
    ppm: int


async def _read_rates(tx: Tx, customer_id: int) -> list[Rate]:
    """As they were, by the audit trail: no call and no entry names its own."""
    audit = tables.audit.c
    query = (
        select(audit.at_ms, audit.after)
        .where(audit.noun == "customer", audit.noun_id == str(customer_id), audit.after.is_not(None))
        .order_by(audit.id)
    )
    found: list[Rate] = []
    for at_ms, after in await tx.execute(query):
        text = from_json(after).get("tax_percent")
        if text is None:
            continue
        ppm = percent_ppm("tax_percent", text)
        if not found or found[-1].ppm != ppm:
            found.append(Rate(at_ms, ppm))
    if not found:
        customers = tables.customers.c
        current = (await tx.execute(select(customers.tax_ppm).where(customers.id == customer_id))).scalar_one()
        found.append(Rate(0, current))
    return found


async def _read_calls(tx: Tx, window: Window, rates: list[Rate]) -> list[Line]:
    """By rate row and tax: that of a call is the one of its INVITE."""
    before = [(_CDRS.invited_ms < rate.since_ms, place) for place, rate in enumerate(rates[1:])]
    place = case(*before, else_=len(rates) - 1) if before else _ENTRIES.customer_id * 0
    grouped = (
        select(
            _CDRS.prefix.label("prefix"),
            _CDRS.destination.label("destination"),
            place.label("place"),
            _CDRS.billed_s.label("seconds"),
            _ENTRIES.net_nanos.label("net"),
            _ENTRIES.tax_nanos.label("tax"),
        )
        .join(tables.cdrs, _CDRS.number == _ENTRIES.cdr_number)
        .where(window.condition(), _ENTRIES.kind == "call")
        .subquery()
    )
    g = grouped.c
    query = select(
        g.prefix, g.destination, g.place, func.count(), func.sum(g.seconds), func.sum(g.net), func.sum(g.tax)
    ).group_by(g.prefix, g.destination, g.place)
    lines = [
        Line(
            section="call",
            description=destination or "Calls",
            prefix=prefix,
            count=int(count),
            seconds=int(seconds),
            tax_ppm=rates[int(rate)].ppm,
            net_nanos=int(net),
            tax_nanos=int(tax),
            gross_nanos=int(net) + int(tax),
        )
        for prefix, destination, rate, count, seconds, net, tax in await tx.execute(query)
    ]
    return sorted(lines, key=lambda line: (line.description.casefold(), line.prefix, line.tax_ppm))


async def _read_others(tx: Tx, window: Window, rates: list[Rate]) -> list[Line]:
    """Entries that no call made, those of one text together."""
    query = (
        select(tables.ledger_entries)
        .where(window.condition(), _ENTRIES.kind != "call")
        .order_by(_ENTRIES.at_ms, _ENTRIES.id)
    )
    merged: dict[tuple[str, str, int], Line] = {}
    for row in (await tx.execute(query)).mappings():
        line = _line(row, rates)
        key = (line.section, line.description, line.tax_ppm)
        merged[key] = _added(merged[key], line) if key in merged else line
    order = ("package", "fee", "adjustment", "payment", "credit")
    return sorted(merged.values(), key=lambda line: order.index(line.section))


_NAMES: Final[dict[str, str]] = {
    "package": "Package",
    "fee": "Fee",
    "tax": "Tax",
    "adjustment": "Adjustment",
    "reversal": "Taken back",
    "payment": "Payment",
}


def _line(row: RowMapping, rates: list[Rate]) -> Line:
    section, description = _section(row)
    # Before tax was told apart an entry was all net; what is paid has no tax either.
    net = -row["amount_nanos"] if row["net_nanos"] is None else row["net_nanos"]
    tax = -row["amount_nanos"] - net
    sign = 1 if section in CHARGES else -1
    return Line(
        section=section,
        description=description,
        tax_ppm=_nearest(rates, net, tax),
        net_nanos=sign * net,
        tax_nanos=sign * tax,
        gross_nanos=sign * (net + tax),
    )


def _section(row: RowMapping) -> tuple[Section, str]:
    kind, description = row["kind"], row["description"] or _NAMES[row["kind"]]
    if row["payment_id"] is not None or kind == "payment":
        return "payment", f"{description} (taken back)" if kind == "reversal" and row["description"] else description
    if row["reference"].startswith(CREDIT_NOTE):
        return "credit", description
    if kind == "adjustment" and row["cdr_number"] is not None:
        return "adjustment", "Calls priced anew"
    if kind in ("package", "fee"):
        return kind, description
    return "adjustment", f"{description} (taken back)" if kind == "reversal" and row["description"] else description


def _nearest(rates: list[Rate], net: int, tax: int) -> int:
    """Which of the customer's rates an entry was taxed by; 0 where it was not."""
    if not tax or not net:
        return 0
    return min({rate.ppm for rate in rates}, key=lambda ppm: (abs(net * ppm - tax * PPM), ppm))


def _added(line: Line, more: Line) -> Line:
    sums: dict[str, Any] = {
        name: getattr(line, name) + getattr(more, name)
        for name in ("count", "seconds", "net_nanos", "tax_nanos", "gross_nanos")
    }
    return msgspec.structs.replace(line, **sums)
