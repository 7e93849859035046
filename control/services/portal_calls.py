"""A customer's own calls, as its contacts see them: CDRs, and calls from their INVITE on.

The structs are made field by field, as in `control.services.portal_views`: neither vendors nor costs are in them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Select, or_, select
from sqlalchemy.engine import RowMapping

from control.services import cdr_detail, cdrs, latest_calls, live_calls
from control.services.cdr_export import inert
from control.services.cdr_parquet import parquet
from control.services.cdr_zones import ZoneWanted, on_clocks, zone_of, zoned
from control.services.context import Context
from control.services.csv_cells import csv_line
from control.services.days import Bound
from control.services.errors import NotFound, invalid
from control.services.fields import Moment, moment_or_none, ms_moment
from control.services.latest_calls import CustomerLatestQuery, LatestQuery
from control.services.live_calls import CallQuery
from control.services.pages import PAGE_ROWS, PAGE_ROWS_MAX, Page
from control.services.portal_views import own_customer_id, part_of
from control.store import tables
from rating.money import format_amount

EXPORT_ROWS: Final = 500
NO_WAY: Final = frozenset({"no_vendor", "no_margin", "vendors_exhausted"})
"""Causes that tell of vendors; to the customer they are one."""

Text200 = Annotated[str, Meta(max_length=200, pattern=r"^(?![\s\S]*\x00)")]


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
        effective=part_of(known.effective, OwnCharge),
        corrections=[part_of(each, OwnCorrection) for each in known.corrections if each.side == "sell"],
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
    calls = [part_of(call, OwnLatestCall) for call in found.items]
    items = [msgspec.structs.replace(call, cause="no_route") if call.cause in NO_WAY else call for call in calls]
    return OwnLatest(items=items, next_cursor=found.next_cursor, has_live=found.has_live)


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
        first_progress=moment_or_none(row["progress_ms"]),
        answered=moment_or_none(row["answered_ms"]),
        ended=ms_moment(row["ended_ms"]),
        rate=format_amount(row["rate_nanos"]),
        net=format_amount(row["net_nanos"]),
        tax=format_amount(row["tax_nanos"]),
        gross=format_amount(row["gross_nanos"]),
    )


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(msgspec.to_builtins(value))
    return value if name in ("rate", "net", "tax", "gross") else inert(value)
