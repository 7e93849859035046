"""Changes that are asked for now and made later: any update of any noun, until then undone without a trace.

What is asked for is checked by doing it and taking it back, so a mistake is refused at once. When it is due
it is checked again by whatever is stored then, and by what the key that asked may still do; who asked for it
is who the audit names. Those that became due while nobody looked are made in the order of their times. Each is
made in one transaction with the note that it is made: once, whatever restarts.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final, Literal

import msgspec
import structlog
from msgspec import Meta
from sqlalchemy import func, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from control.services.context import Actor, Change, Context, Role
from control.services.errors import Conflict, NotFound, ServiceError, SwitchAway, invalid
from control.services.fields import ROW_ID_MAX, Id, Label, Moment, moment_ms, moment_or_none, ms_moment
from control.services.looks import Looks
from control.services.operations import MANY, Operation, find
from control.services.outbox import emit
from control.services.pages import ListQuery, Page, contains, read_page
from control.services.roles import may
from control.store import tables
from control.store.engine import Tx, from_json, to_json
from control.store.scheduled_change_tables import scheduled_changes
from switch.outputs import Alarm

LOOK_S: Final = 1.0
REST_S: Final = 5.0
PENDING_MAX: Final = 10_000
"""That are waiting at a time, in all."""
REASONS_MAX: Final = 5
"""Rows that the reason of a failure names."""
HIDDEN: Final = "…"
"""Stands for a field that can be written and not read."""

State = Literal["pending", "applied", "failed", "cancelled"]

log = structlog.get_logger("control.scheduled_changes")


class ScheduledChange(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    noun: str
    action: str
    """`update`, `archive`, or a step of the noun's; `update_many` and others of many rows."""
    row_id: int | None
    """Null: of many rows, which `fields` names."""
    customer_id: int | None
    fields: dict[str, Any]
    """The request's body as it was sent; what can be written and not read is shown as `…`."""
    at: Moment
    state: State
    """`applied` at `done_at`; `failed` for the `reason`; `cancelled` before it was due."""
    reason: str
    asked_by: str
    created_at: Moment
    done_at: Moment | None


class ScheduledChangeQuery(ListQuery, frozen=True, kw_only=True):
    state: Annotated[State | None, Meta(description="`pending`: not due yet.")] = None
    noun: Annotated[Label | None, Meta(description="Of rows of this kind, as the audit names it.")] = None
    action: Annotated[Label | None, Meta(description="Of this kind: `update`, `archive` …")] = None
    row_id: Annotated[Id | None, Meta(description="Of this row; with `noun`.")] = None
    customer_id: Annotated[Id | None, Meta(description="Of this customer and of what is its own.")] = None


class AtQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of every update that can wait."""

    at: Annotated[
        Moment | None,
        Meta(description="Make the change then, and only check it now: 202 with what `/scheduled-changes` lists."),
    ] = None


SORTS: Final = ("at", "id")


async def schedule(
    ctx: Context,
    operation: Operation,
    row_id: int,
    sent: dict[str, Any],
    expected: int | None,
    at: Any,
    role: Role = "operator",
) -> ScheduledChange:
    """Check a change now and keep it for later.

    Args:
        sent: the request's body.
        expected: of `If-Match`, which is about now: others may change the row until then.
        role: the least that may make such a change.
    """
    at_ms = moment_ms("at", at)
    if at_ms <= ctx.now_ms():
        raise invalid("at", f"not after now ({ms_moment(ctx.now_ms()).isoformat()})")
    for name in operation.unscheduled:
        if sent.get(name):
            raise invalid(name, "cannot be scheduled")
    async with ctx.change(is_trial=True) as change:
        await operation.make(ctx.within(change, is_rehearsal=True), row_id, sent, expected)
    fields = {name: value for name, value in sent.items() if name != "row_version"}
    readable = fields.keys() if operation.readable is None else operation.readable
    hidden = {name: value for name, value in fields.items() if name not in readable}
    sealed = await ctx.portal.seal(to_json(hidden)) if hidden else ""
    c = scheduled_changes.c
    async with ctx.change() as change:
        customer_id = await operation.whose(change.tx, row_id)
        pending = select(func.count()).where(c.state == "pending")
        if (await change.tx.execute(pending)).scalar_one() >= PENDING_MAX:
            raise Conflict(f"There are {PENDING_MAX} scheduled changes already.")
        values = {
            "noun": operation.noun,
            "action": operation.action,
            "row_id": row_id,
            "customer_id": customer_id,
            "fields": {name: HIDDEN if name in hidden else value for name, value in fields.items()},
            "sealed": sealed,
            "at_ms": at_ms,
            "state": "pending",
            "role": role,
            "actor_kind": change.actor.kind,
            "actor_id": change.actor.id,
            "actor_name": change.actor.name,
            "actor_role": change.actor.role,
            "created_ms": change.now_ms,
        }
        made = await change.tx.execute(insert(scheduled_changes).values(**values).returning(c.id))
        shown = _shown(await _row(change.tx, made.scalar_one()))
        await change.audit("schedule", operation.noun, _named(row_id), after=shown)
    return shown


async def page(ctx: Context, query: ScheduledChangeQuery) -> Page[ScheduledChange]:
    """The next one first."""
    c = scheduled_changes.c
    statement = select(scheduled_changes).where(_is_seen_by(ctx.actor))
    for name in ("state", "noun", "action", "row_id", "customer_id"):
        value = getattr(query, name)
        if value is not None:
            statement = statement.where(c[name] == value)
    if query.search:
        statement = statement.where(contains(scheduled_changes, "actor_name", query.search))
    async with ctx.store.read() as tx:
        rows, next_cursor = await read_page(tx, scheduled_changes, statement, query, SORTS)
    return Page(items=[_shown(row) for row in rows], next_cursor=next_cursor)


async def get(ctx: Context, change_id: int) -> ScheduledChange:
    async with ctx.store.read() as tx:
        return _shown(await _row(tx, change_id, ctx.actor))


async def cancel(ctx: Context, change_id: int) -> None:
    """Undo it before it takes effect.

    Raises:
        Conflict: it has taken effect, has failed, or is undone already.
    """
    async with ctx.change() as change:
        row = await _row(change.tx, change_id, ctx.actor)
        if row["state"] != "pending":
            raise Conflict(f"It is {row['state']} already.")
        if not _may(change.actor, row):
            raise NotFound("scheduled_change", change_id)
        await _note(change, row, "cancelled")
        await change.audit("unschedule", row["noun"], _named(row["row_id"]), before=_shown(row))


# --- when they are due


async def run(ctx: Context) -> None:
    """Look until cancelled; what fails for no fault of the change is tried again."""
    looks = Looks(ctx.store, ctx.now_ms)
    while True:
        try:
            if looks.is_needed():
                await run_due(ctx)
                looks.rest(await _next_ms(ctx))
        except (SQLAlchemyError, ServiceError, OSError) as error:
            log.error("scheduled changes were not looked at", reason=str(error))
            await asyncio.sleep(REST_S)
        await asyncio.sleep(LOOK_S)


async def _next_ms(ctx: Context) -> int | None:
    """When the next one is due; None: none waits."""
    query = select(func.min(scheduled_changes.c.at_ms)).where(scheduled_changes.c.state == "pending")
    async with ctx.store.read() as tx:
        at_ms: int | None = (await tx.execute(query)).scalar_one()
    return at_ms


async def run_due(ctx: Context) -> int:
    """Make what is due by now, in the order of its times; how many were made or failed."""
    c = scheduled_changes.c
    due = select(scheduled_changes).where(c.state == "pending", c.at_ms <= ctx.now_ms())
    count = 0
    put_off: list[int] = []
    while True:
        async with ctx.store.read() as tx:
            first = due.where(c.id.not_in(put_off)).order_by(c.at_ms, c.id).limit(1)
            row = (await tx.execute(first)).mappings().first()
        if row is None:
            return count
        try:
            await _apply(ctx, row)
            count += 1
        except SwitchAway:
            put_off.append(row["id"])  # only the switch can say whether it is possible: looked at again soon


async def _apply(ctx: Context, row: RowMapping) -> None:
    actor = Actor(kind=row["actor_kind"], name=row["actor_name"], role=row["actor_role"], id=row["actor_id"])
    acting = ctx.acting(actor)
    try:
        operation = find(row["noun"], row["action"])
        if operation is None:
            raise Conflict("Such rows cannot be changed like this any more.")
        sent = await _sent(ctx, row)
        async with acting.change() as change:
            if (await _row(change.tx, row["id"]))["state"] != "pending":
                return  # undone a moment ago
            await _check_asker(change.tx, row)
            await operation.make(acting.within(change), row["row_id"], sent)
            await _note(change, row, "applied")
            await change.audit("apply_scheduled", row["noun"], _named(row["row_id"]), after=_shown(row))
            await emit(change, "scheduled_change.applied", _told(row), customer_id=row["customer_id"])
    except (ServiceError, IntegrityError, DataError) as error:
        for each in (error, error.__cause__):
            if isinstance(each, SwitchAway):
                raise each from None
        await _fail(acting, row, _reason(error))
        return
    log.info("scheduled change made", noun=row["noun"], action=row["action"], row=row["row_id"], by=row["actor_name"])


async def _check_asker(tx: Tx, row: RowMapping) -> None:
    """What was asked for with a key is not made once that key is taken back, or may do less than this needs."""
    if row["actor_kind"] != "key":
        return
    c = tables.admin_keys.c
    query = select(c.role).where(c.id == row["actor_id"], c.archived_ms.is_(None))
    role = (await tx.execute(query)).scalar_one_or_none()
    if role is None:
        raise Conflict("The key that asked for it has been taken back.")
    if not may(role, row["role"]):
        raise Conflict("The key that asked for it may no longer do so.")


async def _fail(ctx: Context, row: RowMapping, reason: str) -> None:
    async with ctx.change() as change:
        await _note(change, row, "failed", reason)
        facts = {"id": row["id"], "reason": reason}
        await change.audit("fail_scheduled", row["noun"], _named(row["row_id"]), after=facts)
        told = {**_told(row), "reason": reason}
        await emit(change, "scheduled_change.failed", told, customer_id=row["customer_id"])
    what = f"{row['noun']} {_named(row['row_id']) or row['action']}".replace("_", " ")
    detail = f"scheduled change {row['id']} of {what}, asked for by {row['actor_name']}: {reason}"
    ctx.raise_alarm(Alarm(name="scheduled_change_failed", detail=detail, at_ms=ctx.now_ms()))


async def _sent(ctx: Context, row: RowMapping) -> dict[str, Any]:
    sent: dict[str, Any] = dict(row["fields"])
    if row["sealed"]:
        opened = await ctx.portal.unseal(row["sealed"])
        if opened is None:
            raise Conflict("What it sets was sealed with another key.")
        sent.update(from_json(opened))
    return sent


async def _note(change: Change, row: RowMapping, state: State, reason: str = "") -> None:
    # What nobody may read is of no more use.
    values = {"state": state, "reason": reason, "done_ms": change.now_ms, "sealed": ""}
    own = scheduled_changes.c.id == row["id"]
    await change.tx.execute(update(scheduled_changes).where(own).values(**values))


async def _row(tx: Tx, change_id: int, actor: Actor | None = None) -> RowMapping:
    row = None
    if 0 < change_id <= ROW_ID_MAX:
        query = select(scheduled_changes).where(scheduled_changes.c.id == change_id)
        if actor is not None:
            query = query.where(_is_seen_by(actor))
        row = (await tx.execute(query)).mappings().first()
    if row is None:
        raise NotFound("scheduled_change", change_id)
    return row


def _is_seen_by(actor: Actor) -> Any:
    """Changes of what only admins read, admins alone see."""
    return scheduled_changes.c.role.in_(("admin", "operator", "billing") if actor.role == "admin" else _COMMON)


_COMMON: Final = ("operator", "billing")


def _may(actor: Actor, row: RowMapping) -> bool:
    return actor.role != "customer" and may(actor.role, row["role"])


def _told(row: RowMapping) -> dict[str, Any]:
    return {
        "id": row["id"],
        "noun": row["noun"],
        "action": row["action"],
        "row_id": _id(row),
        "changed": sorted(row["fields"]),
        "at": ms_moment(row["at_ms"]),
        "asked_by": row["actor_name"],
    }


def _reason(error: Exception) -> str:
    if isinstance(error, IntegrityError | DataError):
        return "The store does not take it."
    if isinstance(error, Conflict) and error.errors:
        # Of many rows, what stands in the way of the first ones.
        reasons = [each.reason for each in error.errors if each.reason != str(error)]
        return " ".join([str(error), *reasons[:REASONS_MAX]])
    return str(error)


def _named(row_id: int) -> str:
    """As the audit has it: empty for many rows, which have audit rows of their own."""
    return "" if row_id == MANY else str(row_id)


def _id(row: RowMapping) -> int | None:
    return None if row["row_id"] == MANY else int(row["row_id"])


def _shown(row: RowMapping) -> ScheduledChange:
    return ScheduledChange(
        id=row["id"],
        noun=row["noun"],
        action=row["action"],
        row_id=_id(row),
        customer_id=row["customer_id"],
        fields=row["fields"],
        at=ms_moment(row["at_ms"]),
        state=row["state"],
        reason=row["reason"],
        asked_by=row["actor_name"],
        created_at=ms_moment(row["created_ms"]),
        done_at=moment_or_none(row["done_ms"]),
    )
