"""What a customer's contacts see of their own customer: nothing of others, of vendors, of costs or of staff.

Each view is a struct of its own, made field by field: what is new elsewhere does not appear here by
itself. Nothing is searched that is not shown, since a search that finds tells what is there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Select, func, or_, select
from sqlalchemy.engine import RowMapping

from control.services import cdr_detail, cdrs, latest_calls, live_calls
from control.services.accounts import read_money
from control.services.cdr_export import inert
from control.services.cdr_parquet import parquet
from control.services.cdr_zones import ZoneWanted, on_clocks, zone_of, zoned
from control.services.context import Context
from control.services.csv_cells import csv_line
from control.services.days import Bound
from control.services.endpoints import ENDPOINTS, EndpointQuery
from control.services.errors import NotFound, invalid
from control.services.fields import Moment, ms_moment
from control.services.latest_calls import CustomerLatestQuery, LatestQuery
from control.services.live_calls import CallQuery
from control.services.pages import PAGE_ROWS, PAGE_ROWS_MAX, Page, make_cursor, read_cursor
from control.services.sip_users import SIP_USERS, SipUserQuery
from control.store import tables
from control.store.invoice_tables import payment_allocations
from rating.money import format_amount

EXPORT_ROWS: Final = 500
NO_WAY: Final = frozenset({"no_vendor", "no_margin", "vendors_exhausted"})
"""Causes that tell of vendors; to the customer they are one."""

Text200 = Annotated[str, Meta(max_length=200, pattern=r"^(?![\s\S]*\x00)")]


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    currency: str
    balance: str
    held: str
    available: str
    spent_today: str
    debit_limit: str
    is_balance_live: bool
    """False: the switch is away, and calls that are up are not in it."""


class OwnCdr(msgspec.Struct, frozen=True, kw_only=True):
    """A call as its customer reads it: what was dialled, how it went, and what it was sold for."""

    id: str
    direction: str
    endpoint_id: int | None
    sip_user_id: int | None
    source: str
    call_id: str
    cli: str
    dialled: str
    invited: Moment
    first_progress: Moment | None
    answered: Moment | None
    ended: Moment
    pdd_ms: int | None
    duration_ms: int
    billed_s: int
    release: str
    cause: str
    status: int
    currency: str
    prefix: str
    destination: str
    rate: str
    net: str
    tax: str
    gross: str


class OwnCharge(msgspec.Struct, frozen=True, kw_only=True):
    billed_s: int
    net: str
    tax: str
    gross: str


class OwnCorrection(msgspec.Struct, frozen=True, kw_only=True):
    """A call's gross amount was put right; the difference is an entry of the balance."""

    at: Moment
    before: str
    after: str
    difference: str


class OwnCdrDetail(OwnCdr, frozen=True, kw_only=True):
    effective: OwnCharge
    """What the call costs by now, all corrections in."""
    corrections: list[OwnCorrection]


class OwnCdrFilter(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"since": "from", "until": "to"}
):
    since: Bound | None = None
    """INVITEs from this time on …"""
    until: Bound | None = None
    """… and before this one. Days and months are those of the customer, and count whole."""
    answered: bool | None = None
    direction: Literal["inbound", "outbound"] | None = None
    number: Text200 | None = None
    """Digits that stand anywhere in the calling or the dialled number."""
    call_id: Text200 | None = None


class OwnExportQuery(OwnCdrFilter, frozen=True, kw_only=True):
    time_zone: ZoneWanted = None


class OwnCdrQuery(OwnCdrFilter, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS
    cursor: Annotated[str, Meta(max_length=500)] = ""


class OwnCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that is up."""

    id: str
    cli: str
    dialled: str
    source: str
    state: str
    invited: Moment
    answered: Moment | None
    duration_ms: int
    held: str
    spent: str


class OwnLatestCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call from its INVITE on, up or over."""

    id: str
    cli: str
    dialled: str
    source: str
    call_id: str
    direction: str
    state: str
    invited: Moment
    answered: Moment | None
    ended: Moment | None
    duration_ms: int
    status: int
    cause: str
    held: str
    spent: str


class OwnLatest(msgspec.Struct, frozen=True, kw_only=True):
    items: list[OwnLatestCall]
    next_cursor: str | None
    has_live: bool
    """False: calls that are up are not in the list."""


class OwnCallQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 200
    cursor: Annotated[str, Meta(max_length=500)] = ""


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


async def page_cdrs(ctx: Context, query: OwnCdrQuery) -> Page[OwnCdr]:
    """The newest INVITE first."""
    query = await on_clocks(ctx, query, own_customer_id(ctx))
    within = cdrs.stretch(own_customer_id(ctx), query.since, query.until)
    async with ctx.store.read() as tx:
        rows, next_cursor = await cdrs.read_newest(tx, _filtered(ctx, query), within, query.cursor, query.limit)
    return Page(items=[own_cdr(row) for row in rows], next_cursor=next_cursor)


async def get_cdr(ctx: Context, cdr_id: str) -> OwnCdrDetail:
    c = tables.cdrs.c
    query = select(tables.cdrs).where(c.id == cdr_id, c.customer_id == own_customer_id(ctx))
    async with ctx.store.read() as tx:
        row = (await tx.execute(query)).mappings().first()
    if row is None:
        raise NotFound("cdr", cdr_id)
    known = await cdr_detail.get(ctx, cdr_id)
    return OwnCdrDetail(
        **msgspec.structs.asdict(own_cdr(row)),
        effective=_part(known.effective, OwnCharge),
        corrections=[_part(each, OwnCorrection) for each in known.corrections if each.side == "sell"],
    )


async def csv_cdrs(ctx: Context, query: OwnExportQuery) -> AsyncIterator[bytes]:
    """A header, then a line for each call in the order of arrival."""
    names = OwnCdr.__struct_fields__
    yield csv_line(names)
    async for rows in await _zoned(ctx, query):
        yield b"".join(csv_line([_cell(name, getattr(row, name)) for name in names]) for row in rows)


async def json_cdrs(ctx: Context, query: OwnExportQuery) -> AsyncIterator[bytes]:
    encoder = msgspec.json.Encoder()
    async for rows in await _zoned(ctx, query):
        yield encoder.encode_lines(rows)


async def page_calls(ctx: Context, query: OwnCallQuery) -> Page[OwnCall]:
    asked = CallQuery(customer_id=own_customer_id(ctx), limit=query.limit, cursor=query.cursor)
    found = await live_calls.page(ctx, asked)
    items = [
        OwnCall(
            id=call.cdr_id,
            cli=call.cli,
            dialled=call.dialled,
            source=call.source,
            state=call.state,
            invited=call.invited,
            answered=call.answered,
            duration_ms=call.duration_ms,
            held=call.held,
            spent=call.spent,
        )
        for call in found.items
    ]
    return Page(items=items, next_cursor=found.next_cursor)


async def page_latest(ctx: Context, query: CustomerLatestQuery) -> OwnLatest:
    asked = LatestQuery(customer_id=own_customer_id(ctx), **msgspec.structs.asdict(query))
    found = await latest_calls.page(ctx, asked, is_own=True)
    calls = [_part(call, OwnLatestCall) for call in found.items]
    items = [msgspec.structs.replace(call, cause="no_route") if call.cause in NO_WAY else call for call in calls]
    return OwnLatest(items=items, next_cursor=found.next_cursor, has_live=found.has_live)


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
    return Page(items=[_part(row, OwnEndpoint) for row in found.items], next_cursor=found.next_cursor)


async def page_sip_users(ctx: Context, query: OwnQuery) -> Page[OwnSipUser]:
    asked = SipUserQuery(customer_id=own_customer_id(ctx), limit=query.limit, cursor=query.cursor)
    found = await SIP_USERS.page(ctx, asked)
    return Page(items=[_part(row, OwnSipUser) for row in found.items], next_cursor=found.next_cursor)


async def parquet_cdrs(ctx: Context, query: OwnExportQuery) -> AsyncIterator[bytes]:
    async for piece in parquet(await _zoned(ctx, query), OwnCdr):
        yield piece


async def _zoned(ctx: Context, query: OwnExportQuery) -> AsyncIterator[list[OwnCdr]]:
    query = await on_clocks(ctx, query, own_customer_id(ctx))
    return zoned(_export(ctx, query), await zone_of(ctx, query.time_zone, own_customer_id(ctx)))


async def _export(ctx: Context, query: OwnCdrFilter) -> AsyncIterator[list[OwnCdr]]:
    c = tables.cdrs.c
    statement = _filtered(ctx, query).order_by(c.number).limit(EXPORT_ROWS)
    after = 0
    while True:
        async with ctx.store.read() as tx:
            rows = list((await tx.execute(statement.where(c.number > after))).mappings())
        if rows:
            yield [own_cdr(row) for row in rows]
        if len(rows) < EXPORT_ROWS:
            return
        after = rows[-1]["number"]


def check(ctx: Context, query: OwnCdrFilter) -> None:
    """Refuse a filter that cannot be, before a download begins."""
    _filtered(ctx, query)


def _filtered(ctx: Context, query: OwnCdrFilter) -> Select[Any]:
    c = tables.cdrs.c
    statement = select(tables.cdrs).where(c.customer_id == own_customer_id(ctx))
    for name in ("direction", "call_id"):
        value = getattr(query, name)
        if value is not None:
            statement = statement.where(c[name] == value)
    statement = statement.where(*cdrs.stretch(None, query.since, query.until))
    if query.answered is not None:
        statement = statement.where(c.answered_ms.is_not(None) if query.answered else c.answered_ms.is_(None))
    if query.number is not None:
        digits = query.number.strip().removeprefix("+")
        if not digits:
            raise invalid("number", "no digits")
        statement = statement.where(
            or_(*(column.contains(digits, autoescape=True) for column in (c.cli_in, c.dialled_in)))
        )
    return statement


def own_cdr(row: RowMapping) -> OwnCdr:
    return OwnCdr(
        **{
            name: row[name]
            for name in (
                "id",
                "direction",
                "endpoint_id",
                "sip_user_id",
                "source",
                "call_id",
                "pdd_ms",
                "duration_ms",
                "billed_s",
                "release",
                "status",
                "currency",
                "prefix",
                "destination",
            )
        },
        cli=row["cli_in"],
        dialled=row["dialled_in"],
        cause="no_route" if row["cause"] in NO_WAY else row["cause"],
        invited=ms_moment(row["invited_ms"]),
        first_progress=_moment(row["progress_ms"]),
        answered=_moment(row["answered_ms"]),
        ended=ms_moment(row["ended_ms"]),
        rate=format_amount(row["rate_nanos"]),
        net=format_amount(row["net_nanos"]),
        tax=format_amount(row["tax_nanos"]),
        gross=format_amount(row["gross_nanos"]),
    )


def _payment(row: RowMapping) -> OwnPayment:
    return OwnPayment(
        id=row["id"],
        status=row["status"],
        total=format_amount(row["total_nanos"]),
        currency=row["currency"],
        description=row["description"].partition("#")[0].strip(),
        created_at=ms_moment(row["created_ms"]),
        completed_at=_moment(row["completed_ms"]),
        reversed_at=_moment(row["reversed_ms"]),
        allocated=format_amount(int(row["allocated"])),
    )


def _part(row: msgspec.Struct, kind: Any) -> Any:
    """The fields of a row that this view has."""
    return kind(**{name: getattr(row, name) for name in kind.__struct_fields__})


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(msgspec.to_builtins(value))
    return value if name in ("rate", "net", "tax", "gross") else inert(value)


def _moment(ms: int | None) -> Any:
    return None if ms is None else ms_moment(ms)
