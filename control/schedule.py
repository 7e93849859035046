"""What happens by itself: clients that begin and end, penalties that end, revisions that take over.

The switch's records carry these times, so it acts on the second without us. Here the store follows,
so that lists, audit and the next snapshot say the same. The next due time is looked up and slept
towards; a clock that is set, or a time that somebody saves meanwhile, is noticed within `LOOK_S`.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import structlog
from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.exc import SQLAlchemyError

from control.publish import SwitchPublisher
from control.services import clients, customers
from control.services.context import Context
from control.services.errors import ServiceError
from control.services.rate_cards import RATE_CARDS
from control.services.records import card_revisions, rate_card_record
from control.store import tables

LOOK_S: Final = 10.0
"""Longest sleep: how late something that was scheduled a moment ago, for soon, can be."""
LOOK_MIN_S: Final = 0.05

log = structlog.get_logger("control.schedule")


class Schedule:
    """One loop over everything with a time of its own."""

    def __init__(self, context: Context, publisher: SwitchPublisher) -> None:
        self._context = context
        self._publisher = publisher
        self._cards_at_ms: int | None = None
        """Up to when activations of revisions have been published; None before the first look."""

    async def run(self) -> None:
        """Act until cancelled; what fails is tried again at the next look."""
        while True:
            try:
                await self.run_due()
                delay = await self._delay_s()
                await self._publisher.catch_up()
            except (SQLAlchemyError, ServiceError, OSError) as error:
                log.error("scheduled work failed", reason=str(error))
                delay = LOOK_S
            await asyncio.sleep(delay)

    async def run_due(self) -> None:
        """Do what is due by the context's clock."""
        if await self._has_due(_CLIENT_TIMES):
            count = await clients.run_due(self._context)
            log.info("clients changed by their dates", count=count)
        if await self._has_due(_PENALTY_TIMES):
            count = await customers.end_penalties(self._context)
            log.info("penalties ended", count=count)
        await self._publish_activations()

    async def _publish_activations(self) -> None:
        """Send cards whose revision has changed by itself, so that the switch lets go of the old deck."""
        now_ms = self._context.now_ms()
        since_ms, self._cards_at_ms = self._cards_at_ms, now_ms
        if since_ms is None:
            return  # the snapshot of the start has them
        table = tables.activations
        cards = tables.rate_cards
        begun = (
            select(table.c.card_id)
            .join(cards, cards.c.id == table.c.card_id)
            .where(
                cards.c.archived_ms.is_(None),
                table.c.cancelled_ms.is_(None),
                # What was made for a time already past was published when it was made.
                table.c.created_ms < table.c.active_from_ms,
                table.c.active_from_ms > since_ms,
                table.c.active_from_ms <= now_ms,
            )
        )
        async with self._context.store.read() as tx:
            card_ids = sorted(set((await tx.execute(begun)).scalars()))
        if not card_ids:
            return
        async with self._context.change() as change:
            for card_id in card_ids:
                row = await RATE_CARDS.row(change.tx, card_id)
                revisions = await card_revisions(change.tx, now_ms, card_id)
                change.put.append(rate_card_record(row, revisions.get(card_id, ())))
        log.info("revisions took over", cards=card_ids)

    async def _has_due(self, times: list[ColumnElement[Any]]) -> bool:
        next_ms = await self._next_ms(times)
        return next_ms is not None and next_ms <= self._context.now_ms()

    async def _delay_s(self) -> float:
        next_ms = await self._next_ms([*_CLIENT_TIMES, *_PENALTY_TIMES, _next_activation(self._context.now_ms())])
        if next_ms is None:
            return LOOK_S
        return min(LOOK_S, max(LOOK_MIN_S, (next_ms - self._context.now_ms()) / 1000))

    async def _next_ms(self, times: list[ColumnElement[Any]]) -> int | None:
        async with self._context.store.read() as tx:
            row = (await tx.execute(select(*times))).one()
        return min((time_ms for time_ms in row if time_ms is not None), default=None)


def _earliest(column: ColumnElement[Any], *conditions: ColumnElement[bool]) -> ColumnElement[Any]:
    query: Select[Any] = select(func.min(column)).where(*conditions)
    return query.scalar_subquery()


def _next_activation(now_ms: int) -> ColumnElement[Any]:
    table = tables.activations
    return _earliest(table.c.active_from_ms, table.c.cancelled_ms.is_(None), table.c.active_from_ms > now_ms)


_CLIENT: Final = tables.clients.c
_CLIENT_TIMES: Final = [
    _earliest(_CLIENT.starts_at_ms, _CLIENT.archived_ms.is_(None), _CLIENT.status == "scheduled"),
    _earliest(
        _CLIENT.ends_at_ms, _CLIENT.archived_ms.is_(None), _CLIENT.status.in_(("scheduled", "active", "suspended"))
    ),
    _earliest(_CLIENT.suspend_at_ms, _CLIENT.archived_ms.is_(None), _CLIENT.status == "active"),
]
_PENALTY_TIMES: Final = [
    _earliest(
        tables.customers.c.penalty_until_ms,
        tables.customers.c.archived_ms.is_(None),
        tables.customers.c.status == "penalty",
    )
]
