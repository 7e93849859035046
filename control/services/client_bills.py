"""Clients' bills: one a month of what they have bought, beside the sums of their customer account.

A month is that of the client's own calendar. Its bill is drawn up an hour after the month's end, when
the last calls are in the store; months that passed while nobody looked are drawn up one by one, the oldest
first. `clients.bill_month` is the next one: it moves on in the transaction of the bill, and client and
month are unique among bills, so none is drawn twice. Numbers have no gaps. A month with nothing on it
has no bill. An issued bill never changes, and neither does its PDF.

The account's sums are what its ledger moved by in that month. They are charged to the account itself and
are no part of the bill's total.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, Final, Literal

import msgspec
import structlog
from msgspec import Meta
from sqlalchemy import Select, func, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import SQLAlchemyError

from control.services import clients
from control.services.client_bill_lines import Line, Totals, lines_of, totals_of
from control.services.client_endings import day_after_last
from control.services.client_rules import MONTHLY, bill_due_ms, month_named
from control.services.clients import CLIENTS
from control.services.context import Change, Context
from control.services.currencies import decimals_of
from control.services.days import parse_day
from control.services.errors import NotFound, ServiceError
from control.services.fields import ROW_ID_MAX, Id, Label, Moment, ms_moment, name_key, percent_text
from control.services.pages import ListQuery, Page, contains, read_page
from control.services.periods import Period, day_at, next_period
from control.store import tables
from control.store.client_bill_tables import client_bills, purchases
from control.store.engine import Tx, from_json, to_json
from rating.money import NANOS, format_amount

LOOK_S: Final = 30.0

log = structlog.get_logger("control.client_bills")

MonthText = Annotated[str, Meta(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$(?!\n)", examples=["2027-02"])]


class BillLine(msgspec.Struct, frozen=True, kw_only=True):
    purchase_id: int
    kind: Literal["setup", "monthly"]
    name: str
    quantity: int
    price: str
    first_day: str
    last_day: str
    days: int
    month_days: int
    net: str


class AccountSum(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    """Of the ledger: `call`, `package`, `payment`, …"""
    count: int
    amount: str
    """What the balance moved by: below zero was charged."""


class AccountSums(msgspec.Struct, frozen=True, kw_only=True):
    """What the client's customer account was charged and paid in the month. It is no part of the bill's total."""

    customer_id: int
    name: str
    currency: str
    sums: list[AccountSum]


class BillFacts(msgspec.Struct, frozen=True, kw_only=True):
    client_id: int
    month: str
    first_day: str
    last_day: str
    client_name: str
    billing_ref: str
    currency: str
    net: str
    tax_percent: str
    tax: str
    total: str


class BillPreview(BillFacts, frozen=True, kw_only=True):
    """What the month comes to as things are now."""

    lines: list[BillLine]
    account: AccountSums | None


class BillRow(BillFacts, frozen=True, kw_only=True):
    id: int
    number: int
    """Counted on from bill to bill, without a gap."""
    issued_at: Moment


class Bill(BillRow, frozen=True, kw_only=True):
    lines: list[BillLine]
    account: AccountSums | None


class BillQuery(ListQuery, frozen=True, kw_only=True):
    client_id: Id | None = None
    month: MonthText | None = None
    """Of this month."""
    billing_ref: Label | None = None
    """As it was on the bill, or as the client's is now."""
    currency: Label | None = None


class PreviewQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    month: MonthText | None = None
    """The one that is to be billed next where it is left out."""


async def run(ctx: Context) -> None:
    """Draw up what is due until cancelled; what fails is tried again."""
    while True:
        try:
            count = await run_due(ctx)
            if count:
                log.info("bills of clients were drawn up", count=count)
        except (SQLAlchemyError, ServiceError, OSError) as error:
            log.error("bills of clients were not drawn up", reason=str(error))
        await asyncio.sleep(LOOK_S)


async def run_due(ctx: Context) -> int:
    """Draw up every bill whose month is over; how many. A month at a time, each in a transaction of its own."""
    # A client that ended meanwhile has no bill for the months after: its own dates go first.
    await clients.run_due(ctx)
    count = 0
    refused: set[int] = set()
    while True:
        async with ctx.store.read() as tx:
            c = tables.clients.c
            due = select(c.id).where(c.bill_due_ms <= ctx.now_ms(), c.id.not_in(refused))
            due = due.order_by(c.bill_due_ms, c.id).limit(500)
            client_ids = list((await tx.execute(due)).scalars())
        if not client_ids:
            return count
        for client_id in client_ids:
            try:
                count += await _draw(ctx, client_id)
            except (ServiceError, SQLAlchemyError) as error:
                # At the next look again; others' bills do not wait for it.
                refused.add(client_id)
                log.error("a client was not billed", client_id=client_id, reason=str(error))


async def page(ctx: Context, query: BillQuery) -> Page[BillRow]:
    """The latest number first."""
    c = client_bills.c
    statement: Select[Any] = select(client_bills)
    for name in ("client_id", "month", "currency"):
        value = getattr(query, name)
        if value is not None:
            statement = statement.where(c[name] == value)
    if query.billing_ref is not None:
        key = name_key(query.billing_ref)
        now_of = select(tables.clients.c.id).where(tables.clients.c.billing_ref_key == key)
        statement = statement.where((c.billing_ref_key == key) | c.client_id.in_(now_of))
    if query.search:
        found = contains(client_bills, "client_name", query.search)
        statement = statement.where(found | c.billing_ref_key.contains(name_key(query.search), autoescape=True))
    if not query.sort:
        query = msgspec.structs.replace(query, sort="-number")
    async with ctx.store.read() as tx:
        rows, next_cursor = await read_page(tx, client_bills, statement, query, SORTS)
    return Page(items=[_row(row) for row in rows], next_cursor=next_cursor)


SORTS: Final = ("number", "id", "month", "client_id")


async def get(ctx: Context, bill_id: int) -> Bill:
    async with ctx.store.read() as tx:
        found = None
        if 0 < bill_id <= ROW_ID_MAX:
            query = select(client_bills).where(client_bills.c.id == bill_id)
            found = (await tx.execute(query)).mappings().first()
    if found is None:
        raise NotFound("bill", bill_id)
    return _whole(found)


async def preview(ctx: Context, client_id: int, query: PreviewQuery) -> BillPreview:
    """What a month that is not billed yet comes to; 404 where there is no such client."""
    async with ctx.store.read() as tx:
        client = await CLIENTS.row(tx, client_id)
        today = day_at(ctx.now_ms(), client["time_zone"])
        named = query.month or client["bill_month"] or today.isoformat()[:7]
        parse_day("month", f"{named}-01")
        month = month_named(named)
        lines, totals = await _priced(tx, client, month)
        account = await _account(tx, client, month)
    return BillPreview(
        **_facts(client, month, totals),
        lines=[_line(line) for line in lines],
        account=account,
    )


async def _draw(ctx: Context, client_id: int) -> bool:
    """Draw up the client's next bill if its month is over, and go on to the next; whether there was one to issue."""
    async with ctx.store.read() as tx:
        client = await _due_row(tx, client_id, ctx.now_ms())
        if client is None:
            return False
        # A sum over all calls of a month: not while others wait to write.
        account = await _account(tx, client, month_named(client["bill_month"]))
    seen = (client["bill_month"], client["time_zone"])
    async with ctx.change() as change:
        client = await _due_row(change.tx, client_id, change.now_ms)
        if client is None or (client["bill_month"], client["time_zone"]) != seen:
            return False
        return await _draw_next(change, client, account)


async def _due_row(tx: Tx, client_id: int, now_ms: int) -> RowMapping | None:
    table = tables.clients
    query = select(table).where(table.c.id == client_id, table.c.bill_due_ms <= now_ms)
    return (await tx.execute(query)).mappings().first()


async def _draw_next(change: Change, client: RowMapping, account: AccountSums | None) -> bool:
    table = tables.clients
    month = month_named(client["bill_month"])
    is_issued = await _issue(change, client, month, account)
    following = next_period(MONTHLY, month)
    life = _life(client)
    values: dict[str, Any] = {"bill_month": None, "bill_due_ms": None}
    if following is not None and life is not None and following.first < life.until:
        name = following.key[:7]
        values = {"bill_month": name, "bill_due_ms": bill_due_ms(name, client["time_zone"])}
    await change.tx.execute(update(table).where(table.c.id == client["id"]).values(**values))
    return is_issued


async def _issue(change: Change, client: RowMapping, month: Period, account: AccountSums | None) -> bool:
    lines, totals = await _priced(change.tx, client, month)
    if not lines and (account is None or not account.sums):
        return False
    number = (await change.tx.execute(select(func.max(client_bills.c.number)))).scalar() or 0
    facts = _facts(client, month, totals)
    values = {
        **{name: facts[name] for name in ("client_id", "month", "first_day", "last_day", "client_name")},
        "billing_ref": client["billing_ref"],
        "billing_ref_key": client["billing_ref_key"],
        "currency": client["currency"],
        "number": number + 1,
        "net_nanos": totals.net_nanos,
        "tax_ppm": client["tax_ppm"],
        "tax_nanos": totals.tax_nanos,
        "total_nanos": totals.total_nanos,
        "lines": to_json([_line(line) for line in lines]),
        "account": to_json(account),
        "issued_ms": change.now_ms,
    }
    row = (await change.tx.execute(insert(client_bills).values(**values).returning(client_bills))).mappings().one()
    await change.audit("issue", "client_bill", row["id"], after=_row(row))
    return True


async def _priced(tx: Tx, client: RowMapping, month: Period) -> tuple[list[Line], Totals]:
    decimals = decimals_of(client["currency"])
    life = _life(client)
    lines: list[Line] = []
    if life is not None:
        c = purchases.c
        query = select(purchases).where(c.client_id == client["id"], c.archived_ms.is_(None)).order_by(c.id)
        lines = lines_of(list((await tx.execute(query)).mappings()), month, life, decimals)
    return lines, totals_of(lines, client["tax_ppm"], decimals)


def _life(client: RowMapping) -> Period | None:
    """The days that the client is billed for at all; the management client, and one that never was active, for none."""
    if client["activated_ms"] is None:
        return None
    first = day_at(client["activated_ms"], client["time_zone"])
    return Period(first, date.max if client["ended_ms"] is None else max(first, day_after_last(client)))


async def _account(tx: Tx, client: RowMapping, month: Period) -> AccountSums | None:
    customers = tables.customers.c
    query = select(customers.id, customers.name, customers.currency).where(
        customers.client_id == client["id"], customers.archived_ms.is_(None)
    )
    customer = (await tx.execute(query)).mappings().first()
    if customer is None:
        return None
    entries = tables.ledger_entries.c
    # In two parts: what came and went may pass the 64 bits that SQLite adds up in. Both divide towards zero.
    units, rest = entries.amount_nanos // NANOS, entries.amount_nanos % NANOS
    within = (
        select(entries.kind, func.count(), func.sum(units), func.sum(rest))
        .where(
            entries.customer_id == customer["id"],
            entries.at_ms >= month.start_ms(client["time_zone"]),
            entries.at_ms < month.end_ms(client["time_zone"]),
        )
        .group_by(entries.kind)
        .order_by(entries.kind)
    )
    sums = [
        AccountSum(kind=kind, count=count, amount=format_amount(int(whole) * NANOS + int(part)))
        for kind, count, whole, part in await tx.execute(within)
    ]
    return AccountSums(customer_id=customer["id"], name=customer["name"], currency=customer["currency"], sums=sums)


def _facts(client: RowMapping, month: Period, totals: Totals) -> dict[str, Any]:
    return {
        "client_id": client["id"],
        "month": month.key[:7],
        "first_day": month.first.isoformat(),
        "last_day": month.last.isoformat(),
        "client_name": client["name"],
        "billing_ref": client["billing_ref"],
        "currency": client["currency"],
        "net": format_amount(totals.net_nanos),
        "tax_percent": percent_text(client["tax_ppm"]),
        "tax": format_amount(totals.tax_nanos),
        "total": format_amount(totals.total_nanos),
    }


def _line(line: Line) -> BillLine:
    return BillLine(
        purchase_id=line.purchase_id,
        kind=line.kind,
        name=line.name,
        quantity=line.quantity,
        price=format_amount(line.price_nanos),
        first_day=line.first.isoformat(),
        last_day=line.last.isoformat(),
        days=line.days,
        month_days=line.month_days,
        net=format_amount(line.net_nanos),
    )


def _row(row: RowMapping) -> BillRow:
    return BillRow(**_stored(row))


def _whole(row: RowMapping) -> Bill:
    lines: Sequence[Any] = from_json(row["lines"])
    account = from_json(row["account"])
    return Bill(
        **_stored(row),
        lines=msgspec.convert(lines, list[BillLine]),
        account=msgspec.convert(account, AccountSums | None),
    )


def _stored(row: RowMapping) -> dict[str, Any]:
    names = ("id", "number", "client_id", "month", "first_day", "last_day", "client_name", "billing_ref", "currency")
    return {
        **{name: row[name] for name in names},
        "net": format_amount(row["net_nanos"]),
        "tax_percent": percent_text(row["tax_ppm"]),
        "tax": format_amount(row["tax_nanos"]),
        "total": format_amount(row["total_nanos"]),
        "issued_at": ms_moment(row["issued_ms"]),
    }
