"""What a month costs a client: each purchase by its days, and tax once on the sum. Exact whole numbers throughout.

A day counts where the purchase runs and the client is billed: from the day that it was active first
through the day that it became inactive, suspended or not. A whole month costs the price itself, a part
of it `price * days / days of the month`, rounded once per line, halves up, to the currency's smallest
coin. What is bought costs its setup price in the month of its first day that counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Literal, Protocol

import msgspec

from control.services.client_rules import MONTHLY
from control.services.periods import Period, share_nanos, within
from rating.money import HALF_UP, STEPS, round_ratio


class Line(msgspec.Struct, frozen=True, kw_only=True):
    purchase_id: int
    kind: Literal["setup", "monthly"]
    name: str
    quantity: int
    price_nanos: int
    """Of one: its setup price, or that of a whole month."""
    first: date
    last: date
    days: int
    month_days: int
    net_nanos: int


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    net_nanos: int
    tax_nanos: int
    total_nanos: int


class PurchaseRow(Protocol):
    """A row of `purchases`, by column."""

    def __getitem__(self, column: Any, /) -> Any: ...


def lines_of(purchases: Sequence[PurchaseRow], month: Period, life: Period, decimals: int) -> list[Line]:
    """Every line of a month, in the order of the purchases: setup first, then the month's share.

    Args:
        life: the days that the client is billed for at all.
    """
    return [line for row in purchases for line in _lines_of_one(row, month, life, decimals)]


def totals_of(lines: Sequence[Line], tax_ppm: int, decimals: int) -> Totals:
    net = sum(line.net_nanos for line in lines)
    tax = round_ratio(net * tax_ppm, 1_000_000, STEPS[decimals], HALF_UP)
    return Totals(net_nanos=net, tax_nanos=tax, total_nanos=net + tax)


def _lines_of_one(row: PurchaseRow, month: Period, life: Period, decimals: int) -> list[Line]:
    until = None if row["end_date"] is None else date.fromisoformat(row["end_date"]) + timedelta(days=1)
    billed = within(life, date.fromisoformat(row["start_date"]), until)
    part = None if billed is None else within(month, billed.first, billed.until)
    if billed is None or part is None:
        return []
    found = []
    quantity, setup, monthly = row["quantity"], row["setup_price_nanos"], row["monthly_price_nanos"]
    if setup and part.first == billed.first:
        once = Period(part.first, part.first + timedelta(days=1))
        found.append(_line(row, "setup", setup, once, month, quantity * setup))
    if monthly:
        net = share_nanos(quantity * monthly, MONTHLY, month, part, decimals=decimals)
        found.append(_line(row, "monthly", monthly, part, month, net))
    return found


def _line(
    row: PurchaseRow, kind: Literal["setup", "monthly"], price: int, part: Period, month: Period, net: int
) -> Line:
    return Line(
        purchase_id=row["id"],
        kind=kind,
        name=row["name"],
        quantity=row["quantity"],
        price_nanos=price,
        first=part.first,
        last=part.last,
        days=part.days,
        month_days=month.days,
        net_nanos=net,
    )
