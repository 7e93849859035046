"""CDRs: written in batches by the journal's reader, read by everybody. Never edited, never deleted."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Final

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect

from control.store import tables
from control.store.engine import Tx
from switch.records import CallEnded, Cdr

JOURNAL: Final = "switch"
"""Whose journal it is: one switch today, and a name a node later."""

_SCALARS: Final = tuple(name for name in Cdr.__struct_fields__ if name not in ("attempts", "explanation"))
_COLUMNS: Final = ("sequence", "provider_id", "gateway_id", *_SCALARS, "attempts", "explanation")
_read_scalars = attrgetter(*_SCALARS)
_encode: Final = msgspec.json.Encoder().encode


async def insert_batch(tx: Tx, records: Sequence[tuple[int, CallEnded]]) -> None:
    """Store CDRs with their journal sequences; one that is there already is left as it is.

    One prepared statement for the whole batch, past SQLAlchemy's parameter handling: this runs for
    each call. The caller moves the journal's position in the same transaction.
    """
    if records:
        await tx.exec_driver_sql(_insert_statement(tx.dialect), [_row(n, ended.cdr) for n, ended in records])


async def read_position(tx: Tx, journal: str = JOURNAL) -> int:
    """The journal sequence up to which everything is in the store; 0 at first."""
    query = select(tables.ingest_position.c.sequence).where(tables.ingest_position.c.journal == journal)
    return (await tx.execute(query)).scalar_one_or_none() or 0


async def write_position(tx: Tx, sequence: int, journal: str = JOURNAL) -> None:
    """Remember how far the journal has been read; it never goes back."""
    position = tables.ingest_position
    insert = (sqlite if tx.dialect.name == "sqlite" else postgresql).insert(position)
    insert = insert.values(journal=journal, sequence=sequence)
    await tx.execute(
        insert.on_conflict_do_update(
            index_elements=[position.c.journal],
            set_={"sequence": insert.excluded.sequence},
            where=position.c.sequence < insert.excluded.sequence,
        )
    )


def _row(sequence: int, cdr: Cdr) -> tuple[object, ...]:
    attempts = cdr.attempts
    # The attempt that the call ended with: what the list shows and filters by.
    provider_id, gateway_id = (attempts[-1].provider_id, attempts[-1].gateway_id) if attempts else (None, None)
    return (
        sequence,
        provider_id,
        gateway_id,
        *_read_scalars(cdr),
        _encode(attempts).decode(),
        _encode(cdr.explanation).decode(),
    )


def _insert_statement(dialect: Dialect) -> str:
    """The same insert in the placeholders of each driver; column names come from our own structs."""
    marks = ", ".join("?" if dialect.name == "sqlite" else f"${n}" for n in range(1, len(_COLUMNS) + 1))
    return f"INSERT INTO cdrs ({', '.join(_COLUMNS)}) VALUES ({marks}) ON CONFLICT (id) DO NOTHING"  # noqa: S608
