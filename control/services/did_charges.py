"""What DIDs cost their customers by the month: booked at the beginning of each, on the customer's calendar.

The month in which a number is assigned is charged from that day on, by days. Nothing is paid back when
it is released: charging stops. A period is one row for the DID, the customer and its first day, so that
it is never charged twice; months that began while nobody looked are charged one by one. It goes on
whatever the customer's balance or status is, and while its client is suspended; a client that has not
begun, or has ended, is not billed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import Any, Final, Literal

import msgspec
import structlog
from sqlalchemy import Select, and_, bindparam, func, insert, or_, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import SQLAlchemyError

from control.services import ledger
from control.services.context import Change, Context
from control.services.currencies import decimals_of
from control.services.errors import ServiceError
from control.services.ledger import EntryNew
from control.services.memos import recalled
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

log = structlog.get_logger("control.dids")

_COLLECTED: Final = "charges of DIDs"
"""What a change notes that books all of its charges together."""


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
    activated_ms: int | None
    ended_ms: int | None

    @property
    def is_billed(self) -> bool:
        return self.status is None or self.status in BILLED

    def has_ended(self, day: date) -> bool:
        return self.ends_at_ms is not None and self.ends_at_ms <= day_start_ms(day, self.time_zone)

    def as_it_ended(self) -> Owner:
        """Of a client that has just become inactive: billed to its end, which may be long past after downtime."""
        if self.status != "inactive" or self.activated_ms is None:
            return self
        ends = [at_ms for at_ms in (self.ends_at_ms, self.ended_ms) if at_ms is not None]
        return msgspec.structs.replace(self, status="active", ends_at_ms=min(ends, default=None))


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """A period to be booked."""

    did_id: int
    number: str
    customer_id: int
    provider_id: int | None
    kind: Literal["month", "setup"]
    part: Period
    net_nanos: int
    tax_nanos: int
    cost_nanos: int

    @property
    def key(self) -> tuple[int, int, str, str]:
        """What no two charges share."""
        return self.did_id, self.customer_id, self.kind, self.part.key


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is due of one DID, and what of its row says what is due next."""

    did_id: int
    charges: list[Charge]
    charge_from: str | None
    charge_due_ms: int | None
    is_setup_due: bool = False


async def begin(change: Change, row: RowMapping) -> RowMapping:
    """Charge the first month, or what is left of it, and the setup, of a DID that has just been assigned.

    Days that the same customer has paid for already, before it gave the number back, are not charged again.

    Returns:
        The row after it, or as it was where it is charged `together` with others.
    """
    owner = await _owner(change, row["customer_id"])
    first = day_at(change.now_ms, owner.time_zone)
    if row["row_version"] > 1:
        c = did_charges.c
        paid = select(func.max(c.until_day)).where(c.did_id == row["id"], c.customer_id == owner.id, c.kind == "month")
        until = (await change.tx.execute(paid)).scalar_one()
        first = first if until is None else max(first, date.fromisoformat(until))
    await _book(change, plan(row, owner, change.now_ms, first, is_setup_due=True))
    if _COLLECTED in change.memo:
        return row
    return (await change.tx.execute(select(dids).where(dids.c.id == row["id"]))).mappings().one()


async def end(change: Change, row: RowMapping) -> None:
    """Charge the months that had begun by now, before a DID is released; nothing is charged after."""
    if row["charge_from"] is not None:
        owner = (await _owner(change, row["customer_id"])).as_it_ended()
        due = _plan_of(row, owner, change.now_ms)
        await _book(change, msgspec.structs.replace(due, charge_from=None, charge_due_ms=None, is_setup_due=False))


async def charge_due(change: Change, row: RowMapping) -> None:
    """Charge every month of a DID that has begun and is not charged."""
    if row["charge_due_ms"] is not None and row["charge_due_ms"] <= change.now_ms:
        await _book(change, await _plan(change, row))


@asynccontextmanager
async def together(change: Change) -> AsyncIterator[None]:
    """Book what the block charges at its end and all at once: for those who assign thousands of numbers."""
    collected: list[Plan] = []
    change.memo[_COLLECTED] = collected
    yield
    del change.memo[_COLLECTED]
    await _book_all(change, collected)


async def run_due(ctx: Context) -> int:
    """Charge every month that has begun, of all DIDs; how many charges were booked."""
    count = 0
    after = 0
    while True:
        async with ctx.store.read() as tx:
            found = list((await tx.execute(_due(ctx.now_ms(), after))).mappings())
        if not found:
            return count
        after = found[-1]["id"]
        try:
            count += await _charge_between(ctx, found[0]["id"], after)
        except (ServiceError, SQLAlchemyError):
            # One by one: whose balance would pass what can be counted keeps nobody else's from being charged.
            for row in found:
                try:
                    count += await _charge_between(ctx, row["id"], row["id"])
                except (ServiceError, SQLAlchemyError) as error:
                    log.error("a DID was not charged", did_id=row["id"], reason=str(error))


async def _charge_between(ctx: Context, first_id: int, last_id: int) -> int:
    async with ctx.change() as change:
        # Again, now that nobody else changes them.
        rows = (await change.tx.execute(_due(change.now_ms, first_id - 1))).mappings()
        due = [row for row in rows if row["id"] <= last_id]
        return await _book_all(change, [_plan_of(row, _owner_of(row), change.now_ms) for row in due])


def plan(row: RowMapping, owner: Owner, now_ms: int, first: date, *, is_setup_due: bool) -> Plan:
    """What is due of a DID of which the days before `first` are charged, by now."""
    today = day_at(now_ms, owner.time_zone)
    charges: list[Charge] = []
    if not owner.is_billed:
        # It is billed from the day on that it begins, whichever that will be.
        first = max(first, today)
    else:
        if owner.starts_at_ms is not None:
            first = max(first, day_at(owner.starts_at_ms, owner.time_zone))
        if is_setup_due:
            once = Period(today, today + timedelta(days=1))
            charges += _charges(row, owner, "setup", once, row["setup_retail_nanos"], row["setup_cost_nanos"])
        decimals = decimals_of(owner.currency)
        while first <= today and not owner.has_ended(first):
            period = period_of(MONTHLY, first)
            part = Period(first, period.until)
            net, cost = (
                share_nanos(row[column], MONTHLY, period, part, decimals=decimals)
                for column in ("retail_nanos", "cost_nanos")
            )
            charges += _charges(row, owner, "month", part, net, cost)
            first = period.until
    return Plan(
        did_id=row["id"],
        charges=charges,
        charge_from=first.isoformat(),
        charge_due_ms=day_start_ms(first, owner.time_zone),
        is_setup_due=is_setup_due and not owner.is_billed,
    )


def _charges(
    row: RowMapping, owner: Owner, kind: Literal["month", "setup"], part: Period, net: int, cost: int
) -> list[Charge]:
    """One, or none where there is nothing to be paid on either side."""
    if not net and not cost:
        return []
    tax = tax_nanos(net, owner.tax_ppm, decimals_of(owner.currency))
    return [
        Charge(
            did_id=row["id"],
            number=row["number"],
            customer_id=owner.id,
            provider_id=row["provider_id"],
            kind=kind,
            part=part,
            net_nanos=net,
            tax_nanos=tax,
            cost_nanos=cost,
        )
    ]


async def _plan(change: Change, row: RowMapping) -> Plan:
    return _plan_of(row, await _owner(change, row["customer_id"]), change.now_ms)


def _plan_of(row: RowMapping, owner: Owner, now_ms: int) -> Plan:
    return plan(row, owner, now_ms, date.fromisoformat(row["charge_from"]), is_setup_due=row["is_setup_due"])


async def _book(change: Change, due: Plan) -> None:
    collected = change.memo.get(_COLLECTED)
    if collected is None:
        await _book_all(change, [due])
    else:
        collected.append(due)


async def _book_all(change: Change, plans: Sequence[Plan]) -> int:
    """Book what is planned and not booked yet; how many charges."""
    if not plans:
        return 0
    booked = await _booked(change, plans)
    charges = [each for due in plans for each in due.charges if each.key not in booked]
    await _insert(change, charges)
    # No version is counted up: nothing that anybody has set changes.
    await change.tx.execute(
        update(dids)
        .where(dids.c.id == bindparam("of_did"))
        .values(
            charge_from=bindparam("from_day"), charge_due_ms=bindparam("due_ms"), is_setup_due=bindparam("has_setup")
        ),
        [
            {
                "of_did": due.did_id,
                "from_day": due.charge_from,
                "due_ms": due.charge_due_ms,
                "has_setup": due.is_setup_due,
            }
            for due in plans
        ],
    )
    return len(charges)


async def _booked(change: Change, plans: Sequence[Plan]) -> set[tuple[int, int, str, str]]:
    """Keys of charges that these plans may hold again."""
    c = did_charges.c
    ids = [due.did_id for due in plans if due.charges]
    first_day = min((each.part.key for due in plans for each in due.charges), default="")
    found: set[tuple[int, int, str, str]] = set()
    for at in range(0, len(ids), ROWS_MAX):
        of_these = c.did_id.in_(ids[at : at + ROWS_MAX])
        query = select(c.did_id, c.customer_id, c.kind, c.first_day).where(of_these, c.first_day >= first_day)
        found.update((row[0], row[1], row[2], row[3]) for row in await change.tx.execute(query))
    return found


async def _insert(change: Change, charges: Sequence[Charge]) -> None:
    paid = [each for each in charges if each.net_nanos]
    entries = await ledger.append_all(change, [_entry(each) for each in paid])
    entry_of = {each.key: entry_id for each, entry_id in zip(paid, entries, strict=True)}
    rows = [
        {
            "did_id": each.did_id,
            "customer_id": each.customer_id,
            "provider_id": each.provider_id,
            "kind": each.kind,
            "first_day": each.part.key,
            "until_day": each.part.until.isoformat(),
            "net_nanos": each.net_nanos,
            "tax_nanos": each.tax_nanos,
            "cost_nanos": each.cost_nanos,
            "entry_id": entry_of.get(each.key),
            "at_ms": change.now_ms,
        }
        for each in charges
    ]
    if rows:
        await change.tx.execute(insert(did_charges), rows)


def _entry(charge: Charge) -> EntryNew:
    days = f"{charge.part.first.isoformat()} to {charge.part.last.isoformat()}"
    return EntryNew(
        customer_id=charge.customer_id,
        kind="fee",
        amount_nanos=-(charge.net_nanos + charge.tax_nanos),
        net_nanos=charge.net_nanos,
        tax_nanos=charge.tax_nanos,
        description=f"Number {charge.number}, {days if charge.kind == 'month' else 'setup'}",
        reference=f"did:{charge.did_id}:{charge.kind}:{charge.part.key}",
    )


def _due(now_ms: int, after: int) -> Select[Any]:
    """DIDs of which something is due, with what of their owners it depends on."""
    customers, clients = tables.customers, tables.clients
    joined = dids.join(customers, customers.c.id == dids.c.customer_id).outerjoin(
        clients, clients.c.id == customers.c.client_id
    )
    is_billed = or_(clients.c.id.is_(None), clients.c.status.in_(BILLED))
    # Of the others the day of beginning follows the calendar, a day behind at most.
    is_behind = and_(clients.c.id.is_not(None), dids.c.charge_due_ms <= now_ms - DAY_MS)
    goes_on = or_(clients.c.ends_at_ms.is_(None), clients.c.ends_at_ms > dids.c.charge_due_ms)
    return (
        select(dids, *_OWNER)
        .select_from(joined)
        .where(dids.c.id > after, dids.c.charge_due_ms <= now_ms, or_(is_billed, is_behind), goes_on)
        .order_by(dids.c.id)
        .limit(ROWS_MAX)
    )


_OF_CLIENT: Final = ("status", "starts_at_ms", "ends_at_ms", "activated_ms", "ended_ms")
_OWNER: Final = (
    *(tables.customers.c[name].label(f"owner_{name}") for name in ("id", "currency", "time_zone", "tax_ppm")),
    *(tables.clients.c[name].label(f"owner_{name}") for name in _OF_CLIENT),
)


def _owner_of(row: RowMapping) -> Owner:
    return Owner(**{name: row[f"owner_{name}"] for name in Owner.__struct_fields__})


async def _owner(change: Change, customer_id: int) -> Owner:
    customers, clients = tables.customers, tables.clients
    query = (
        select(*_OWNER)
        .select_from(customers.outerjoin(clients, clients.c.id == customers.c.client_id))
        .where(customers.c.id == customer_id)
    )

    async def read() -> Owner:
        return _owner_of((await change.tx.execute(query)).mappings().one())

    return await recalled(change, ("owner of DIDs", customer_id), read)
