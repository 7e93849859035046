"""Which revision of a card was in force when, for calls of the past.

The switch is told of the active revision and those ahead. What was in force before is in the
activations: one that was rolled back counted until it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import select

from control.services.records import whole_snapshot
from control.store import tables
from control.store.engine import Tx
from switch.snapshot import Provider, RateCard, Record, Revision


class Activation(NamedTuple):
    """A revision that was put in force, and taken back at `cancelled_ms` if it was."""

    id: int
    revision_id: int
    path: str
    active_from_ms: int
    cancelled_ms: int | None

    def counts_at(self, at_ms: int) -> bool:
        return self.active_from_ms <= at_ms and (self.cancelled_ms is None or at_ms < self.cancelled_ms)


def timeline(activations: Sequence[Activation], from_ms: int, to_ms: int) -> tuple[Revision, ...]:
    """What was in force at `from_ms` and what followed it until `to_ms`, as a snapshot's revisions.

    A revision stands in it twice if it came back.
    """
    moments = {from_ms}
    for each in activations:
        moments.add(each.active_from_ms)
        if each.cancelled_ms is not None:
            moments.add(each.cancelled_ms)
    found: list[Revision] = []
    for at_ms in sorted(moment for moment in moments if from_ms <= moment <= to_ms):
        counting = [each for each in activations if each.counts_at(at_ms)]
        if counting:
            last = max(counting, key=lambda each: (each.active_from_ms, each.id))
            if not found or found[-1].id != last.revision_id:
                found.append(Revision(id=last.revision_id, path=last.path, active_from_ms=at_ms))
    return tuple(found)


async def revisions_between(
    tx: Tx, from_ms: int, to_ms: int, card_id: int | None = None
) -> dict[int, tuple[Revision, ...]]:
    """The timeline of each card, or of one; cards that had nothing in force are left out."""
    table, revisions = tables.activations, tables.revisions
    query = select(
        table.c.card_id, table.c.id, revisions.c.id, revisions.c.path, table.c.active_from_ms, table.c.cancelled_ms
    ).join(revisions, revisions.c.id == table.c.revision_id)
    if card_id is not None:
        query = query.where(table.c.card_id == card_id)
    by_card: dict[int, list[Activation]] = {}
    for card, *facts in await tx.execute(query.where(table.c.active_from_ms <= to_ms)):
        by_card.setdefault(card, []).append(Activation(*facts))
    found = {card: timeline(activations, from_ms, to_ms) for card, activations in by_card.items()}
    return {card: revisions for card, revisions in found.items() if revisions}


async def records_between(tx: Tx, from_ms: int, to_ms: int) -> tuple[Record, ...]:
    """The configuration of now with each card's revisions of that time; a provider's penalty is of now alone."""
    history = await revisions_between(tx, from_ms, to_ms)
    return tuple(
        msgspec.structs.replace(record, revisions=history.get(record.id, ()))
        if isinstance(record, RateCard)
        else msgspec.structs.replace(record, penalty_until_ms=None)
        if isinstance(record, Provider)
        else record
        for record in await whole_snapshot(tx)
    )
