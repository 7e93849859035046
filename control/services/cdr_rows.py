"""CDRs on their way into the store: in batches, each once, with the place in the journal that they reach."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Final

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

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
    if not records:
        return
    rows = [cdr_row(n, ended.cdr) for n, ended in records]
    if tx.dialect.name != "sqlite":
        rows = [tuple(_storable(value) for value in row) for row in rows]
    await tx.exec_driver_sql(insert_statement(tx.dialect.name), rows)


def _storable(value: object) -> object:
    """PostgreSQL takes no NUL in a text, and a peer may send one in its User-Agent: it is shown as its picture."""
    return value.replace("\0", "\u2400") if isinstance(value, str) else value


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


def cdr_row(sequence: int, cdr: Cdr) -> tuple[object, ...]:
    """The values of `insert_statement`."""
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


def insert_statement(dialect: str) -> str:
    """The same insert in the placeholders of each driver; column names come from our own structs."""
    marks = ", ".join("?" if dialect == "sqlite" else f"${n}" for n in range(1, len(_COLUMNS) + 1))
    return f"INSERT INTO cdrs ({', '.join(_COLUMNS)}) VALUES ({marks}) ON CONFLICT (id) DO NOTHING"  # noqa: S608
