"""Deliveries: who was told of what, who is still to be told, and what was given up.

A delivery is `pending` until it is `delivered`, or `dead` a day after it was made or asked for again.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import delete, exists, select, update
from sqlalchemy.engine import RowMapping

from control.services.cdrs import newest_number
from control.services.context import Change, Context
from control.services.errors import Conflict, NotFound
from control.services.fields import ROW_ID_MAX, Id, Moment, moment_or_none, ms_moment
from control.services.outbox import Event, Target, delivery_row, payload_of
from control.services.pages import ListQuery, Page, contains, read_page
from control.services.webhooks import WEBHOOKS
from control.store import tables
from control.store.engine import Tx
from control.store.outbox_tables import deliveries, outbox, webhooks

DAY_MS: Final = 86_400_000
DELIVERED_KEPT_MS: Final = 7 * DAY_MS
DEAD_KEPT_MS: Final = 30 * DAY_MS
EVENTS_KEPT_MS: Final = 30 * DAY_MS
PRUNED_MAX: Final = 5_000
"""Rows that go in one transaction, for which calls' CDRs wait."""
CALLS_AHEAD: Final = 1_000
"""Pending deliveries of calls that one webhook may have: the CDRs themselves are the queue behind them."""
CALLS_AT_ONCE: Final = 500

State = Literal["pending", "delivered", "dead"]
Channel = Literal["webhook", "mail", "sms"]


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    channel: Channel
    webhook_id: int | None
    address: str
    """Of mail and SMS: where it goes."""
    event: str
    event_number: int | None
    """Leads to `GET /events/{id}`; null of a call, whose CDR is the event."""
    customer_id: int | None
    state: State
    attempts: int
    created_at: Moment
    next_attempt_at: Moment | None
    """Null once it is delivered or dead. Earlier ones of the same webhook may have to go first."""
    done_at: Moment | None
    status: int | None
    """Of the last answer."""
    error: str
    """Why the last try did not do."""


class DeliveryQuery(ListQuery, frozen=True, kw_only=True):
    state: Annotated[State | None, Meta(description="`dead`: given up after a day.")] = None
    webhook_id: Annotated[Id | None, Meta(description="To this webhook.")] = None
    channel: Annotated[Channel | None, Meta(description="By webhook, mail or SMS.")] = None
    event: Annotated[Event | None, Meta(description="Of this kind of event.")] = None
    customer_id: Annotated[Id | None, Meta(description="Of this customer's events.")] = None


class EventShown(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it was written; `id` rises in the order in which things happened."""

    id: int
    event_id: str
    event: str
    at: Moment
    customer_id: int | None
    data: dict[str, Any]


class EventQuery(ListQuery, frozen=True, kw_only=True):
    event: Annotated[Event | None, Meta(description="Of this kind.")] = None
    customer_id: Annotated[Id | None, Meta(description="Of this customer.")] = None


class Resent(msgspec.Struct, frozen=True, kw_only=True):
    count: int


SORTS: Final = ("id",)


async def page(ctx: Context, query: DeliveryQuery) -> Page[Delivery]:
    """The youngest first."""
    statement = select(deliveries)
    for name in ("state", "webhook_id", "channel", "event", "customer_id"):
        value = getattr(query, name)
        if value is not None:
            statement = statement.where(deliveries.c[name] == value)
    if query.search:
        statement = statement.where(
            contains(deliveries, "address", query.search) | contains(deliveries, "error", query.search)
        )
    ordered = msgspec.structs.replace(query, sort=query.sort or "-id")
    async with ctx.store.read() as tx:
        rows, next_cursor = await read_page(tx, deliveries, statement, ordered, SORTS)
    return Page(items=[_shown(row) for row in rows], next_cursor=next_cursor)


async def get(ctx: Context, delivery_id: int) -> Delivery:
    async with ctx.store.read() as tx:
        return _shown(await _row(tx, delivery_id))


async def page_events(ctx: Context, query: EventQuery) -> Page[EventShown]:
    """The youngest first; `sort=id` follows them as they come."""
    statement = select(outbox)
    for name in ("event", "customer_id"):
        value = getattr(query, name)
        if value is not None:
            statement = statement.where(outbox.c[name] == value)
    if query.search:
        statement = statement.where(contains(outbox, "payload", query.search))
    ordered = msgspec.structs.replace(query, sort=query.sort or "-id")
    async with ctx.store.read() as tx:
        rows, next_cursor = await read_page(tx, outbox, statement, ordered, SORTS)
    return Page(items=[_event(row) for row in rows], next_cursor=next_cursor)


async def get_event(ctx: Context, number: int) -> EventShown:
    query = select(outbox).where(outbox.c.id == number)
    async with ctx.store.read() as tx:
        row = (await tx.execute(query)).mappings().first() if 0 < number <= ROW_ID_MAX else None
    if row is None:
        raise NotFound("event", number)
    return _event(row)


async def resend(ctx: Context, delivery_id: int) -> Delivery:
    """Try one again, for another day; one that was delivered too, for its receiver may have lost it."""
    async with ctx.change() as change:
        before = await _row(change.tx, delivery_id)
        if before["webhook_id"] is not None:
            await WEBHOOKS.row(change.tx, before["webhook_id"])
        if before["state"] == "pending":
            raise Conflict("It is not given up: it is tried again by itself.")
        c = deliveries.c
        await change.tx.execute(update(deliveries).where(c.id == delivery_id).values(**_anew(change.now_ms)))
        await change.audit("resend", "delivery", delivery_id)
        return _shown(await _row(change.tx, delivery_id))


async def resend_dead(ctx: Context, webhook_id: int) -> Resent:
    """Try all again that were given up for one webhook, in their order."""
    async with ctx.change() as change:
        await WEBHOOKS.row(change.tx, webhook_id)
        c = deliveries.c
        dead = update(deliveries).where(c.webhook_id == webhook_id, c.state == "dead")
        count = (await change.tx.execute(dead.values(**_anew(change.now_ms)))).rowcount
        await change.audit("resend", "webhook", webhook_id, after={"deliveries": count})
    return Resent(count=count)


async def collect_calls(ctx: Context) -> int:
    """Make deliveries of the calls that have ended, for webhooks that ask for them; how many.

    Where none asks, this is one look at the webhooks.
    """
    if not await _asking(ctx):
        return 0
    count = 0
    async with ctx.change() as change:
        for row in await _call_webhooks(change.tx):
            count += await _collect_calls_of(change, row)
    return count


async def give_up(ctx: Context) -> int:
    """Let those go that were tried for a day, or waited for one behind others; how many."""
    c = deliveries.c
    is_old = (c.state == "pending", c.since_ms <= ctx.now_ms() - DAY_MS)
    async with ctx.store.read() as tx:
        if (await tx.execute(select(c.id).where(*is_old).limit(1))).first() is None:
            return 0
    async with ctx.store.begin() as tx:
        made = await tx.execute(update(deliveries).where(*is_old).values(state="dead", done_ms=ctx.now_ms()))
    return made.rowcount


async def prune(ctx: Context) -> int:
    """Drop what is over and old; how many rows. Called again until there are none."""
    now_ms = ctx.now_ms()
    d = deliveries.c
    old = select(d.id).where(
        ((d.state == "delivered") & (d.done_ms < now_ms - DELIVERED_KEPT_MS))
        | ((d.state == "dead") & (d.done_ms < now_ms - DEAD_KEPT_MS))
    )
    is_told = exists().where(d.outbox_id == outbox.c.id)
    over = select(outbox.c.id).where(outbox.c.at_ms < now_ms - EVENTS_KEPT_MS, ~is_told)
    async with ctx.store.read() as tx:
        old_ids = list((await tx.execute(old.limit(PRUNED_MAX))).scalars())
        over_ids = list((await tx.execute(over.limit(PRUNED_MAX))).scalars())
    if old_ids or over_ids:
        async with ctx.store.begin() as tx:
            await tx.execute(delete(deliveries).where(d.id.in_(old_ids)))
            await tx.execute(delete(outbox).where(outbox.c.id.in_(over_ids)))
    return len(old_ids) + len(over_ids)


async def _asking(ctx: Context) -> bool:
    async with ctx.store.read() as tx:
        rows = await _call_webhooks(tx)
        newest = await newest_number(tx) if rows else 0
    return any(row["cdr_number"] < newest for row in rows)


async def _call_webhooks(tx: Tx) -> list[RowMapping]:
    c = webhooks.c
    query = select(c.id, c.events, c.customer_id, c.cdr_number).where(c.archived_ms.is_(None), c.enabled.is_(True))
    rows = (await tx.execute(query.order_by(c.id))).mappings()
    return [row for row in rows if "call.ended" in row["events"]]


async def _collect_calls_of(change: Change, row: RowMapping) -> int:
    d, cdrs = deliveries.c, tables.cdrs.c
    waiting = select(d.id).where(d.webhook_id == row["id"], d.state == "pending", d.event == "call.ended")
    ahead = len((await change.tx.execute(waiting.limit(CALLS_AHEAD))).all())
    room = min(CALLS_AT_ONCE, CALLS_AHEAD - ahead)
    if room <= 0:
        return 0
    newest = await newest_number(change.tx)
    query = select(cdrs.number, cdrs.customer_id).where(cdrs.number > row["cdr_number"], cdrs.number <= newest)
    if row["customer_id"] is not None:
        query = query.where(cdrs.customer_id == row["customer_id"])
    found = (await change.tx.execute(query.order_by(cdrs.number).limit(room))).all()
    target = Target("webhook", webhook_id=row["id"])
    rows = [
        delivery_row(change.now_ms, "call.ended", customer_id, target) | {"cdr_number": number}
        for number, customer_id in found
    ]
    if rows:
        await change.tx.execute(deliveries.insert(), rows)
    upto = found[-1].number if len(found) == room else newest
    await change.tx.execute(update(webhooks).where(webhooks.c.id == row["id"]).values(cdr_number=upto))
    return len(rows)


def _anew(now_ms: int) -> dict[str, Any]:
    # The status goes too: what was put aside for it takes its place in the order again.
    return {"state": "pending", "attempts": 0, "since_ms": now_ms, "next_ms": now_ms, "done_ms": None, "status": None}


async def _row(tx: Tx, delivery_id: int) -> RowMapping:
    row = None
    if 0 < delivery_id <= ROW_ID_MAX:
        row = (await tx.execute(select(deliveries).where(deliveries.c.id == delivery_id))).mappings().first()
    if row is None:
        raise NotFound("delivery", delivery_id)
    return row


def _shown(row: RowMapping) -> Delivery:
    is_pending = row["state"] == "pending"
    return Delivery(
        id=row["id"],
        channel=row["channel"],
        webhook_id=row["webhook_id"],
        address=row["address"],
        event=row["event"],
        event_number=row["outbox_id"],
        customer_id=row["customer_id"],
        state=row["state"],
        attempts=row["attempts"],
        created_at=ms_moment(row["created_ms"]),
        next_attempt_at=ms_moment(row["next_ms"]) if is_pending else None,
        done_at=moment_or_none(row["done_ms"]),
        status=row["status"],
        error=row["error"],
    )


def _event(row: RowMapping) -> EventShown:
    return EventShown(
        id=row["id"],
        event_id=row["event_id"],
        event=row["event"],
        at=ms_moment(row["at_ms"]),
        customer_id=row["customer_id"],
        data=payload_of(row["payload"]),
    )
