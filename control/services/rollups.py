"""Sums of calls, written with the calls themselves.

Each batch of CDRs is summed up in the transaction that stores it, so the sums are as exactly once as the
CDRs. Calls count where their INVITE came, as in the list of CDRs, in the minute of it in UTC. Borders
of days and months in any zone fall on quarters of an hour (offsets are whole quarters since 1970, and so
are clock changes), so a range of minutes or of quarters adds up to any customer's day exactly, whatever
its zone is or becomes. Minutes older than `MINUTES_KEPT_MS` are folded into quarters; a call that ends
after that leaves a minute's row among them, which adds up all the same.

What a recalculation changes moves the sums of the call's own minute, so profit follows corrections.
CDRs that were stored before there were sums are added by `build` in the background, behind a cursor that
moves in the same transactions; `start_again` makes all of them anew that way.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import SQLAlchemyError

from control.services.context import Context, lock_changes
from control.services.errors import ServiceError
from control.services.quality import is_effective
from control.services.recalculation_views import read_price
from control.store import tables
from control.store.engine import Tx
from control.store.recalculation_tables import lines
from control.store.rollup_tables import (
    KEYS,
    SUMS,
    call_rollups,
    load_peaks,
    prefix_rollups,
    provider_rollups,
    rollup_state,
)
from switch.records import Attempt, Cdr

ALL: Final = 0
"""In place of a customer: all of them together, who would be too many to add up for each question."""
MINUTE_MS: Final = 60_000
QUARTER_MS: Final = 900_000
MINUTES_KEPT_MS: Final = 86_400_000
"""How far back minutes can be asked for. More of them make every answer over days dearer."""
BUILT_A_STEP: Final = 2_000
"""CDRs added in one transaction by `build`."""
FOLDED_A_STEP_MS: Final = 4 * QUARTER_MS
LOOK_S: Final = 60.0
STEP_S: Final = 0.2
"""Between two steps: others want to write too."""

log = structlog.get_logger("control.rollups")

Key = tuple[Any, ...]
Sums = tuple[int, ...]
Row = tuple[object, ...]
"""Values of one row of a table here, in the order of its columns."""


def add_statement(table: str, dialect: str) -> str:
    """Add one row's sums to those that are there."""
    columns = _columns(table)
    marks = ", ".join("?" if dialect == "sqlite" else f"${n}" for n in range(1, len(columns) + 1))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}){_conflict(table)}"  # noqa: S608


def _columns(table: str) -> tuple[str, ...]:
    return (*KEYS[table], *(("destination",) if table == "prefix_rollups" else ()), *SUMS[table])


def _conflict(table: str) -> str:
    moved = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in SUMS[table])
    return f" ON CONFLICT ({', '.join(KEYS[table])}) DO UPDATE SET {moved}"


_read_call: Final = attrgetter(
    *("customer_id", "invited_ms", "route_id", "currency", "status", "prefix", "destination"),
    *("progress_ms", "answered_ms", "duration_ms", "billed_s", "pdd_ms"),
    *("net_nanos", "tax_nanos", "gross_nanos", "cost_nanos", "attempts"),
)


def sum_up(cdrs: Iterable[Any]) -> dict[str, list[Row]]:
    """Rows for `add_statement`, by table. A call counts with each provider that was tried for it.

    It runs for each call: a microsecond or two of it, and a row of each table for what few keys a batch has.
    """
    by_route: defaultdict[Key, list[Sums]] = defaultdict(list)
    by_prefix: defaultdict[Key, list[Sums]] = defaultdict(list)
    by_provider: defaultdict[Key, list[Sums]] = defaultdict(list)
    for cdr in cdrs:
        customer_id, invited_ms, route_id, currency, status, prefix, destination, progress_ms, answered_ms, *more = (
            _read_call(cdr)
        )
        duration_ms, billed_s, pdd_ms, net_nanos, tax_nanos, gross_nanos, cost_nanos, attempts = more
        at_ms = invited_ms - invited_ms % MINUTE_MS
        # Plain integers: SQLite's driver asks around for an adapter of each value that is a bool.
        if answered_ms is not None:
            is_answered = effective = 1
        else:
            is_answered = 0
            effective = int(is_effective(status, is_answered=False, has_rung=progress_ms is not None))
        pdd = (0, 0) if pdd_ms is None else (pdd_ms, 1)
        own = (1, is_answered, effective, duration_ms, billed_s, *pdd, net_nanos, tax_nanos, gross_nanos, cost_nanos)
        by_route[customer_id, at_ms, route_id or 0, currency, status].append(own)
        by_prefix[customer_id, at_ms, prefix, currency, destination].append(own)
        for attempt in attempts:
            key, sums = _of_attempt(attempt, at_ms, currency, duration_ms, net_nanos)
            by_provider[key].append(sums)
    routes = _totals(by_route)
    of_all: defaultdict[Key, list[Sums]] = defaultdict(list)
    for (_, at_ms, _, currency, status), sums in routes:
        of_all[ALL, at_ms, 0, currency, status].append(sums)
    found = {
        "call_rollups": routes + _totals(of_all),
        "prefix_rollups": _totals(by_prefix),
        "provider_rollups": _totals(by_provider),
    }
    # In the order of their keys, neighbours go to the same pages.
    return {name: sorted([(*key, *sums) for key, sums in rows]) for name, rows in found.items()}


def _totals(rows: dict[Key, list[Sums]]) -> list[tuple[Key, Sums]]:
    """Added up column by column; most keys of some tables come once in a batch."""
    return [
        (key, each[0] if len(each) == 1 else tuple(map(sum, zip(*each, strict=True)))) for key, each in rows.items()
    ]


def _of_attempt(attempt: Attempt, at_ms: int, currency: str, duration_ms: int, net_nanos: int) -> tuple[Key, Sums]:
    """The key and the sums of one attempt; the call's length and price are those of the one that was answered."""
    status = attempt.status
    key = (attempt.provider_id, at_ms, attempt.gateway_id, currency, status)
    progress_ms, answered_ms = attempt.progress_ms, attempt.answered_ms
    pdd_ms = (progress_ms or answered_ms or attempt.ended_ms) - attempt.started_ms if status else 0
    if answered_ms is not None:
        return key, (1, 1, 1, duration_ms, attempt.billed_s, pdd_ms, 1, net_nanos, attempt.cost_nanos)
    effective = is_effective(status, is_answered=False, has_rung=progress_ms is not None)
    return key, (1, 0, int(effective), 0, 0, pdd_ms, int(status != 0), 0, attempt.cost_nanos)


async def add_batch(tx: Tx, number: int, cdrs: Sequence[Cdr]) -> None:
    """Add the CDRs that were stored after this number; `cdrs` are the batch's, stored now or before."""
    c = tables.cdrs.c
    stored = (await tx.execute(select(func.count()).where(c.number > number))).scalar_one()
    if stored != len(cdrs):
        cdrs = first_of(cdrs, (await tx.execute(select(c.id).where(c.number > number))).scalars())
    await _add_rows(tx, sum_up(cdrs))


def first_of(cdrs: Iterable[Cdr], stored: Iterable[str]) -> list[Cdr]:
    """Those that were stored by now, of a batch in which some came again: they are in the sums already."""
    left = set(stored)
    found = []
    for cdr in cdrs:
        if cdr.id in left:
            left.remove(cdr.id)
            found.append(cdr)
    return found


async def _add_rows(tx: Tx, found: dict[str, list[Row]]) -> None:
    for name, rows in found.items():
        if rows:
            await tx.exec_driver_sql(add_statement(name, tx.dialect.name), rows)


# --- corrections


async def add_corrections(tx: Tx, moving: Sequence[RowMapping]) -> None:
    """Move the sums by what lines of recalculations change, as they are booked."""
    if not moving:
        return
    state = (await tx.execute(select(rollup_state))).mappings().one()
    # Calls that `build` has still to come to are added by it as they stand by then.
    summed = [line for line in moving if not state["cursor_number"] < line["cdr_number"] <= state["upto_number"]]
    await _move(tx, summed)


class _CallFacts(msgspec.Struct, frozen=True):
    number: int
    route_id: int | None
    status: int
    prefix: str
    destination: str
    attempts: str


async def _move(tx: Tx, moving: Sequence[RowMapping]) -> None:
    c = tables.cdrs.c
    numbers = sorted({line["cdr_number"] for line in moving})
    columns = [c[name] for name in _CallFacts.__struct_fields__]
    calls = {
        row["number"]: _CallFacts(**row)
        for row in (await tx.execute(select(*columns).where(c.number.in_(numbers)))).mappings()
    }
    rows: dict[str, list[Row]] = {name: [] for name in SUMS}
    for line in moving:
        for name, values in _correction(line, calls[line["cdr_number"]]):
            rows[name].append(values)
    await _add_rows(tx, rows)


_attempts: Final = msgspec.json.Decoder(tuple[Attempt, ...])


def _correction(line: RowMapping, call: _CallFacts) -> list[tuple[str, Row]]:
    """One line as rows of each table that it moves."""
    before, after = read_price(line["before"]), read_price(line["after"])
    at_ms = line["invited_ms"] - line["invited_ms"] % MINUTE_MS
    customer_id, currency = line["customer_id"], line["currency"]
    net, tax = after.net_nanos - before.net_nanos, after.tax_nanos - before.tax_nanos
    billed_s, cost = after.billed_s - before.billed_s, 0
    if line["side"] == "buy":
        net, tax, billed_s, cost = 0, 0, 0, after.gross_nanos - before.gross_nanos
    sums = (0, 0, 0, 0, billed_s, 0, 0, net, tax, net + tax, cost)
    found: list[tuple[str, Row]] = [
        ("call_rollups", (customer_id, at_ms, call.route_id or 0, currency, call.status, *sums)),
        ("call_rollups", (ALL, at_ms, 0, currency, call.status, *sums)),
        ("prefix_rollups", (customer_id, at_ms, call.prefix, currency, call.destination, *sums)),
    ]
    answered = [each for each in _attempts.decode(call.attempts) if each.answered_ms is not None]
    if answered:
        last = answered[-1]
        bought_s = after.billed_s - before.billed_s if line["side"] == "buy" else 0
        key = (last.provider_id, at_ms, last.gateway_id, currency, last.status)
        found.append(("provider_rollups", (*key, 0, 0, 0, 0, bought_s, 0, 0, net, cost)))
    return found


# --- sums of what was stored before


async def start_again(ctx: Context) -> int:
    """Forget all sums and have them made anew by `build`; how many CDRs there are to add."""
    async with ctx.change() as change:
        tx = change.tx
        for table in (call_rollups, prefix_rollups, provider_rollups):
            await tx.execute(delete(table))
        upto = int((await tx.execute(select(func.coalesce(func.max(tables.cdrs.c.number), 0)))).scalar_one())
        await tx.execute(update(rollup_state).values(cursor_number=0, upto_number=upto, folded_ms=0))
        await change.audit("rebuild", "rollups", "all", after={"upto_number": upto})
    return upto


class _StoredCall(msgspec.Struct, frozen=True):
    """What `sum_up` reads of a call, from its row."""

    customer_id: int
    invited_ms: int
    route_id: int | None
    currency: str
    status: int
    prefix: str
    destination: str
    progress_ms: int | None
    answered_ms: int | None
    duration_ms: int
    billed_s: int
    pdd_ms: int | None
    net_nanos: int
    tax_nanos: int
    gross_nanos: int
    cost_nanos: int
    attempts: tuple[Attempt, ...]


def _stored_call(row: RowMapping) -> _StoredCall:
    return _StoredCall(**{**row, "attempts": _attempts.decode(row["attempts"])})


_SCALARS: Final = [tables.cdrs.c[name] for name in _StoredCall.__struct_fields__ if name != "attempts"]


async def build(ctx: Context) -> bool:
    """Add the next CDRs that are not in the sums; False: there is none left."""
    async with ctx.store.read() as tx:
        state = (await tx.execute(select(rollup_state))).mappings().one()
    if state["cursor_number"] >= state["upto_number"]:
        return False
    async with ctx.store.begin() as tx:
        # Corrections are booked behind the same lock: none falls between what is read here and the cursor.
        await lock_changes(tx)
        state = (await tx.execute(select(rollup_state))).mappings().one()
        after, upto = state["cursor_number"], min(state["cursor_number"] + BUILT_A_STEP, state["upto_number"])
        c = tables.cdrs.c
        query = select(*_SCALARS, c.attempts).where(c.number > after, c.number <= upto)
        calls = [_stored_call(row) for row in (await tx.execute(query)).mappings()]
        await _add_rows(tx, sum_up(calls))
        booked = select(lines).where(
            lines.c.cdr_number > after,
            lines.c.cdr_number <= upto,
            lines.c.is_booked,
            lines.c.before_nanos != lines.c.after_nanos,
        )
        await _move(tx, list((await tx.execute(booked)).mappings()))
        await tx.execute(update(rollup_state).values(cursor_number=upto))
    return bool(upto < state["upto_number"])


async def run(ctx: Context) -> None:
    """Add what is not in the sums and fold what is old, until cancelled."""
    while True:
        delay_s = LOOK_S
        try:
            if await build(ctx) or await fold(ctx):
                delay_s = STEP_S
        except (SQLAlchemyError, ServiceError, OSError) as error:
            log.error("sums of calls were not kept up", reason=str(error))
        await asyncio.sleep(delay_s)


# --- folding


async def fold(ctx: Context) -> bool:
    """Turn the oldest hour of minutes into quarters of an hour; False: none is old enough."""
    upto_ms = ctx.now_ms() - MINUTES_KEPT_MS
    async with ctx.store.read() as tx:
        state = (await tx.execute(select(rollup_state))).mappings().one()
        if state["cursor_number"] < state["upto_number"]:
            return False
        start_ms = state["folded_ms"] or await _oldest_ms(tx, upto_ms)
    start_ms -= start_ms % QUARTER_MS
    end_ms = start_ms + FOLDED_A_STEP_MS
    if end_ms > upto_ms:
        return False
    async with ctx.store.begin() as tx:
        await lock_changes(tx)
        for table in ("call_rollups", "prefix_rollups", "provider_rollups"):
            await _fold_rows(tx, table, start_ms, end_ms)
        await _fold_peaks(tx, start_ms, end_ms)
        await tx.execute(update(rollup_state).values(folded_ms=end_ms))
    return True


async def _oldest_ms(tx: Tx, default_ms: int) -> int:
    oldest = (await tx.execute(select(func.min(tables.cdrs.c.invited_ms)))).scalar_one_or_none()
    return default_ms if oldest is None else int(oldest)


_OWNERS: Final = {
    "customer_id": select(tables.customers.c.id),
    "provider_id": select(tables.providers.c.id),
}


async def _fold_rows(tx: Tx, name: str, start_ms: int, end_ms: int) -> None:
    table = tables.METADATA.tables[name]
    keys, at = KEYS[name], table.c.at_ms
    quarter = (at - at % QUARTER_MS).label("at_ms")
    columns = [quarter if key == "at_ms" else table.c[key] for key in keys]
    more = [func.max(table.c.destination)] if name == "prefix_rollups" else []
    owner = table.c[keys[0]]
    # Owner by owner, as the rows stand: the whole table is never walked through.
    owners = owner.in_(_OWNERS[keys[0]])
    within = (or_(owner == ALL, owners) if name == "call_rollups" else owners, at >= start_ms, at < end_ms)
    query = select(*columns, *more, *(func.sum(table.c[each]) for each in SUMS[name])).where(*within)
    rows = [
        tuple(int(v) if not isinstance(v, str) else v for v in row)
        for row in await tx.execute(query.group_by(*columns))
    ]
    await tx.execute(delete(table).where(*within))
    if rows:
        await tx.exec_driver_sql(add_statement(name, tx.dialect.name), rows)


async def _fold_peaks(tx: Tx, start_ms: int, end_ms: int) -> None:
    c = load_peaks.c
    quarter = (c.at_ms - c.at_ms % QUARTER_MS).label("at_ms")
    within = (c.at_ms >= start_ms, c.at_ms < end_ms)
    query = select(c.owner, c.owner_id, quarter, func.max(c.channels), func.max(c.cps)).where(*within)
    rows = [tuple(row) for row in await tx.execute(query.group_by(c.owner, c.owner_id, quarter))]
    await tx.execute(delete(load_peaks).where(*within))
    if rows:
        names = ("owner", "owner_id", "at_ms", "channels", "cps")
        await tx.execute(insert(load_peaks), [dict(zip(names, row, strict=True)) for row in rows])
