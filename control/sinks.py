"""Where a batch of the journal goes: CDRs, what they cost, and the position they reach, as one transaction.

SQLite has a way of its own. Through SQLAlchemy and aiosqlite a transaction of some statements goes
to another thread and back some twenty times, which costs more than the statements; here it goes
once. It is the same SQL, and it takes the same turn as every other writer.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from control.services import call_entries, cdr_rows, rollups
from control.services.context import lock_changes
from control.store import rollup_tables
from control.store.engine import WRITER_PRAGMAS, Store
from switch.records import CallEnded

Batch = Sequence[tuple[int, CallEnded]]

_POSITION: Final = (
    "INSERT INTO ingest_position (journal, sequence) VALUES (?, ?) ON CONFLICT (journal) "
    "DO UPDATE SET sequence = excluded.sequence WHERE ingest_position.sequence < excluded.sequence"
)
_STORED: Final = "SELECT id FROM cdrs WHERE number > ?"


class Sink(Protocol):
    async def write(self, batch: Batch, sequence: int) -> None:
        """Store `batch`, and that everything up to `sequence` is stored; all of it or, raising, nothing."""

    def close(self) -> None: ...


class StoreSink:
    """Over the store as everybody uses it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def write(self, batch: Batch, sequence: int) -> None:
        async with self._store.begin() as tx:
            if batch:
                # Entries are made one transaction after the other, so that their ids tell their order.
                await lock_changes(tx)
                last = await call_entries.last_numbers(tx)
                await cdr_rows.insert_batch(tx, batch)
                await call_entries.insert_entries(tx, *last)
                await rollups.add_batch(tx, last[0], [ended.cdr for _, ended in batch])
            await cdr_rows.write_position(tx, sequence)

    def close(self) -> None:
        pass


class SqliteSink:
    """One connection of its own, in one thread of its own."""

    def __init__(self, store: Store) -> None:
        assert store.sqlite_file is not None
        self._store = store
        self._file = store.sqlite_file
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ingest")
        self._insert = cdr_rows.insert_statement("sqlite")
        self._insert_entries = call_entries.entries_statement("?")
        self._move_balances = call_entries.balances_statement("?")
        self._add_sums = {table: rollups.add_statement(table, "sqlite") for table in rollup_tables.SUMS}

    async def write(self, batch: Batch, sequence: int) -> None:
        async with self._store.turn():
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write, batch, sequence)

    def close(self) -> None:
        self._thread.shutdown()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _write(self, batch: Batch, sequence: int) -> None:
        connection = self._connection
        if connection is None:
            # Closed by another thread than this one, after this one has ended.
            connection = sqlite3.connect(self._file, isolation_level=None, check_same_thread=False)
            for pragma in WRITER_PRAGMAS:
                connection.execute(pragma)
            self._connection = connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            if batch:
                number, entry_id = connection.execute(call_entries.LAST_NUMBERS).fetchone()
                rows = [cdr_rows.cdr_row(sequence, ended.cdr) for sequence, ended in batch]
                stored = connection.executemany(self._insert, rows).rowcount
                connection.execute(self._insert_entries, (number,))
                connection.execute(self._move_balances, (entry_id,))
                calls = [ended.cdr for _, ended in batch]
                if stored != len(calls):
                    calls = rollups.first_of(calls, [row[0] for row in connection.execute(_STORED, (number,))])
                for table, sums in rollups.sum_up(calls).items():
                    connection.executemany(self._add_sums[table], sums)
            connection.execute(_POSITION, (cdr_rows.JOURNAL, sequence))
            connection.execute("COMMIT")
        except BaseException:
            # A failed COMMIT may have rolled back already; then there is nothing to undo.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def make_sink(store: Store) -> Sink:
    return StoreSink(store) if store.sqlite_file is None else SqliteSink(store)
