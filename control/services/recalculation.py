"""Recalculations: calls priced anew by another rule, the difference booked, and taken back again.

A recalculation is first a preview, which moves no money: `create` prices the calls and keeps a line
for each that changes. `apply` books exactly those lines, one adjustment each, and refuses if what
they were reckoned from has changed since. `undo` is a recalculation of its own that brings each call
back to the last rule that is still in force for it, or to its CDR, which nobody ever edits.

Everything is done in bounded steps, each one transaction that moves a cursor or marks its lines: a
small recalculation is done within its request, a large one goes on in the background and, after a
restart, from where it was.
"""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec
from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.engine import RowMapping

from control.services import recalculation_lines as ledger_lines
from control.services import recalculation_steps as steps
from control.services.context import Change, Context
from control.services.errors import Conflict, NotFound, Reference, invalid
from control.services.fields import ROW_ID_MAX
from control.services.owners import require
from control.services.pages import Page, contains, read_page
from control.services.recalculation_calls import check_filters
from control.services.recalculation_views import (
    Line,
    LineQuery,
    Recalculation,
    RecalculationNew,
    RecalculationQuery,
    Rule,
    UndoNew,
    line_shown,
    recalculation_shown,
)
from control.store import tables
from control.store.engine import Tx
from control.store.recalculation_tables import lines, recalculations

INLINE_S: Final = 2.0
"""A request waits this long for what it has begun; the rest is done in the background."""
PREVIEW_DAYS_MAX: Final = 7
"""Previews that nobody applied are dropped when they are older, and a new one is made."""

_DAY_MS: Final = 86_400_000


async def create(ctx: Context, new: RecalculationNew) -> Recalculation:
    """Price calls by a rule, and book nothing.

    Raises:
        Invalid: no rule, no time, or a card, revision or customer that does not exist.
    """
    check_filters(new.filters)
    async with ctx.change() as change:
        rule = await _checked_rule(change.tx, new)
        await _drop_old_previews(change)
        row_id = await _insert(
            change,
            kind="rule",
            state="computing",
            filters=msgspec.to_builtins(new.filters),
            rule=msgspec.to_builtins(rule),
            reason=new.reason,
            seen_order=await _seen_order(change.tx),
        )
        await change.audit("preview", "recalculation", row_id, after=new)
    await steps.advance(ctx, row_id, time.monotonic() + INLINE_S)
    return await get(ctx, row_id)


async def apply(ctx: Context, row_id: int) -> Recalculation:
    """Book what was previewed; of one that is applied or being applied, what became of it.

    Raises:
        Conflict: it is no preview, its calls' prices have changed since, or another one is being booked.
    """
    async with ctx.change() as change:
        row = await _row(change.tx, row_id)
        if row["state"] not in ("applying", "applied"):
            if row["state"] != "previewed":
                raise Conflict(f"It is {row['state']}: nothing can be applied.")
            await _check_alone(change.tx)
            missed = await ledger_lines.missed_run(change.tx, row["seen_order"], row["filters"].get("customer_id"))
            if missed is not None:
                raise Conflict(
                    "Calls have been priced anew since the preview: make another one.",
                    references=[Reference(noun="recalculation", id=str(missed))],
                )
            booking = await steps.booking_values(change.tx, change.now_ms, msgspec.to_builtins(change.actor))
            await change.tx.execute(update(recalculations).where(recalculations.c.id == row_id).values(booking))
            await change.audit("apply", "recalculation", row_id, after=await _shown(change.tx, row_id))
            # What fits into one step is booked with the state that says so.
            await steps.book_in(change, row_id)
    await steps.advance(ctx, row_id, time.monotonic() + INLINE_S)
    return await get(ctx, row_id)


async def undo(ctx: Context, row_id: int, asked: UndoNew) -> Recalculation:
    """Take an applied recalculation back by another one, which is returned; a second time it is the same one.

    Raises:
        Conflict: it is not applied, it is an undoing itself, or another one is being booked.
    """
    async with ctx.change() as change:
        row = await _row(change.tx, row_id)
        query = select(recalculations.c.id).where(recalculations.c.undoes_id == row_id)
        undo_id = (await change.tx.execute(query)).scalar_one_or_none()
        if undo_id is None:
            if row["kind"] == "undo":
                raise Conflict("It takes another one back; make that one anew instead.")
            if row["state"] != "applied":
                raise Conflict(f"It is {row['state']}: there is nothing to take back.")
            await _check_alone(change.tx)
            undo_id = await _insert(
                change,
                kind="undo",
                state="computing",
                filters={},
                rule={},
                reason=asked.reason or f"undo of recalculation {row_id}",
                undoes_id=row_id,
                seen_order=await _seen_order(change.tx),
            )
            await change.audit("undo", "recalculation", row_id, after={"undone_by_id": undo_id, "reason": asked.reason})
    await steps.advance(ctx, undo_id, time.monotonic() + INLINE_S)
    return await get(ctx, undo_id)


async def discard(ctx: Context, row_id: int) -> None:
    """Drop a preview with its lines; the row stays and says so."""
    async with ctx.change() as change:
        row = await _row(change.tx, row_id)
        if row["state"] == "discarded":
            return
        if row["kind"] != "rule" or row["state"] not in ("computing", "previewed", "failed"):
            raise Conflict(f"It is {row['state']}; undo takes it back.")
        await _discard(change.tx, row_id)
        await change.audit("discard", "recalculation", row_id)


async def get(ctx: Context, row_id: int) -> Recalculation:
    async with ctx.store.read() as tx:
        return await _shown(tx, row_id)


async def page(ctx: Context, query: RecalculationQuery) -> Page[Recalculation]:
    """The youngest first."""
    statement = select(recalculations)
    for name in ("state", "kind"):
        value = getattr(query, name)
        if value is not None:
            statement = statement.where(recalculations.c[name] == value)
    if query.search:
        statement = statement.where(contains(recalculations, "reason", query.search))
    ordered = msgspec.structs.replace(query, sort=query.sort or "-id")
    async with ctx.store.read() as tx:
        rows, next_cursor = await read_page(tx, recalculations, statement, ordered, ("id",))
        items = [await _shown(tx, row["id"]) for row in rows]
    return Page(items=items, next_cursor=next_cursor)


async def page_lines(ctx: Context, row_id: int, query: LineQuery) -> Page[Line]:
    """Calls that change, and those that cannot be priced, in the order of their INVITEs."""
    statement = select(lines).where(lines.c.recalculation_id == row_id, ledger_lines.is_news())
    for name in ("customer_id", "side", "problem"):
        value = getattr(query, name)
        if value is not None:
            statement = statement.where(lines.c[name] == value)
    if query.search:
        statement = statement.where(lines.c.cdr_id.startswith(query.search, autoescape=True))
    async with ctx.store.read() as tx:
        await _row(tx, row_id)
        rows, next_cursor = await read_page(tx, lines, statement, query, ("id",))
    return Page(items=[line_shown(row) for row in rows], next_cursor=next_cursor)


async def _checked_rule(tx: Tx, new: RecalculationNew) -> Rule:
    """The rule with card and side filled in."""
    rule, filters = new.rule, new.filters
    if rule.max_duration_s is None and rule.card_id is None and rule.revision_id is None:
        raise invalid("rule", "max_duration_s, card_id or revision_id is needed")
    card_id = rule.card_id
    if rule.revision_id is not None:
        query = select(tables.revisions.c.card_id).where(tables.revisions.c.id == rule.revision_id)
        owner = (await tx.execute(query)).scalar_one_or_none()
        if owner is None:
            raise invalid("rule.revision_id", f"there is no revision {rule.revision_id}")
        if card_id not in (None, owner):
            raise invalid("rule.revision_id", f"a revision of card {owner}")
        card_id = owner
    side = rule.side
    if card_id is not None:
        card = await require(tx, tables.rate_cards, "rule.card_id", "rate card", card_id)
        if side not in (None, card["direction"]):
            raise invalid("rule.side", f"the card is a {card['direction']} card")
        side = card["direction"]
    if filters.customer_id is not None:
        customers = tables.customers.c
        known = select(customers.id).where(customers.id == filters.customer_id)
        if (await tx.execute(known)).scalar_one_or_none() is None:
            raise invalid("filters.customer_id", f"there is no customer {filters.customer_id}")
    return msgspec.structs.replace(rule, card_id=card_id, side=side or "sell")


async def _insert(change: Change, **values: Any) -> int:
    cdrs = tables.cdrs.c
    last = (await change.tx.execute(select(func.max(cdrs.number)))).scalar_one_or_none() or 0
    made = insert(recalculations).values(
        created_ms=change.now_ms, created_by=msgspec.to_builtins(change.actor), upto_number=last, **values
    )
    return int((await change.tx.execute(made.returning(recalculations.c.id))).scalar_one())


async def _shown(tx: Tx, row_id: int) -> Recalculation:
    row = await _row(tx, row_id)
    undone_by = select(recalculations.c.id).where(recalculations.c.undoes_id == row_id)
    undone_by_id = (await tx.execute(undone_by)).scalar_one_or_none()
    return recalculation_shown(row, undone_by_id, await ledger_lines.read_sums(tx, row_id))


async def _row(tx: Tx, row_id: int) -> RowMapping:
    if not 0 < row_id <= ROW_ID_MAX:
        raise NotFound("recalculation", row_id)
    return await steps.read_row(tx, row_id)


async def _seen_order(tx: Tx) -> int:
    """The last run whose prices all stand by now; one that is still being booked does not."""
    c = recalculations.c
    return (await tx.execute(select(func.max(c.applied_order)).where(c.state == "applied"))).scalar_one_or_none() or 0


async def _check_alone(tx: Tx) -> None:
    """One is booked at a time, so that each begins from prices that stand still."""
    c = recalculations.c
    is_undoing = (c.kind == "undo") & (c.state == "computing")
    busy = (await tx.execute(select(c.id).where(or_(c.state == "applying", is_undoing)).limit(1))).scalar_one_or_none()
    if busy is not None:
        detail = f"Recalculation {busy} is being booked; ask again when it is."
        raise Conflict(detail, references=[Reference(noun="recalculation", id=str(busy))])


async def _drop_old_previews(change: Change) -> None:
    c = recalculations.c
    old = select(c.id).where(
        c.kind == "rule",
        c.state.in_(("previewed", "failed")),
        c.created_ms < change.now_ms - PREVIEW_DAYS_MAX * _DAY_MS,
    )
    for row_id in list((await change.tx.execute(old)).scalars()):
        await _discard(change.tx, row_id)


async def _discard(tx: Tx, row_id: int) -> None:
    await ledger_lines.discard(tx, row_id)
    await tx.execute(update(recalculations).where(recalculations.c.id == row_id).values(state="discarded"))
