"""Times of downloads on somebody's clocks: of a zone by its name, or of the customer whose calls they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta
from sqlalchemy import select

from control.services.context import Context
from control.services.days import DAY_CHARACTERS, since_ms, until_ms
from control.services.errors import NotFound, invalid
from control.services.fields import Label, check_time_zone, ms_moment
from control.store import tables

CUSTOMERS: Final = "customer"

ZoneWanted = Annotated[
    Label | None,
    Meta(description="Times with this zone's offset from UTC, or the customer's where it is `customer`; else in UTC."),
]
RowT = TypeVar("RowT", bound=msgspec.Struct)


async def zone_of(ctx: Context, wanted: str | None, customer_id: int | None) -> ZoneInfo | None:
    """The zone that is meant; None is UTC, as times are shown everywhere else.

    Raises:
        Invalid: no such zone, or a customer's without one customer.
        NotFound: no such customer.
    """
    if wanted is None:
        return None
    if wanted != CUSTOMERS:
        check_time_zone("time_zone", wanted)
        return ZoneInfo(wanted)
    if customer_id is None:
        raise invalid("time_zone", "whose? needs customer_id")
    c = tables.customers.c
    async with ctx.store.read() as tx:
        name = (await tx.execute(select(c.time_zone).where(c.id == customer_id))).scalar_one_or_none()
    if name is None:
        raise NotFound("customer", customer_id)
    return ZoneInfo(name)


async def on_clocks(ctx: Context, query: RowT, customer_id: int | None) -> RowT:
    """A query whose `from` and `to` are times: a day or a month is one of `time_zone`, else of the customer's."""
    texts = {name: text for name in ("since", "until") if (text := getattr(query, name)) is not None}
    if not any(len(text) <= DAY_CHARACTERS for text in texts.values()):
        return query
    wanted = getattr(query, "time_zone", None) or (None if customer_id is None else CUSTOMERS)
    zone = await zone_of(ctx, wanted, customer_id)
    clocks = "UTC" if zone is None else zone.key
    if "since" in texts:
        texts["since"] = ms_moment(since_ms("from", texts["since"], clocks)).isoformat()
    if "until" in texts:
        texts["until"] = ms_moment(until_ms("to", texts["until"], clocks)).isoformat()
    return msgspec.structs.replace(query, **texts)


async def zoned(rows: AsyncIterator[list[RowT]], zone: ZoneInfo | None) -> AsyncIterator[list[RowT]]:
    """The same rows, with times in the zone; moments stay the same."""
    async for some in rows:
        yield some if zone is None else [_moved(row, zone) for row in some]


def _moved(row: RowT, zone: ZoneInfo) -> RowT:
    changed: dict[str, Any] = {}
    for name in row.__struct_fields__:
        value = getattr(row, name)
        if isinstance(value, datetime):
            changed[name] = value.astimezone(zone)
        elif isinstance(value, Sequence) and value and isinstance(value[0], msgspec.Struct):
            changed[name] = [_moved(each, zone) for each in value]
    return msgspec.structs.replace(row, **changed) if changed else row
