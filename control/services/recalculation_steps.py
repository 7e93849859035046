"""The steps of a recalculation: each prices some calls, or books some lines, in one transaction.

Whoever asks first does the next step: the request that began it, or the background. The cursor is
moved where it was read, so a step that two have prepared is written once.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import SQLAlchemyError

from control.services import recalculation_lines as booked_lines
from control.services.context import Actor, Change, Context
from control.services.errors import NotFound
from control.services.looks import Looks
from control.services.problems import convert
from control.services.recalculation_calls import CALLS_A_STEP, Calls, read_cdrs, read_zones
from control.services.recalculation_views import Filters, Rule, Side
from control.services.repricing import CannotPrice, PricingRule, Repricer, own_price
from control.store.engine import Tx
from control.store.recalculation_tables import lines, recalculations

LOOK_S: Final = 2.0
"""How soon the background finds what a request, or a process before, has left."""
LINES_MAX: Final = 1_000_000
"""Of one recalculation; more are better done a week at a time."""

_SIDES: Final[tuple[Side, ...]] = ("sell", "buy")

log = structlog.get_logger("control.recalculation")


async def run(ctx: Context) -> None:
    """Do the steps that are left of all recalculations, until cancelled."""
    looks = Looks(ctx.store, ctx.now_ms)
    while True:
        try:
            if looks.is_needed() and not await advance_all(ctx):
                looks.rest()
        except (SQLAlchemyError, OSError) as error:
            log.error("recalculations are held up", reason=str(error))
        await asyncio.sleep(LOOK_S)


async def advance_all(ctx: Context) -> int:
    """How many had something left to do."""
    c = recalculations.c
    async with ctx.store.read() as tx:
        query = select(c.id).where(c.state.in_(("computing", "applying"))).order_by(c.id)
        waiting = list((await tx.execute(query)).scalars())
    for row_id in waiting:
        try:
            await advance(ctx, row_id)
        except (SQLAlchemyError, OSError):
            raise
        except Exception as error:
            # One that cannot be done must not take the control plane down with it, at each start again.
            await _note_failure(ctx, row_id, error)
    return len(waiting)


async def advance(ctx: Context, row_id: int, until: float | None = None) -> None:
    """Do step after step while there are any, and until a monotonic time."""
    repricer: Repricer | None = None
    while True:
        async with ctx.store.read() as tx:
            row = await read_row(tx, row_id)
        if row["state"] == "applying":
            await _book(ctx, row)
        elif row["state"] != "computing":
            return
        elif row["kind"] == "undo":
            await _find_undone(ctx, row)
        else:
            repricer = repricer or Repricer(ctx.data_folder, _pricing_rule(row))
            await _price_calls(ctx, row, repricer)
        if until is not None and time.monotonic() >= until:
            return


async def read_row(tx: Tx, row_id: int) -> RowMapping:
    query = select(recalculations).where(recalculations.c.id == row_id)
    row = (await tx.execute(query)).mappings().first()
    if row is None:
        raise NotFound("recalculation", row_id)
    return row


async def book_in(change: Change, row_id: int) -> None:
    """Book one step's lines; with the last of them the recalculation is applied."""
    row = await read_row(change.tx, row_id)
    count = await booked_lines.book(change, row_id, row["reason"], booked_lines.BOOKED_A_STEP)
    if count < booked_lines.BOOKED_A_STEP:
        done = update(recalculations).where(recalculations.c.id == row_id).values(state="applied", error="")
        await change.tx.execute(done)


async def _book(ctx: Context, row: RowMapping) -> None:
    """In the name of whoever applied it, whichever process does it."""
    acting = ctx.acting(convert(row["applied_by"], Actor))
    async with acting.change() as change:
        if (await read_row(change.tx, row["id"]))["state"] == "applying":
            await book_in(change, row["id"])
    ctx.is_pending = ctx.is_pending or acting.is_pending


async def _price_calls(ctx: Context, row: RowMapping, repricer: Repricer) -> None:
    """Price the next calls of a preview, beside the writers, and keep what comes of them."""
    filters, rule = convert(row["filters"], Filters), convert(row["rule"], Rule)
    after = (row["cursor_ms"], row["cursor_number"])
    async with ctx.store.read() as tx:
        zones = await read_zones(tx)
        calls = Calls(filters, rule, row["upto_number"], zones)
        found = await calls.step(tx, after)
        wanted = [cdr for cdr in found if calls.is_wanted(cdr)]
        side: Side = rule.side or "sell"
        made = await _lines_of(tx, row["id"], wanted, rule, side, repricer)
        # Counting them is worth it only where so many can be.
        kept = await booked_lines.count(tx, row["id"]) if row["calls"] > LINES_MAX - CALLS_A_STEP else 0
    if kept + len(made) > LINES_MAX:
        await _mark_failed(ctx, row["id"], f"more than {LINES_MAX} calls change: narrow the filters")
        return
    is_last = len(found) < CALLS_A_STEP
    moved: dict[str, Any] = {"calls": row["calls"] + len(wanted)}
    if found:
        moved |= {"cursor_ms": found[-1]["invited_ms"], "cursor_number": found[-1]["number"]}
    if is_last:
        moved["state"] = "previewed"
    async with ctx.store.begin() as tx:
        if await _move(tx, row, moved):
            await booked_lines.add(tx, made)


async def _lines_of(
    tx: Tx, row_id: int, cdrs: list[RowMapping], rule: Rule, side: Side, repricer: Repricer
) -> list[dict[str, Any]]:
    booked = await booked_lines.read_booked(tx, [cdr["number"] for cdr in cdrs], side)
    made: list[dict[str, Any]] = []
    for cdr in cdrs:
        found = own_price(cdr, side)
        if found is None:
            continue
        own, provider_id = found
        if side == "buy" and rule.card_id is not None and provider_id != await repricer.provider_of(tx, rule.card_id):
            continue
        earlier = booked.get(cdr["number"])
        before = own if earlier is None else earlier.price
        try:
            price = await repricer.price(tx, cdr, own, is_sell=side == "sell")
        except CannotPrice as problem:
            made.append(booked_lines.make_line(row_id, cdr, side, provider_id, before, before, str(problem)))
            continue
        # A price that stays is noted where a rule has been there before: this one is the last now.
        if earlier is not None or not price.is_same_money(before):
            made.append(booked_lines.make_line(row_id, cdr, side, provider_id, before, price))
    return made


async def _find_undone(ctx: Context, row: RowMapping) -> None:
    """Find what the next calls of an undone run go back to; when all are found, booking begins."""
    async with ctx.store.read() as tx:
        query = (
            select(lines)
            .where(lines.c.recalculation_id == row["undoes_id"], lines.c.is_booked)
            .where(lines.c.id > row["cursor_number"])
            .order_by(lines.c.id)
            .limit(CALLS_A_STEP)
        )
        found = list((await tx.execute(query)).mappings())
        made: list[dict[str, Any]] = []
        for side in _SIDES:
            made += await _ways_back(tx, row["id"], [line for line in found if line["side"] == side], side)
    moved: dict[str, Any] = {"calls": row["calls"] + len(found)}
    if found:
        moved["cursor_number"] = found[-1]["id"]
    async with ctx.store.begin() as tx:
        if len(found) < CALLS_A_STEP:
            moved |= await booking_values(tx, ctx.now_ms(), row["created_by"])
        if await _move(tx, row, moved):
            await booked_lines.add(tx, made)


async def _ways_back(tx: Tx, row_id: int, undone: list[RowMapping], side: Side) -> list[dict[str, Any]]:
    """From what calls cost now to the last rule that is still in force, or to their CDR."""
    numbers = [line["cdr_number"] for line in undone]
    current = await booked_lines.read_booked(tx, numbers, side)
    in_force = await booked_lines.read_in_force(tx, numbers, side)
    made: list[dict[str, Any]] = []
    for cdr in await read_cdrs(tx, numbers):
        number = cdr["number"]
        found = own_price(cdr, side)
        assert found is not None, "it had a cost that was corrected"
        own, provider_id = found
        target = in_force[number].price if number in in_force else own
        before = current[number].price
        if not before.is_same_money(target):
            made.append(booked_lines.make_line(row_id, cdr, side, provider_id, before, target))
    return made


async def booking_values(tx: Tx, now_ms: int, actor: Any) -> dict[str, Any]:
    """Columns of a run whose lines begin to be booked, and its place in the order of those."""
    c = recalculations.c
    last = (await tx.execute(select(func.max(c.applied_order)))).scalar_one_or_none() or 0
    return {"state": "applying", "applied_ms": now_ms, "applied_by": actor, "applied_order": last + 1}


async def _move(tx: Tx, row: RowMapping, values: dict[str, Any]) -> bool:
    """Write a step's progress, unless somebody else has done the step."""
    c = recalculations.c
    at = (c.cursor_ms == row["cursor_ms"], c.cursor_number == row["cursor_number"], c.calls == row["calls"])
    moved = await tx.execute(
        update(recalculations).where(c.id == row["id"], c.state == row["state"], *at).values(values)
    )
    return moved.rowcount == 1


async def _note_failure(ctx: Context, row_id: int, error: Exception) -> None:
    """A preview has failed then; what is to be booked stays so, and is tried again."""
    async with ctx.store.read() as tx:
        row = await read_row(tx, row_id)
    if row["state"] == "computing" and row["kind"] == "rule":
        log.exception("a recalculation has failed", id=row_id, exc_info=error)
        await _mark_failed(ctx, row_id, f"{type(error).__name__}: {error}")
    elif row["error"] != str(error):
        log.exception("a recalculation cannot be booked", id=row_id, exc_info=error)
        async with ctx.store.begin() as tx:
            await tx.execute(update(recalculations).where(recalculations.c.id == row_id).values(error=str(error)))


async def _mark_failed(ctx: Context, row_id: int, error: str) -> None:
    c = recalculations.c
    async with ctx.store.begin() as tx:
        await booked_lines.discard(tx, row_id)
        await tx.execute(
            update(recalculations).where(c.id == row_id, c.state == "computing").values(state="failed", error=error)
        )


def _pricing_rule(row: RowMapping) -> PricingRule:
    rule = convert(row["rule"], Rule)
    return PricingRule(
        cap_ms=None if rule.max_duration_s is None else rule.max_duration_s * 1000,
        caps_all=bool(row["filters"].get("causes")),
        card_id=rule.card_id,
        revision_id=rule.revision_id,
    )
