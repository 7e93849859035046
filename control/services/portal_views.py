"""What a customer's contacts see of their own customer: nothing of others, of vendors, of costs or of staff.

Each view is a struct of its own, made field by field: what is new elsewhere does not appear here by
itself. Nothing is searched that is not shown, since a search that finds tells what is there.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import func, select
from sqlalchemy.engine import RowMapping

from control.services.accounts import read_money
from control.services.context import Context
from control.services.endpoints import ENDPOINTS, EndpointQuery
from control.services.fields import Moment, moment_or_none, ms_moment
from control.services.pages import PAGE_ROWS, PAGE_ROWS_MAX, Page, make_cursor, read_cursor
from control.services.sip_users import SIP_USERS, SipUserQuery
from control.store import tables
from control.store.invoice_tables import payment_allocations
from rating.money import format_amount


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    currency: str
    balance: str
    held: str
    available: str
    spent_today: str
    debit_limit: str
    is_balance_live: bool
    """False: the switch is away, and calls that are up are not in it."""


class OwnPayment(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    status: str
    total: str
    currency: str
    description: str
    created_at: Moment
    completed_at: Moment | None
    reversed_at: Moment | None
    allocated: str
    """Of it, what invoices were paid with."""


class OwnQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS
    cursor: Annotated[str, Meta(max_length=500)] = ""


class OwnEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    direction: str
    host: str
    transport: str | None
    port: int | None
    tech_prefix: str
    channels: int | None
    flow_speed_cps: float | None
    codecs: tuple[str, ...]
    enabled: bool


class OwnSipUser(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    username: str
    realm: str
    transport: str | None
    channels: int | None
    flow_speed_cps: float | None
    codecs: tuple[str, ...]
    ip_allow_list: tuple[str, ...]
    enabled: bool


def own_customer_id(ctx: Context) -> int:
    assert ctx.actor.customer_id is not None, "the route is for contacts"
    return ctx.actor.customer_id


async def balance(ctx: Context) -> Balance:
    customers = tables.customers
    async with ctx.store.read() as tx:
        query = select(customers).where(customers.c.id == own_customer_id(ctx))
        row = (await tx.execute(query)).mappings().one()
    money = (await read_money(ctx, [row]))[row["id"]]
    return Balance(
        currency=row["currency"], debit_limit=format_amount(row["debit_limit_nanos"]), **msgspec.structs.asdict(money)
    )


async def page_payments(ctx: Context, query: OwnQuery) -> Page[OwnPayment]:
    """The youngest first, with what of their descriptions is for the customer."""
    payments, customers, allocated = tables.payments, tables.customers, payment_allocations.c
    taken = (
        select(func.coalesce(func.sum(allocated.amount_nanos), 0))
        .where(allocated.payment_id == payments.c.id, allocated.released_ms.is_(None))
        .scalar_subquery()
    )
    statement = (
        select(payments, customers.c.currency, taken.label("allocated"))
        .join(customers, customers.c.id == payments.c.customer_id)
        .where(payments.c.customer_id == own_customer_id(ctx))
        .order_by(payments.c.id.desc())
        .limit(query.limit + 1)
    )
    if query.cursor:
        _, before = read_cursor(query.cursor, "-id", int)
        statement = statement.where(payments.c.id < before)
    async with ctx.store.read() as tx:
        rows = list((await tx.execute(statement)).mappings())
    next_cursor = None
    if len(rows) > query.limit:
        rows = rows[: query.limit]
        next_cursor = make_cursor("-id", rows[-1]["id"], rows[-1]["id"])
    return Page(items=[_payment(row) for row in rows], next_cursor=next_cursor)


async def page_endpoints(ctx: Context, query: OwnQuery) -> Page[OwnEndpoint]:
    asked = EndpointQuery(customer_id=own_customer_id(ctx), limit=query.limit, cursor=query.cursor)
    found = await ENDPOINTS.page(ctx, asked)
    return Page(items=[part_of(row, OwnEndpoint) for row in found.items], next_cursor=found.next_cursor)


async def page_sip_users(ctx: Context, query: OwnQuery) -> Page[OwnSipUser]:
    asked = SipUserQuery(customer_id=own_customer_id(ctx), limit=query.limit, cursor=query.cursor)
    found = await SIP_USERS.page(ctx, asked)
    return Page(items=[part_of(row, OwnSipUser) for row in found.items], next_cursor=found.next_cursor)


def _payment(row: RowMapping) -> OwnPayment:
    return OwnPayment(
        id=row["id"],
        status=row["status"],
        total=format_amount(row["total_nanos"]),
        currency=row["currency"],
        description=row["description"].partition("#")[0].strip(),
        created_at=ms_moment(row["created_ms"]),
        completed_at=moment_or_none(row["completed_ms"]),
        reversed_at=moment_or_none(row["reversed_ms"]),
        allocated=format_amount(int(row["allocated"])),
    )


def part_of(row: msgspec.Struct, kind: Any) -> Any:
    """The fields of a row that this view has."""
    return kind(**{name: getattr(row, name) for name in kind.__struct_fields__})
