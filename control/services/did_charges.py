"""What DIDs cost their customers by the month: booked at the beginning of each, on the customer's calendar.

The month in which a number is assigned is charged from that day on, by days. Nothing is paid back when
it is released: charging stops. A period is one row for the DID, the customer and its first day, so that
it is never charged twice; months that began while nobody looked are charged one by one. It goes on
whatever the customer's balance or status is, and while its client is suspended; a client that has not
begun, or has ended, is not billed.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Select, and_, func, insert, or_, select, update
from sqlalchemy.engine import RowMapping

from control.services import ledger
from control.services.context import Change, Context
from control.services.currencies import decimals_of
from control.services.package_terms import tax_nanos
from control.services.periods import Period, Rule, day_at, day_start_ms, period_of, share_nanos
from control.store import tables
from control.store.did_tables import did_charges, dids

MONTHLY: Final = Rule("monthly")
BILLED: Final = ("active", "suspended")
"""Statuses of clients whose services are billed."""
DAY_MS: Final = 86_400_000
ROWS_MAX: Final = 500
"""DIDs charged in one transaction: others wait for it."""


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """What of a customer and its client charges depend on."""

    id: int
    currency: str
    time_zone: str
    tax_ppm: int
    status: str | None
    """Of the client; None: there is none."""
    starts_at_ms: int | None
    ends_at_ms: int | None

    @property
    def is_billed(self) -> bool:
        return self.status is None or self.status in BILLED

    def has_ended(self, day: date) -> bool:
        return self.ends_at_ms is not None and self.ends_at_ms <= day_start_ms(day, self.time_zone)


async def begin(change: Change, did_id: int) -> None:
    """Charge the first month, or what is left of it, and the setup, of a DID that has just been assigned.

    Days that the same customer has paid for already, before it gave the number back, are not charged again.
    """
    row = await _row(change, did_id)
    owner = await _owner(change, row["customer_id"])
    today = day_at(change.now_ms, owner.time_zone)
    c = did_charges.c
    paid = select(func.max(c.until_day)).where(c.did_id == did_id, c.customer_id == owner.id, c.kind == "month")
    until = (await change.tx.execute(paid)).scalar_one()
    first = today if until is None else max(today, date.fromisoformat(until))
    await _set_next(change, did_id, first, owner, is_setup_due=True)
    await charge_due(change, await _row(change, did_id))


async def end(change: Change, row: RowMapping) -> None:
    """Charge the months that had begun by now, before a DID is released; nothing is charged after."""
    await charge_due(change, row)
    nothing = {"charge_from": None, "charge_due_ms": None, "is_setup_due": False}
    await change.tx.execute(update(dids).where(dids.c.id == row["id"]).values(**nothing))


async def charge_due(change: Change, row: RowMapping) -> int:
    """Charge every month of a DID that has begun and is not charged; how many."""
    if row["charge_from"] is None:
        return 0
    owner = await _owner(change, row["customer_id"])
    today = day_at(change.now_ms, owner.time_zone)
    first = date.fromisoformat(row["charge_from"])
    if not owner.is_billed:
        # It is billed from the day on that it begins, whichever that will be.
        if first < today:
            await _set_next(change, row["id"], today, owner)
        return 0
    if owner.starts_at_ms is not None:
        first = max(first, day_at(owner.starts_at_ms, owner.time_zone))
    if row["is_setup_due"]:
        await _charge_setup(change, row, owner, today)
    count = 0
    while first <= today and not owner.has_ended(first):
        period = period_of(MONTHLY, first)
        await _charge_month(change, row, owner, period, Period(first, period.until))
        first = period.until
        count += 1
    await _set_next(change, row["id"], first, owner, is_setup_due=False)
    return count


async def run_due(ctx: Context) -> int:
    """Charge every month that has begun, of all DIDs; how many."""
    count = 0
    after = 0
    while True:
        async with ctx.store.read() as tx:
            found = (await tx.execute(_due(ctx.now_ms(), after).limit(ROWS_MAX))).mappings()
            ids = [row["id"] for row in found]
        if not ids:
            return count
        after = ids[-1]
        async with ctx.change() as change:
            for did_id in ids:
                count += await charge_due(change, await _row(change, did_id))


def _due(now_ms: int, after: int) -> Select[Any]:
    customers, clients = tables.customers, tables.clients
    joined = dids.join(customers, customers.c.id == dids.c.customer_id).outerjoin(
        clients, clients.c.id == customers.c.client_id
    )
    is_billed = or_(clients.c.id.is_(None), clients.c.status.in_(BILLED))
    # Of the others the day of beginning follows the calendar, a day behind at most.
    is_behind = and_(clients.c.id.is_not(None), dids.c.charge_due_ms <= now_ms - DAY_MS)
    goes_on = or_(clients.c.ends_at_ms.is_(None), clients.c.ends_at_ms > dids.c.charge_due_ms)
    return (
        select(dids.c.id)
        .select_from(joined)
        .where(dids.c.id > after, dids.c.charge_due_ms <= now_ms, or_(is_billed, is_behind), goes_on)
        .order_by(dids.c.id)
    )


async def _charge_month(change: Change, row: RowMapping, owner: Owner, period: Period, part: Period) -> None:
    decimals = decimals_of(owner.currency)
    net = share_nanos(row["retail_nanos"], MONTHLY, period, part, decimals=decimals)
    cost = share_nanos(row["cost_nanos"], MONTHLY, period, part, decimals=decimals)
    if not net and not cost:
        return
    text = f"Number {row['number']}, {part.first.isoformat()} to {part.last.isoformat()}"
    await _charge(change, row, owner, "month", part, net, cost, text)


async def _charge_setup(change: Change, row: RowMapping, owner: Owner, today: date) -> None:
    net, cost = row["setup_retail_nanos"], row["setup_cost_nanos"]
    if net or cost:
        part = Period(today, today + timedelta(days=1))
        await _charge(change, row, owner, "setup", part, net, cost, f"Number {row['number']}, setup")


async def _charge(
    change: Change, row: RowMapping, owner: Owner, kind: str, part: Period, net: int, cost: int, text: str
) -> None:
    """Book one period, unless it is booked."""
    c = did_charges.c
    first_day = part.first.isoformat()
    same = select(c.id).where(
        c.did_id == row["id"], c.customer_id == owner.id, c.kind == kind, c.first_day == first_day
    )
    if (await change.tx.execute(same)).scalar_one_or_none() is not None:
        return
    tax = tax_nanos(net, owner.tax_ppm, decimals_of(owner.currency))
    entry_id = None
    if net:
        entry_id = await ledger.append(
            change,
            customer_id=owner.id,
            kind="fee",
            amount_nanos=-(net + tax),
            net_nanos=net,
            tax_nanos=tax,
            description=text,
            reference=f"did:{row['id']}:{kind}:{first_day}",
        )
    await change.tx.execute(
        insert(did_charges).values(
            did_id=row["id"],
            customer_id=owner.id,
            provider_id=row["provider_id"],
            kind=kind,
            first_day=first_day,
            until_day=part.until.isoformat(),
            net_nanos=net,
            tax_nanos=tax,
            cost_nanos=cost,
            entry_id=entry_id,
            at_ms=change.now_ms,
        )
    )


async def _set_next(change: Change, did_id: int, first: date, owner: Owner, **more: Any) -> None:
    due_ms = day_start_ms(first, owner.time_zone)
    values = {"charge_from": first.isoformat(), "charge_due_ms": due_ms, **more}
    # No version is counted up: nothing that anybody has set changes.
    await change.tx.execute(update(dids).where(dids.c.id == did_id).values(**values))


async def _row(change: Change, did_id: int) -> RowMapping:
    return (await change.tx.execute(select(dids).where(dids.c.id == did_id))).mappings().one()


async def _owner(change: Change, customer_id: int) -> Owner:
    customers, clients = tables.customers, tables.clients
    query = (
        select(
            *(customers.c[name] for name in ("id", "currency", "time_zone", "tax_ppm")),
            *(clients.c[name] for name in ("status", "starts_at_ms", "ends_at_ms")),
        )
        .outerjoin(clients, clients.c.id == customers.c.client_id)
        .where(customers.c.id == customer_id)
    )
    return Owner(**(await change.tx.execute(query)).mappings().one())
