"""Lines of recalculations: what each call costs now, what a run makes of it, and the booking of that.

A call costs what its last booked line says, or its CDR where it has none. A run is in force from
its booking until it is undone. Two runs are never booked at the same time, and a preview that has
missed one is refused, so lines of a call are booked in the order of their ids.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from sqlalchemy import Select, bindparam, case, delete, exists, func, insert, select, update
from sqlalchemy.engine import RowMapping

from control.services.context import Change
from control.services.ledger import EntryNew, append_all
from control.services.recalculation_views import Side, Sums, Total, read_price, write_price
from control.services.repricing import Price
from control.services.rollups import add_corrections
from control.store import tables
from control.store.engine import Tx
from control.store.recalculation_tables import cost_adjustments, lines, recalculations
from rating.money import format_amount

BOOKED_A_STEP: Final = 500
"""A tenth of a second at most, for which nobody else writes, and one frame to the switch."""

RowValues = dict[str, Any]


class Booked(NamedTuple):
    """A booked line of a call."""

    line_id: int
    recalculation_id: int
    price: Price


def make_line(
    recalculation_id: int,
    cdr: RowMapping,
    side: Side,
    provider_id: int | None,
    before: Price,
    after: Price,
    problem: str = "",
) -> RowValues:
    """One side of a call as it is and as it will be, not booked yet."""
    return {
        "recalculation_id": recalculation_id,
        "side": side,
        "cdr_number": cdr["number"],
        "cdr_id": cdr["id"],
        "invited_ms": cdr["invited_ms"],
        "customer_id": cdr["customer_id"],
        "provider_id": provider_id,
        "currency": cdr["currency"],
        "before_nanos": before.gross_nanos,
        "after_nanos": after.gross_nanos,
        "before": write_price(before),
        "after": write_price(after),
        "problem": problem,
    }


async def add(tx: Tx, rows: list[RowValues]) -> None:
    if rows:
        await tx.execute(insert(lines), rows)


async def read_booked(tx: Tx, cdr_numbers: Iterable[int], side: Side) -> dict[int, Booked]:
    """The last booked line of each call that has one: what it costs now."""
    return await _last_lines(tx, _booked_of(cdr_numbers, side))


async def read_in_force(tx: Tx, cdr_numbers: Iterable[int], side: Side) -> dict[int, Booked]:
    """Of each call the last line of a rule that was not undone."""
    c = recalculations.c
    undone = select(c.undoes_id).where(c.undoes_id.is_not(None))
    rules = select(c.id).where(c.kind == "rule", c.id.not_in(undone))
    return await _last_lines(tx, _booked_of(cdr_numbers, side).where(lines.c.recalculation_id.in_(rules)))


def _booked_of(cdr_numbers: Iterable[int], side: Side) -> Select[Any]:
    return (
        select(func.max(lines.c.id))
        .where(lines.c.cdr_number.in_(list(cdr_numbers)), lines.c.side == side, lines.c.is_booked)
        .group_by(lines.c.cdr_number)
    )


async def _last_lines(tx: Tx, last: Select[Any]) -> dict[int, Booked]:
    query = select(lines.c.cdr_number, lines.c.id, lines.c.recalculation_id, lines.c.after).where(lines.c.id.in_(last))
    return {
        number: Booked(line_id, recalculation_id, read_price(after))
        for number, line_id, recalculation_id, after in await tx.execute(query)
    }


async def count(tx: Tx, recalculation_id: int) -> int:
    query = select(func.count()).select_from(lines).where(lines.c.recalculation_id == recalculation_id)
    return int((await tx.execute(query)).scalar_one())


async def book(change: Change, recalculation_id: int, reason: str, count_max: int) -> int:
    """Bring the next lines into force: an adjustment each in the ledger, or among the costs.

    Returns:
        How many there were; fewer than asked for: they were the last.
    """
    query = select(lines).where(*_open(recalculation_id)).order_by(lines.c.id).limit(count_max)
    rows = list((await change.tx.execute(query)).mappings())
    moving = [row for row in rows if row["after_nanos"] != row["before_nanos"]]
    charged = [row for row in moving if row["side"] == "sell"]
    ids = await append_all(change, [_entry(row, reason) for row in charged])
    booked = update(lines).where(lines.c.id.in_([row["id"] for row in rows])).values(is_booked=True)
    await change.tx.execute(booked)
    if charged:
        named = update(lines).where(lines.c.id == bindparam("line_id")).values(entry_id=bindparam("entry"))
        pairs = [{"line_id": row["id"], "entry": entry_id} for row, entry_id in zip(charged, ids, strict=True)]
        await change.tx.execute(named, pairs)
    paid = [_cost(row, change.now_ms) for row in moving if row["side"] == "buy"]
    if paid:
        await change.tx.execute(insert(cost_adjustments), paid)
    await add_corrections(change.tx, moving)
    return len(rows)


def _entry(row: RowMapping, reason: str) -> EntryNew:
    before, after = read_price(row["before"]), read_price(row["after"])
    shown = f"{format_amount(before.gross_nanos)} → {format_amount(after.gross_nanos)} {row['currency']}"
    return EntryNew(
        customer_id=row["customer_id"],
        kind="adjustment",
        amount_nanos=before.gross_nanos - after.gross_nanos,
        net_nanos=after.net_nanos - before.net_nanos,
        tax_nanos=after.tax_nanos - before.tax_nanos,
        cdr_number=row["cdr_number"],
        description=f"call priced anew: {shown}",
        note=reason,
        reference=f"recalculation {row['recalculation_id']}",
    )


def _cost(row: RowMapping, at_ms: int) -> RowValues:
    """Vendors' costs move no balance: they are noted for whoever sums up profit."""
    copied = ("cdr_id", "customer_id", "provider_id", "currency", "invited_ms")
    values = {name: row[name] for name in copied}
    return {**values, "line_id": row["id"], "amount_nanos": row["after_nanos"] - row["before_nanos"], "at_ms": at_ms}


def _open(recalculation_id: int) -> list[Any]:
    return [lines.c.recalculation_id == recalculation_id, lines.c.problem == "", ~lines.c.is_booked]


def is_news() -> Any:
    """Whether a line says something to people; others only note that a run has left a price as it was."""
    return (lines.c.before_nanos != lines.c.after_nanos) | (lines.c.problem != "")


async def missed_run(tx: Tx, seen_order: int, customer_id: int | None) -> int | None:
    """A run that was booked since, with calls of this customer (None: of anybody)."""
    later = select(recalculations.c.id).where(recalculations.c.applied_order > seen_order)
    if customer_id is not None:
        is_theirs = (lines.c.recalculation_id == recalculations.c.id) & (lines.c.customer_id == customer_id)
        later = later.where(exists().where(is_theirs))
    return (await tx.execute(later.order_by(recalculations.c.id).limit(1))).scalar_one_or_none()


async def discard(tx: Tx, recalculation_id: int) -> None:
    await tx.execute(delete(lines).where(lines.c.recalculation_id == recalculation_id, ~lines.c.is_booked))


async def read_sums(tx: Tx, recalculation_id: int) -> Sums:
    """What a run changes, by customer and side."""
    customers = tables.customers
    problem, side, customer_id, currency = lines.c.problem, lines.c.side, lines.c.customer_id, lines.c.currency
    query = (
        select(
            *(problem, side, customer_id, currency, customers.c.name),
            func.count().label("calls"),
            func.sum(lines.c.before_nanos).label("before"),
            func.sum(lines.c.after_nanos).label("after"),
            func.sum(case((lines.c.is_booked, 1), else_=0)).label("booked"),
        )
        .join(customers, customers.c.id == customer_id, isouter=True)
        .where(lines.c.recalculation_id == recalculation_id, is_news())
        .group_by(problem, side, customer_id, currency, customers.c.name)
        .order_by(side.desc(), customer_id)
    )
    totals: list[Total] = []
    problems: dict[str, int] = {}
    changed = booked = 0
    for row in (await tx.execute(query)).mappings():
        if row["problem"]:
            problems[row["problem"]] = problems.get(row["problem"], 0) + row["calls"]
            continue
        changed += row["calls"]
        booked += int(row["booked"])
        # Sums of integers come as decimals from PostgreSQL.
        before, after = int(row["before"]), int(row["after"])
        totals.append(
            Total(
                customer_id=row["customer_id"],
                customer=row["name"] or "",
                side=row["side"],
                currency=row["currency"],
                calls=row["calls"],
                before=format_amount(before),
                after=format_amount(after),
                difference=format_amount(after - before),
            )
        )
    return Sums(totals, problems, changed, booked)
