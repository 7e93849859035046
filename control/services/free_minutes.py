"""Free minutes of packages: what calls that fall under them were charged is given back, call by call.

A call is charged when it ends, as any other; soon after, an entry of kind `package` that is linked to its
CDR gives back what was free of it. Nothing of the charge is edited, and the switch need not know: what it
holds for a call that is up is held all the same, so that an allowance can never be overdrawn. Calls are
taken in the order in which they came into the store, each once: the place in that order is moved in the
transaction of the entries, and a unique key of assignment, call and step stands behind it. Where a call
is priced anew afterwards, a further step gives back, or takes, the difference.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sqlalchemy import func, insert, or_, select, text, update
from sqlalchemy.engine import RowMapping

from control.services.assignment_steps import Done, work_through
from control.services.context import Change, Context
from control.services.customer_packages import allowance_s
from control.services.ledger import EntryNew, append_all
from control.services.package_terms import Assignment
from control.services.periods import day_at
from control.services.recalculation_lines import read_booked
from control.store import tables
from control.store.engine import Tx
from control.store.package_tables import customer_packages, package_credits
from rating.money import HALF_UP, STEPS, round_ratio
from switch.policy.dial_strings import compile_dial_string

CALLS_A_STEP: Final = 500
NUMBERS_A_STEP: Final = 50_000
"""Calls, anybody's, among which those of one assignment are looked for in one transaction."""
MOVED_AT_ONCE: Final = 500
DECIMALS: Final = 4
"""Of what is given back of a call that was free in part; a call that was free as a whole costs nothing at all."""


class Cost(NamedTuple):
    """What a call costs now, all corrections in."""

    billed_s: int
    net_nanos: int
    tax_nanos: int


class Seen(NamedTuple):
    """How far an assignment has come."""

    id: int
    customer_id: int
    number: int
    entry_id: int


async def run_due(ctx: Context) -> int:
    """Give back what was free of the calls that came since; how many entries that took."""
    async with ctx.store.read() as tx:
        call, entry = await _last(tx)
        behind = await _behind(tx, call, entry)
        busy = await _with_news(tx, behind, call, entry)
    idle = [each.id for each in behind if each.id not in busy]
    for at in range(0, len(idle), MOVED_AT_ONCE):
        async with ctx.store.begin() as tx:
            await _move(tx, idle[at : at + MOVED_AT_ONCE], call, entry)
    return await work_through(ctx, sorted(busy), _step, CALLS_A_STEP)


async def _behind(tx: Tx, call: int, entry: int) -> list[Seen]:
    """Assignments with free minutes that have not seen the latest call or correction."""
    c = customer_packages.c
    query = select(c.id, c.customer_id, c.free_number, c.free_entry_id).where(
        c.archived_ms.is_(None), or_(c.free_number < call, c.free_entry_id < entry)
    )
    return [Seen(*row) for row in await tx.execute(query)]


async def _with_news(tx: Tx, behind: list[Seen], call: int, entry: int) -> set[int]:
    """Those of whose customers there are calls or corrections since, and those that are far behind: these look."""
    near = [each for each in behind if call - each.number <= NUMBERS_A_STEP]
    found = {each.id for each in behind if call - each.number > NUMBERS_A_STEP}
    if not near:
        return found
    calls, entries = tables.cdrs.c, tables.ledger_entries.c
    since = min(each.number for each in near)
    called = select(calls.customer_id).where(calls.number > since, calls.number <= call).distinct()
    since = min(each.entry_id for each in near)
    corrected = (
        select(entries.customer_id)
        .where(_IS_BOOKED, entries.id > since, entries.id <= entry, entries.cdr_number.is_not(None))
        .where(entries.kind == "adjustment")
        .distinct()
    )
    customers = {*(await tx.execute(called)).scalars(), *(await tx.execute(corrected)).scalars()}
    return found | {each.id for each in near if each.customer_id in customers}


async def _move(tx: Tx, ids: list[int], call: int, entry: int) -> None:
    """There was nothing for these up to here."""
    c = customer_packages.c
    moved = update(customer_packages).where(c.id.in_(ids), c.free_number <= call, c.free_entry_id <= entry)
    await tx.execute(moved.values(free_number=call, free_entry_id=entry))


async def _last(tx: Tx) -> tuple[int, int]:
    """The latest call, and the latest entry that was made in the store."""
    entries = tables.ledger_entries.c
    call = (await tx.execute(select(func.max(tables.cdrs.c.number)))).scalar_one_or_none()
    entry = (await tx.execute(select(func.max(entries.id)).where(_IS_BOOKED))).scalar_one_or_none()
    return call or 0, entry or 0


_IS_BOOKED: Final = text("ledger_entries.kind <> 'call'")


async def _step(change: Change, assignment: Assignment, most: int) -> Done:
    if not assignment.is_billed or assignment.terms.free_minutes is None:
        return Done(0, 0)
    call, entry = await _last(change.tx)
    corrected = await _true_up(change, assignment)
    upto = min(call, assignment.row["free_number"] + NUMBERS_A_STEP)
    calls = await _calls(change.tx, assignment, upto, most)
    number = calls[-1]["number"] if len(calls) == most else upto
    given = await _give(change, assignment, calls)
    seen = update(customer_packages).where(customer_packages.c.id == assignment.id)
    await change.tx.execute(seen.values(free_number=max(number, assignment.row["free_number"]), free_entry_id=entry))
    return Done(given + corrected, len(calls), is_whole=number >= call)


async def _calls(tx: Tx, assignment: Assignment, upto: int, most: int) -> list[RowMapping]:
    c = tables.cdrs.c
    query = (
        select(c.number, c.dialled_out, c.ended_ms, c.billed_s, c.net_nanos, c.tax_nanos)
        .where(
            # By the calls' numbers: by the customer's index all of its calls would be read, each time.
            c.customer_id + 0 == assignment.customer_id,
            c.number > assignment.row["free_number"],
            c.number <= upto,
            c.direction == "outbound",
            c.billed_s > 0,
            c.gross_nanos > 0,
        )
        .order_by(c.number)
        .limit(most)
    )
    return list((await tx.execute(query)).mappings())


async def _give(change: Change, assignment: Assignment, calls: list[RowMapping]) -> int:
    pattern = assignment.terms.free_destination
    matches = compile_dial_string(pattern).matches if pattern else lambda _digits: True
    days = ((call, day_at(call["ended_ms"], assignment.zone)) for call in calls)
    mine = [call for call, day in days if assignment.first <= day < assignment.until and matches(call["dialled_out"])]
    numbers = [call["number"] for call in mine]
    booked = await read_booked(change.tx, numbers, "sell")
    taken = await _taken_s(change.tx, numbers)
    left: dict[str, int] = {}
    rows: list[dict[str, Any]] = []
    entries: list[EntryNew] = []
    for call in mine:
        period = assignment.period_at(call["ended_ms"])
        if period.key not in left:
            used = await _used_s(change.tx, assignment.id, period.key)
            left[period.key] = max(0, allowance_s(assignment, call["ended_ms"]) - used)
        price = booked[call["number"]].price if call["number"] in booked else call
        cost = _cost(price)
        seconds = min(left[period.key], cost.billed_s - taken.get(call["number"], 0))
        if seconds <= 0:
            continue
        left[period.key] -= seconds
        net, tax = _share(cost, seconds)
        rows.append(_row(assignment, period.key, call["number"], 0, seconds, net, tax))
        entries.append(_entry(assignment, period.key, call["number"], call["ended_ms"], net, tax))
    await _write(change, rows, entries)
    return len(rows)


async def _true_up(change: Change, assignment: Assignment) -> int:
    """Bring what was given back of calls that were priced anew since to its share of what they cost now."""
    entries, given_c = tables.ledger_entries.c, package_credits.c
    corrected = select(entries.cdr_number).where(
        _IS_BOOKED,
        entries.id > assignment.row["free_entry_id"],
        entries.customer_id == assignment.customer_id,
        entries.kind == "adjustment",
        entries.cdr_number.is_not(None),
    )
    query = (
        select(
            given_c.cdr_number,
            given_c.period,
            func.sum(given_c.seconds).label("seconds"),
            func.sum(given_c.net_nanos).label("net"),
            func.sum(given_c.tax_nanos).label("tax"),
            func.count().label("steps"),
        )
        .where(given_c.customer_package_id == assignment.id, given_c.cdr_number.in_(corrected))
        .group_by(given_c.cdr_number, given_c.period)
        .order_by(given_c.cdr_number)
    )
    given = list((await change.tx.execute(query)).mappings())
    numbers = [each["cdr_number"] for each in given]
    booked = await read_booked(change.tx, numbers, "sell")
    taken = await _taken_s(change.tx, numbers)
    rows: list[dict[str, Any]] = []
    made: list[EntryNew] = []
    for each in given:
        number = each["cdr_number"]
        if number not in booked:
            continue
        cost = _cost(booked[number].price)
        # Other packages' seconds of the call come first: where it has become shorter, none is given back twice.
        others_s = taken[number] - int(each["seconds"])
        seconds = min(int(each["seconds"]), max(0, cost.billed_s - others_s))
        net, tax = _share(cost, seconds)
        more_net, more_tax = net - int(each["net"]), tax - int(each["tax"])
        more_s = seconds - int(each["seconds"])
        if more_net or more_tax or more_s:
            rows.append(_row(assignment, each["period"], number, each["steps"], more_s, more_net, more_tax))
            made.append(_entry(assignment, each["period"], number, change.now_ms, more_net, more_tax))
    await _write(change, rows, made)
    return len(rows)


def _cost(price: Any) -> Cost:
    if isinstance(price, RowMapping):
        return Cost(price["billed_s"], price["net_nanos"], price["tax_nanos"])
    return Cost(price.billed_s, price.net_nanos, price.tax_nanos)


def _share(cost: Cost, seconds: int) -> tuple[int, int]:
    """Net and tax of so many of a call's billed seconds, each rounded once; of all of them the very charge."""
    if seconds >= cost.billed_s:
        return cost.net_nanos, cost.tax_nanos
    net, tax = (
        round_ratio(amount * seconds, cost.billed_s, STEPS[DECIMALS], HALF_UP)
        for amount in (cost.net_nanos, cost.tax_nanos)
    )
    return min(net, cost.net_nanos), min(tax, cost.tax_nanos)


def _row(assignment: Assignment, period: str, number: int, step: int, seconds: int, net: int, tax: int) -> Any:
    return {
        "customer_package_id": assignment.id,
        "customer_id": assignment.customer_id,
        "period": period,
        "cdr_number": number,
        "step": step,
        "seconds": seconds,
        "net_nanos": net,
        "tax_nanos": tax,
    }


def _entry(assignment: Assignment, period: str, number: int, at_ms: int, net: int, tax: int) -> EntryNew:
    return EntryNew(
        customer_id=assignment.customer_id,
        kind="package",
        amount_nanos=net + tax,
        net_nanos=-net,
        tax_nanos=-tax,
        at_ms=at_ms,
        cdr_number=number,
        description=f"{assignment.terms.name}: free minutes",
        reference=f"package {assignment.id} free {period}",
    )


async def _write(change: Change, rows: list[dict[str, Any]], entries: list[EntryNew]) -> None:
    if not rows:
        return
    ids = await append_all(change, entries)
    stamped = [
        {**row, "entry_id": entry_id, "created_ms": change.now_ms} for row, entry_id in zip(rows, ids, strict=True)
    ]
    await change.tx.execute(insert(package_credits), stamped)


async def _used_s(tx: Tx, row_id: int, period: str) -> int:
    c = package_credits.c
    query = select(func.coalesce(func.sum(c.seconds), 0)).where(c.customer_package_id == row_id, c.period == period)
    return int((await tx.execute(query)).scalar_one())


async def _taken_s(tx: Tx, numbers: list[int]) -> dict[int, int]:
    """Seconds of these calls that a package has given back already, this one or another."""
    if not numbers:
        return {}
    c = package_credits.c
    query = select(c.cdr_number, func.sum(c.seconds)).where(c.cdr_number.in_(numbers)).group_by(c.cdr_number)
    return {number: int(seconds) for number, seconds in await tx.execute(query)}
