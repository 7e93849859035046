"""Broadband usage: bytes up and down, a figure each a client and day, posted by the network.

Posting again is harmless: the same figures change nothing, others replace what was there, with an audit
row that has both. A post is taken as a whole or not at all, and everything wrong with it is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import ColumnElement, Select, and_, func, insert, literal_column, or_, select, update
from sqlalchemy.engine import RowMapping

from control.services.clients import CLIENTS
from control.services.context import Change, Context
from control.services.days import DayText, parse_day
from control.services.errors import FieldError, Invalid
from control.services.fields import ROW_ID_MAX, Id, Label, name_key
from control.services.pages import PAGE_ROWS, PAGE_ROWS_MAX, Page, make_cursor, read_cursor
from control.services.periods import day_at
from control.store import tables
from control.store.client_service_tables import broadband_days
from control.store.engine import Tx

Bytes = Annotated[int, Meta(ge=0, le=10**15)]
"""A petabyte a day: more is a counter that went wrong, and sums of years still fit 64 bits."""


class UsageNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    client_id: Id | None = None
    billing_ref: Label = ""
    """Instead of `client_id`."""
    day: DayText
    """Of the client's own calendar."""
    bytes_up: Bytes
    bytes_down: Bytes


class UsagePost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    items: Annotated[tuple[UsageNew, ...], Meta(min_length=1, max_length=5_000)]


class UsagePosted(msgspec.Struct, frozen=True, kw_only=True):
    created: int
    replaced: int
    unchanged: int


class UsageQuery(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"since": "from", "until": "to"}
):
    since: DayText | None = None
    """Days from this one on …"""
    until: DayText | None = None
    """… through this one."""
    by: Literal["day", "month"] = "day"
    """What is summed up."""


class AllUsageQuery(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"since": "from", "until": "to"}
):
    since: DayText | None = None
    """Days from this one on …"""
    until: DayText | None = None
    """… through this one."""
    by: Literal["total", "day", "month"] = "total"
    """What is summed up."""
    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS
    cursor: Annotated[str, Meta(max_length=1_000)] = ""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    client_id: int
    client: str
    period: str
    """A day, a month, or empty for all that was asked for."""
    days: int
    """Days that there are figures of."""
    bytes_up: int
    bytes_down: int


async def post(ctx: Context, new: UsagePost) -> UsagePosted:
    async with ctx.change() as change:
        clients = await _clients(change.tx, new.items)
        rows, errors = _checked(new.items, clients, change.now_ms)
        if errors:
            raise Invalid(errors)
        stored = await _stored(change.tx, list(rows))
        made, replaced = [], 0
        for (client_id, day), item in rows.items():
            figures = {"bytes_up": item.bytes_up, "bytes_down": item.bytes_down}
            before = stored.get((client_id, day))
            if before is None:
                made.append({"client_id": client_id, "day": day, **figures, "posted_ms": change.now_ms})
            elif before != (item.bytes_up, item.bytes_down):
                replaced += 1
                await _replace(change, client_id, day, before, figures)
        if made:
            await change.tx.execute(insert(broadband_days), made)
            days = sorted({str(row["day"]) for row in made})
            after = {"created": len(made), "first_day": days[0], "last_day": days[-1]}
            await change.audit("post", "broadband_usage", "", after=after)
    return UsagePosted(created=len(made), replaced=replaced, unchanged=len(rows) - len(made) - replaced)


async def of_client(ctx: Context, client_id: int, query: UsageQuery) -> Page[Usage]:
    """One client's, by day or month, the latest first."""
    async with ctx.store.read() as tx:
        client = await CLIENTS.row(tx, client_id)
        statement = _sums(query, _period(query.by)).where(broadband_days.c.client_id == client["id"])
        found = [_usage(row) for row in (await tx.execute(statement)).mappings()]
    return Page(items=found[::-1], next_cursor=None)


async def of_all(ctx: Context, query: AllUsageQuery) -> Page[Usage]:
    """Every client's, by name."""
    clients = tables.clients.c
    period = _period(query.by)
    statement = _sums(query, period)
    if query.cursor:
        # Names have no line ends.
        value, after = read_cursor(query.cursor, query.by, str)
        name, _, last = str(value).partition("\n")
        further = or_(clients.id > after, and_(clients.id == after, period > last))
        statement = statement.where(or_(clients.name_key > name, and_(clients.name_key == name, further)))
    async with ctx.store.read() as tx:
        rows = list((await tx.execute(statement.limit(query.limit + 1))).mappings())
    next_cursor = None
    if len(rows) > query.limit:
        last_row = rows[query.limit - 1]
        value = f"{last_row['name_key']}\n{last_row['period']}"
        next_cursor = make_cursor(query.by, value, last_row["client_id"])
    return Page(items=[_usage(row) for row in rows[: query.limit]], next_cursor=next_cursor)


def _period(by: str) -> ColumnElement[str]:
    characters = {"day": 10, "month": 7, "total": 0}[by]
    return literal_column(f"substr(broadband_days.day, 1, {characters})")


def _sums(query: UsageQuery | AllUsageQuery, period: ColumnElement[str]) -> Select[Any]:
    """By client, in the order of their names, and period."""
    c, clients = broadband_days.c, tables.clients.c
    sums = [func.count().label("days"), func.sum(c.bytes_up).label("up"), func.sum(c.bytes_down).label("down")]
    keys = [clients.name_key, clients.id, clients.name]
    statement = select(clients.id.label("client_id"), clients.name, clients.name_key, period.label("period"), *sums)
    statement = statement.join(tables.clients, clients.id == c.client_id)
    if query.since is not None:
        statement = statement.where(c.day >= parse_day("from", query.since).isoformat())
    if query.until is not None:
        statement = statement.where(c.day <= parse_day("to", query.until).isoformat())
    return statement.group_by(*keys, period).order_by(*keys, period)


def _usage(row: RowMapping) -> Usage:
    return Usage(
        client_id=row["client_id"],
        client=row["name"],
        period=row["period"],
        days=row["days"],
        bytes_up=int(row["up"]),
        bytes_down=int(row["down"]),
    )


async def _clients(tx: Tx, items: Sequence[UsageNew]) -> dict[int | str, RowMapping]:
    """Every client that the items name, by id and by the key of its billing reference."""
    c = tables.clients.c
    ids = {item.client_id for item in items if item.client_id is not None and item.client_id <= ROW_ID_MAX}
    keys = {name_key(item.billing_ref) for item in items if item.billing_ref}
    query = select(c.id, c.billing_ref_key, c.time_zone).where(c.archived_ms.is_(None))
    query = query.where(c.id.in_(ids) | c.billing_ref_key.in_(keys))
    found: dict[int | str, RowMapping] = {}
    for row in (await tx.execute(query)).mappings():
        found[row["id"]] = found[row["billing_ref_key"]] = row
    return found


def _checked(
    items: Sequence[UsageNew], clients: dict[int | str, RowMapping], now_ms: int
) -> tuple[dict[tuple[int, str], UsageNew], list[FieldError]]:
    rows: dict[tuple[int, str], UsageNew] = {}
    errors: list[FieldError] = []
    for n, item in enumerate(items):
        at = f"items[{n}]"
        if (item.client_id is None) == (not item.billing_ref):
            errors.append(FieldError(f"{at}.client_id", "either this or billing_ref"))
            continue
        path = "billing_ref" if item.client_id is None else "client_id"
        client = clients.get(name_key(item.billing_ref) if item.client_id is None else item.client_id)
        if client is None:
            errors.append(FieldError(f"{at}.{path}", "there is no such client"))
            continue
        try:
            day = parse_day(f"{at}.day", item.day)
        except Invalid as error:
            errors.extend(error.errors)
            continue
        if day > day_at(now_ms, client["time_zone"]):
            errors.append(FieldError(f"{at}.day", "in the future"))
        elif (client["id"], item.day) in rows:
            errors.append(FieldError(f"{at}.day", "given twice"))
        else:
            rows[client["id"], item.day] = item
    return rows, errors


async def _stored(tx: Tx, keys: list[tuple[int, str]]) -> dict[tuple[int, str], tuple[int, int]]:
    c = broadband_days.c
    days = [day for _, day in keys]
    query = select(c.client_id, c.day, c.bytes_up, c.bytes_down).where(
        c.client_id.in_({client_id for client_id, _ in keys}), c.day >= min(days), c.day <= max(days)
    )
    return {(row.client_id, row.day): (row.bytes_up, row.bytes_down) for row in await tx.execute(query)}


async def _replace(change: Change, client_id: int, day: str, before: tuple[int, int], figures: dict[str, int]) -> None:
    c = broadband_days.c
    statement = update(broadband_days).where(c.client_id == client_id, c.day == day)
    await change.tx.execute(statement.values(**figures, posted_ms=change.now_ms))
    old = {"bytes_up": before[0], "bytes_down": before[1]}
    await change.audit("replace", "broadband_usage", f"{client_id}/{day}", before=old, after=figures)
