"""What DIDs come to: their charges, and what a customer's add up to."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Literal

import msgspec
from sqlalchemy import case, func, select
from sqlalchemy.engine import RowMapping

from control.services.context import Context
from control.services.did_fields import State
from control.services.fields import Id, Moment, ms_moment
from control.services.pages import ListQuery, Page, read_page
from control.services.payments import customer_row
from control.store.did_tables import did_charges, dids
from rating.money import format_amount


class DidCharge(msgspec.Struct, frozen=True, kw_only=True):
    """A period of a DID that was charged, or its setup."""

    id: int
    did_id: int
    customer_id: int
    provider_id: int | None
    kind: Literal["month", "setup"]
    first_day: str
    """On the customer's calendar …"""
    last_day: str
    """… both counted."""
    net: str
    tax: str
    gross: str
    cost: str
    """What the provider asks for the same days."""
    entry_id: int | None
    """Of the ledger; null where nothing was to be paid."""
    at: Moment


class DidChargeQuery(ListQuery, frozen=True, kw_only=True):
    did_id: Id | None = None
    customer_id: Id | None = None
    kind: Literal["month", "setup"] | None = None


class StateCount(msgspec.Struct, frozen=True, kw_only=True):
    state: State
    count: int
    enabled: int


class DidSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a customer's numbers come to by the month, as their prices are now."""

    customer_id: int
    currency: str
    count: int
    states: list[StateCount]
    cost: str
    """Of those in service: asked by providers …"""
    retail: str
    """… and paid by the customer, net."""
    charged: str
    """Net, since the first."""
    charged_cost: str


async def page_charges(ctx: Context, query: DidChargeQuery) -> Page[DidCharge]:
    """The latest first unless asked otherwise."""
    c = did_charges.c
    statement = select(did_charges)
    for name in ("did_id", "customer_id", "kind"):
        value = getattr(query, name)
        if value is not None:
            statement = statement.where(c[name] == value)
    ordered = msgspec.structs.replace(query, sort=query.sort or "-id")
    async with ctx.store.read() as tx:
        rows, next_cursor = await read_page(tx, did_charges, statement, ordered, ("id",))
    return Page(items=[_charge(row) for row in rows], next_cursor=next_cursor)


async def summary(ctx: Context, customer_id: int) -> DidSummary:
    c = dids.c
    charged = select(func.sum(did_charges.c.net_nanos), func.sum(did_charges.c.cost_nanos))
    by_state = (
        select(
            c.state,
            func.count(),
            func.sum(case((c.enabled, 1), else_=0)),
            func.sum(c.cost_nanos),
            func.sum(c.retail_nanos),
        )
        .where(c.customer_id == customer_id, c.archived_ms.is_(None))
        .group_by(c.state)
        .order_by(c.state)
    )
    async with ctx.store.read() as tx:
        customer = await customer_row(tx, customer_id)
        rows = (await tx.execute(by_state)).all()
        net, cost = (await tx.execute(charged.where(did_charges.c.customer_id == customer_id))).one()
    assigned = [row for row in rows if row[0] == "assigned"]
    return DidSummary(
        customer_id=customer_id,
        currency=customer["currency"],
        count=sum(row[1] for row in rows),
        states=[StateCount(state=row[0], count=row[1], enabled=int(row[2])) for row in rows],
        cost=format_amount(sum(int(row[3]) for row in assigned)),
        retail=format_amount(sum(int(row[4]) for row in assigned)),
        charged=format_amount(int(net or 0)),
        charged_cost=format_amount(int(cost or 0)),
    )


def _charge(row: RowMapping) -> DidCharge:
    names = ("id", "did_id", "customer_id", "provider_id", "kind", "first_day", "entry_id")
    return DidCharge(
        **{name: row[name] for name in names},
        last_day=(date.fromisoformat(row["until_day"]) - timedelta(days=1)).isoformat(),
        net=format_amount(row["net_nanos"]),
        tax=format_amount(row["tax_nanos"]),
        gross=format_amount(row["net_nanos"] + row["tax_nanos"]),
        cost=format_amount(row["cost_nanos"]),
        at=ms_moment(row["at_ms"]),
    )
