"""What happens by itself: clients that begin and end, penalties that end, revisions that take over.

The switch's records carry these times, so it acts on the second without us. Here the store follows,
so that lists, audit and the next snapshot say the same. The next due time is looked up and slept
towards; a clock that is set, or a time that somebody saves meanwhile, is noticed within `LOOK_S`.
Beside it, every hour, the lengths of each route's calls are counted anew.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

import structlog
from sqlalchemy import ColumnElement, Select, func, select, union_all
from sqlalchemy.exc import SQLAlchemyError

from control.feed import LAST_BOOKED
from control.publish import SwitchPublisher
from control.services import clients, customers, route_durations
from control.services.context import Context
from control.services.errors import ServiceError
from control.services.rate_cards import RATE_CARDS
from control.services.records import card_revisions, rate_card_record
from control.store import tables

LOOK_S: Final = 10.0
"""Longest sleep: how late something that was scheduled a moment ago, for soon, can be."""
LOOK_MIN_S: Final = 0.2
DURATIONS_FIRST_S: Final = 20.0
"""After a start the journal is read first, and whoever waits for the API is let in."""
DURATIONS_S: Final = 3_600.0

log = structlog.get_logger("control.schedule")


class Times(NamedTuple):
    """When the next of each is due, None for never; what version is stored; the last entry that no call made."""

    clients_ms: int | None
    penalties_ms: int | None
    activation_ms: int | None
    version: int
    entry_id: int

    def next_ms(self) -> int | None:
        return min((each for each in self[:3] if each is not None), default=None)


class Schedule:
    """One loop over everything with a time of its own."""

    def __init__(self, context: Context, publisher: SwitchPublisher) -> None:
        self._context = context
        self._publisher = publisher
        # The snapshot of the start has all revisions that have begun until now.
        self._cards_at_ms = context.now_ms()
        """Up to when activations of revisions have been published."""

    async def run(self) -> None:
        """Act until cancelled; what fails is tried again at the next look."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_dates(), name="dates")
            group.create_task(self._run_durations(), name="durations")

    async def _run_durations(self) -> None:
        delay_s = DURATIONS_FIRST_S
        while True:
            await asyncio.sleep(delay_s)
            delay_s = DURATIONS_S
            try:
                count = await route_durations.refresh(self._context)
            except (SQLAlchemyError, ServiceError, OSError) as error:
                log.error("lengths of calls were not counted", reason=str(error))
                continue
            if count:
                log.info("lengths of calls have changed", routes=count)

    async def _run_dates(self) -> None:
        while True:
            try:
                delay_s = await self.run_due()
            except (SQLAlchemyError, ServiceError, OSError) as error:
                log.error("scheduled work failed", reason=str(error))
                delay_s = LOOK_S
            await asyncio.sleep(delay_s)

    async def run_due(self) -> float:
        """Do what is due by the context's clock; returns the seconds until the next look."""
        now_ms = self._context.now_ms()
        times = await self._read_times()
        if _is_due(times.clients_ms, now_ms):
            count = await clients.run_due(self._context)
            log.info("clients changed by their dates", count=count)
        if _is_due(times.penalties_ms, now_ms):
            count = await customers.end_penalties(self._context)
            log.info("penalties ended", count=count)
        if _is_due(times.activation_ms, now_ms):
            await self._publish_activations(now_ms)
        if _is_due(times.next_ms(), now_ms):
            times = await self._read_times()
        next_ms = times.next_ms()
        if self._publisher.version_in_force not in (None, times.version):
            await self._publisher.catch_up()
        # A commit whose answer was lost is stored, and whoever asked for it could not send it on.
        if times.entry_id and not self._publisher.is_booked(times.entry_id):
            await self._publisher.book(times.entry_id)
        # What is still due could not be done.
        if next_ms is None or _is_due(next_ms, now_ms):
            return LOOK_S
        return min(LOOK_S, max(LOOK_MIN_S, (next_ms - now_ms) / 1000))

    async def _publish_activations(self, now_ms: int) -> None:
        """Send cards whose revision has changed by itself, so that the switch lets go of the old deck."""
        table, cards = tables.activations, tables.rate_cards
        begun = (
            select(table.c.card_id)
            .join(cards, cards.c.id == table.c.card_id)
            .where(cards.c.archived_ms.is_(None), *_ahead(self._cards_at_ms), table.c.active_from_ms <= now_ms)
        )
        async with self._context.change() as change:
            card_ids = sorted(set((await change.tx.execute(begun)).scalars()))
            for card_id in card_ids:
                row = await RATE_CARDS.row(change.tx, card_id)
                revisions = await card_revisions(change.tx, now_ms, card_id)
                change.put.append(rate_card_record(row, revisions.get(card_id, ())))
        self._cards_at_ms = now_ms
        log.info("revisions took over", cards=card_ids)

    async def _read_times(self) -> Times:
        activation = _earliest(tables.activations.c.active_from_ms, *_ahead(self._cards_at_ms))
        async with self._context.store.read() as tx:
            row = (await tx.execute(select(_CLIENTS_DUE, _PENALTIES_DUE, activation, _VERSION, LAST_BOOKED))).one()
        return Times(*row)


def _is_due(at_ms: int | None, now_ms: int) -> bool:
    return at_ms is not None and at_ms <= now_ms


def _ahead(since_ms: int) -> list[ColumnElement[bool]]:
    """Activations that begin by themselves after `since_ms`."""
    table = tables.activations
    # What was made for the time of its making was published by whoever made it.
    return [
        table.c.cancelled_ms.is_(None),
        table.c.created_ms < table.c.active_from_ms,
        table.c.active_from_ms > since_ms,
    ]


def _earliest(column: ColumnElement[Any], *conditions: ColumnElement[bool]) -> ColumnElement[Any]:
    query: Select[Any] = select(func.min(column)).where(*conditions)
    return query.scalar_subquery()


def _clients_due() -> ColumnElement[Any]:
    """When the first client changes its status by its dates."""
    c = tables.clients.c
    ends = (c.ends_at_ms, c.status.in_(("scheduled", "active", "suspended")))
    parts = [
        (c.starts_at_ms, c.status == "scheduled"),
        ends,
        (c.decommission_at_ms, c.status == "new"),
        (c.suspend_at_ms, c.status == "active"),
        (c.reactivate_at_ms, c.status == "suspended"),
    ]
    each = [select(time.label("at_ms")).where(c.archived_ms.is_(None), condition) for time, condition in parts]
    return select(func.min(union_all(*each).subquery().c.at_ms)).scalar_subquery()


_CLIENTS_DUE: Final = _clients_due()
_PENALTIES_DUE: Final = _earliest(
    tables.customers.c.penalty_until_ms,
    tables.customers.c.archived_ms.is_(None),
    tables.customers.c.status == "penalty",
)
_VERSION: Final = select(tables.snapshot_version.c.version).scalar_subquery()
