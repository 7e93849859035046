"""Calls and balances as alerts look at them, read from the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from sqlalchemy import func, select

from control.services.alert_measures import Past
from control.services.quality import is_effective
from control.store import tables
from control.store.engine import Tx
from switch.records import Attempt

ROWS: Final = 2_000
"""Read at a time."""

_C: Final = tables.cdrs.c
COLUMNS: Final = (
    _C.number,
    _C.customer_id,
    _C.invited_ms,
    _C.progress_ms,
    _C.answered_ms,
    _C.ended_ms,
    _C.pdd_ms,
    _C.duration_ms,
    _C.gross_nanos,
    _C.status,
)


WITH_ATTEMPTS: Final = (*COLUMNS, _C.direction, _C.attempts)
"""For alerts on providers: a call is judged by each of its attempts there."""

_attempts: Final = msgspec.json.Decoder(tuple[Attempt, ...])


def past_attempts(row: Any) -> list[tuple[int, Past]]:
    """Each attempt of an outbound call as a call of its own, with the provider that it was at."""
    if row.direction != "outbound":
        return []
    found = []
    for each in _attempts.decode(row.attempts):
        is_answered = each.answered_ms is not None
        heard_ms = each.progress_ms or each.answered_ms or each.ended_ms
        one = Past(
            invited_ms=each.started_ms,
            answered_ms=each.answered_ms,
            ended_ms=row.ended_ms if is_answered else each.ended_ms,
            pdd_ms=heard_ms - each.started_ms if each.status else None,
            duration_ms=row.duration_ms if is_answered else 0,
            gross_nanos=0,
            is_failure=not is_effective(each.status, is_answered=is_answered, has_rung=each.progress_ms is not None),
        )
        found.append((each.provider_id, one))
    return found


def past(row: Any) -> Past:
    is_answered = row.answered_ms is not None
    return Past(
        invited_ms=row.invited_ms,
        answered_ms=row.answered_ms,
        ended_ms=row.ended_ms,
        pdd_ms=row.pdd_ms,
        duration_ms=row.duration_ms,
        gross_nanos=row.gross_nanos,
        is_failure=not is_effective(row.status, is_answered=is_answered, has_rung=row.progress_ms is not None),
    )


async def arrived(tx: Tx, after: int, upto: int, *, with_attempts: bool = False) -> list[Any]:
    """Calls of all customers in the order of their arrival: the next few after this number."""
    query = (
        select(*(WITH_ATTEMPTS if with_attempts else COLUMNS))
        .where(_C.number > after, _C.number <= upto)
        .order_by(_C.number)
        .limit(ROWS)
    )
    return list(await tx.execute(query))


async def invited(
    tx: Tx,
    customer_id: int | None,
    from_ms: int,
    until_ms: int,
    upto: int | None = None,
    *,
    with_attempts: bool = False,
) -> AsyncIterator[list[Any]]:
    """Calls of one customer, or of all, by their INVITEs, some at a time."""
    query = select(*(WITH_ATTEMPTS if with_attempts else COLUMNS)).order_by(_C.invited_ms, _C.number).limit(ROWS)
    if customer_id is not None:
        query = query.where(_C.customer_id == customer_id)
    if upto is not None:
        query = query.where(_C.number <= upto)
    after_ms, after_number = from_ms, 0
    while True:
        later = (_C.invited_ms > after_ms) | ((_C.invited_ms == after_ms) & (_C.number > after_number))
        # The plain bound beside it is what an index is walked by.
        page = query.where(_C.invited_ms >= after_ms, _C.invited_ms < until_ms, later)
        rows = list(await tx.execute(page))
        if rows:
            yield rows
        if len(rows) < ROWS:
            return
        after_ms, after_number = rows[-1].invited_ms, rows[-1].number


async def count_invited(tx: Tx, customer_id: int | None, from_ms: int, until_ms: int, at_most: int) -> int:
    """How many there are, counted no further than this."""
    query = select(_C.number).where(_C.invited_ms >= from_ms, _C.invited_ms < until_ms)
    if customer_id is not None:
        query = query.where(_C.customer_id == customer_id)
    return int((await tx.execute(select(func.count()).select_from(query.limit(at_most).subquery()))).scalar_one())


async def balance_steps(
    tx: Tx, customer_id: int, from_ms: int, until_ms: int, at_most: int
) -> tuple[int, list[tuple[int, int]]]:
    """The balance at `from_ms`, and each time and balance at which it changed until `until_ms`, the first `at_most`."""
    e = tables.ledger_entries.c
    before = select(func.coalesce(func.sum(e.amount_nanos), 0)).where(e.customer_id == customer_id, e.at_ms < from_ms)
    balance = opening = int((await tx.execute(before)).scalar_one())
    query = select(e.at_ms, e.amount_nanos, e.id).where(e.customer_id == customer_id, e.at_ms < until_ms)
    query = query.order_by(e.at_ms, e.id).limit(ROWS)
    steps: list[tuple[int, int]] = []
    after_ms, after_id = from_ms, 0
    while len(steps) < at_most:
        later = (e.at_ms > after_ms) | ((e.at_ms == after_ms) & (e.id > after_id))
        rows = list(await tx.execute(query.where(e.at_ms >= after_ms, later)))
        for at_ms, amount, _ in rows:
            balance += amount
            if steps and steps[-1][0] == at_ms:
                steps.pop()
            steps.append((at_ms, balance))
        if len(rows) < ROWS:
            break
        after_ms, after_id = rows[-1].at_ms, rows[-1].id
    return opening, steps
