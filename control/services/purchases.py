"""What a client has bought: a quantity of a product, from a day on, through another.

`end_date` is the last day that is billed. Name and prices are those of the day it was bought. A purchase
ends by `cancel`, after the product's notice; quantities do not change: more is another purchase.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from sqlalchemy import func, select
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.days import DayText, day_of, parse_day
from control.services.errors import Conflict, FieldError, NotFound, invalid
from control.services.fields import AMOUNT_NANOS_MAX, Id, Label, Moment, Notes, moment_or_none
from control.services.nouns import Noun
from control.services.owners import require
from control.services.pages import ListQuery
from control.services.periods import day_at
from control.services.products import ProductKind
from control.store import tables
from control.store.client_bill_tables import products, purchases
from control.store.engine import Tx
from rating.money import format_amount

Quantity = Annotated[int, Meta(ge=1, le=100_000)]


class PurchaseNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    client_id: Id
    product_id: Id
    quantity: Quantity = 1
    start_date: DayText | None = None
    """The first day; where it is left out today, or the client's start where that lies ahead."""
    end_date: DayText | None = None
    """The last day; null: until it is cancelled."""
    notes: Notes = ""


class Purchase(PurchaseNew, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment
    name: str
    kind: ProductKind
    currency: str
    monthly_price: str
    """Of one, as it was when it was bought; so are the next two."""
    setup_price: str
    notice_days: int
    cancelled_at: Moment | None


class PurchaseQuery(ListQuery, frozen=True, kw_only=True):
    client_id: Id | None = None
    product_id: Id | None = None
    kind: ProductKind | None = None
    currency: Label | None = None
    on: DayText | None = None
    """Those that run on that day."""


class Cancellation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    at: DayText | None = None
    """The last day that is billed; the earliest that the notice allows where it is left out."""
    waive_notice: bool = False
    """Let it end earlier than its notice says, though not before today."""


class Purchases(Noun[PurchaseNew, Purchase]):
    name = "purchase"
    table = purchases
    new = PurchaseNew
    out = Purchase
    fixed = ("client_id", "product_id", "quantity", "start_date", "end_date")
    sorts = ("id", "start_date", "client_id", "product_id", "created_at", "updated_at")
    search = ("name", "notes")

    async def check(self, ctx: Context, change: Change, new: PurchaseNew, before: RowMapping | None) -> dict[str, Any]:
        if before is not None:
            return {}
        client = await require(change.tx, tables.clients, "client_id", "client", new.client_id)
        product = await require(change.tx, products, "product_id", "product", new.product_id)
        if client["status"] == "inactive":
            raise _refusal("client_id", "An inactive client buys nothing.")
        if not product["enabled"]:
            raise _refusal("product_id", f"{product['name']} is not for sale.")
        if product["currency"] != client["currency"]:
            detail = (
                f"{product['name']} is sold in {product['currency']}, the client is billed in {client['currency']}."
            )
            raise _refusal("product_id", detail)
        for path in ("monthly_price", "setup_price"):
            if product[f"{path}_nanos"] * new.quantity > AMOUNT_NANOS_MAX // 10:
                raise invalid("quantity", f"so many cost over {format_amount(AMOUNT_NANOS_MAX // 10)}")
        start = _start_of(new, client, change.now_ms)
        if new.end_date is not None and parse_day("end_date", new.end_date) < start:
            raise invalid("end_date", f"before its start on {start}")
        await _check_sum(change.tx, new, product, start)
        copied = ("name", "kind", "currency", "monthly_price_nanos", "setup_price_nanos", "notice_days")
        return {"start_date": start.isoformat(), **{name: product[name] for name in copied}}

    async def archive_in(self, change: Change, row_id: int, expected: int | None = None) -> None:
        """Only of what nobody was billed for yet."""
        row = await self.row(change.tx, row_id)
        client = await require(change.tx, tables.clients, "client_id", "client", row["client_id"])
        has_begun = row["start_date"] <= day_at(change.now_ms, client["time_zone"]).isoformat()
        if has_begun and client["activated_ms"] is not None:
            raise _refusal("end_date", "The purchase has begun: cancel it.")
        await super().archive_in(change, row_id, expected)

    def shown(self, row: RowMapping) -> dict[str, Any]:
        return {
            "monthly_price": format_amount(row["monthly_price_nanos"]),
            "setup_price": format_amount(row["setup_price_nanos"]),
            "cancelled_at": moment_or_none(row["cancelled_ms"]),
        }

    def filtered(self, query: ListQuery) -> Any:
        statement = super().filtered(query)
        on = getattr(query, "on", None)
        if on is not None:
            day = parse_day("on", on).isoformat()
            is_on = purchases.c.end_date.is_(None) | (purchases.c.end_date >= day)
            statement = statement.where(purchases.c.start_date <= day, is_on)
        return statement

    async def cancel(self, ctx: Context, client_id: int, row_id: int, new: Cancellation) -> Purchase:
        """End it after its notice; what has not begun by then never does."""
        async with ctx.change() as change:
            row = await self.row(change.tx, row_id)
            if row["client_id"] != client_id:
                raise NotFound(self.name, row_id)
            client = await require(change.tx, tables.clients, "client_id", "client", client_id)
            today = day_at(change.now_ms, client["time_zone"])
            if row["end_date"] is not None and row["end_date"] < today.isoformat():
                raise _refusal("at", f"The purchase ended on {row['end_date']}.")
            ends = None if row["end_date"] is None else date.fromisoformat(row["end_date"])
            earliest = today if new.waive_notice else today + timedelta(days=row["notice_days"])
            last = min(earliest, ends or earliest) if new.at is None else parse_day("at", new.at)
            if ends is not None and last > ends:
                raise invalid("at", f"it ends on {ends} already")
            if last < earliest and last != ends:
                raise invalid("at", f"before {earliest}, which its notice of {row['notice_days']} days allows")
            return await self.end(change, row, last)

    async def end(self, change: Change, row: RowMapping, last: date) -> Purchase:
        """Let it end on this day, for whatever reason; one that would begin later is taken out."""
        values: dict[str, Any] = {"end_date": last.isoformat(), "cancelled_ms": change.now_ms}
        if row["start_date"] > last.isoformat():
            values = {"archived_ms": change.now_ms, "cancelled_ms": change.now_ms}
        written = await self.write(change, row, values)
        return await self._announce(change, "cancel", row, written)

    async def follow_start(self, change: Change, client_id: int, was: str, day: str) -> None:
        """Bring what was to begin on the first day of a client, which has not begun, to its new one."""
        for row in await self.rows_of(change.tx, "client_id", client_id):
            if row["start_date"] != was:
                continue
            if row["end_date"] is not None and row["end_date"] < day:
                raise invalid("start_date", f"{row['name']} was bought through {row['end_date']}, before it")
            await self._announce(change, "update", row, await self.write(change, row, {"start_date": day}))


PURCHASES: Final = Purchases()


async def _check_sum(tx: Tx, new: PurchaseNew, product: RowMapping, start: date) -> None:
    """What a client has in a month is a sum that fits the store: a bill that does not would hold up all bills."""
    c = purchases.c
    of_one = c.monthly_price_nanos + c.setup_price_nanos
    query = select(func.sum(c.quantity * of_one)).where(
        c.client_id == new.client_id,
        c.archived_ms.is_(None),
        c.end_date.is_(None) | (c.end_date >= start.replace(day=1).isoformat()),
    )
    has = int((await tx.execute(query)).scalar() or 0)
    if has + new.quantity * (product["monthly_price_nanos"] + product["setup_price_nanos"]) > AMOUNT_NANOS_MAX:
        raise invalid("quantity", f"with what the client has it costs over {format_amount(AMOUNT_NANOS_MAX)}")


def _start_of(new: PurchaseNew, client: RowMapping, now_ms: int) -> date:
    zone = client["time_zone"]
    today = day_at(now_ms, zone)
    if new.start_date is None:
        begins = today if client["start_date"] is None else day_of("start_date", client["start_date"], zone)
        return max(today, begins)
    start = parse_day("start_date", new.start_date)
    if client["bill_month"] is not None and start.isoformat()[:7] < client["bill_month"]:
        raise invalid("start_date", f"before {client['bill_month']}: the months before it are billed")
    return start


def _refusal(path: str, detail: str) -> Conflict:
    return Conflict(detail, errors=[FieldError(path, detail)])
