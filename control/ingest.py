"""Feeds the store from the switch's journal: every call's CDR exactly once, whatever restarts.

CDRs and the journal position that they reach are one SQL transaction, so a batch is stored whole
or read again. Damage in the journal stops the reading there, is said aloud with its place, and is
never stepped over by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Final, cast

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from control.link import SwitchLink
from control.services import cdr_rows
from control.sinks import Sink, make_sink
from control.store.engine import Store
from switch.journal_read import JournalCorrupt, JournalReader
from switch.records import CallEnded
from switch.segments import list_segments

BATCH_RECORDS_MAX: Final = 2_000
"""Reading so many takes 20 ms at most, for which the API waits; mostly less, for of a call's three
records its CDR alone is decoded."""
BATCH_S: Final = 0.2
"""Calls gather this long before they are written: the cost of a transaction is shared among them."""
BUSY_BATCH_S: Final = 1.0
BUSY_RECORDS: Final = 100
"""A batch of so many tells of load: the next gathers longer. A transaction with its wake-ups costs
as much as some three hundred CDRs, and under load nobody watches a single one arrive."""
READ_ANYWAY: Final = 10
"""So many looks that show no change are followed by a read: times of files are coarse."""
FAULT_DELAY_S: Final = 5.0
"""How soon damage or a store that fails is looked at again."""
FAULTS: Final = (JournalCorrupt, SQLAlchemyError, sqlite3.Error, OSError)
"""What can stand in the way of a batch and may pass: damage, a store that does not take it, the disk."""

log = structlog.get_logger("control.ingest")


class IngestState(msgspec.Struct):
    """What health and metrics show of the reading."""

    sequence: int = 0
    """Everything up to here is in the store."""
    records: int = 0
    fault: str = ""
    """Empty while all is well, else what stands in the way and where."""


ENDED: Final = b"\xa5ended"
"""How msgpack writes the tag of `CallEnded`, behind the one byte that begins its array: no other record is
decoded. They are the switch's own memory, and here only their place counts."""


class _Waiter:
    """Somebody who waits until what is in the journal is in the store."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self._short_reads = 0

    def note_short_read(self) -> None:
        """A read has found less than it might have taken: the journal's end, or what stands before damage.

        Only the second tells which: damage makes it raise. While calls go on, no read finds nothing.
        """
        self._short_reads += 1
        if self._short_reads > 1:
            self.done.set()


class Ingest:
    """Reads one journal folder into one store."""

    def __init__(self, store: Store, link: SwitchLink, folder: Path, sink: Sink | None = None) -> None:
        self._store = store
        self._sink = sink if sink is not None else make_sink(store)
        self._link = link
        self._folder = folder
        self._reader: JournalReader | None = None
        self._newest: Path | None = None
        self._folder_mtime_ns = 0
        self._seen: tuple[int, int] | None = None
        """What the folder looked like when there was nothing to read."""
        self._idle_looks = 0
        self._waiting: list[_Waiter] = []
        self._wanted = asyncio.Event()
        self.state = IngestState()

    async def run(self) -> None:
        """Read until cancelled; while there is a backlog, batch after batch without a pause."""
        while True:
            try:
                count = await self.ingest_batch()
            except FAULTS as error:
                self._note_fault(error)
                await asyncio.sleep(FAULT_DELAY_S)
                continue
            if self.state.fault:
                log.info("journal is read again", sequence=self.state.sequence)
                self.state.fault = ""
            if count < BATCH_RECORDS_MAX:
                await self._rest(BUSY_BATCH_S if count >= BUSY_RECORDS else BATCH_S)

    async def wait_read(self, timeout_s: float) -> bool:
        """Wait until everything that is in the journal now is in the store; False: it was not in time."""
        waiter = _Waiter()
        self._waiting.append(waiter)
        self._wanted.set()
        try:
            async with asyncio.timeout(timeout_s):
                await waiter.done.wait()
        except TimeoutError:
            return False
        finally:
            self._waiting.remove(waiter)
        return True

    async def _rest(self, delay_s: float) -> None:
        """Sleep, or less where somebody waits for the journal's end."""
        self._wanted.clear()
        if any(not waiter.done.is_set() for waiter in self._waiting):
            await asyncio.sleep(0)  # a look may have awaited nothing: who waits needs a turn to give up
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._wanted.wait()

    async def drain(self) -> None:
        """Read what is left, as far as it goes: the switch has ended and writes no more."""
        try:
            while await self.ingest_batch():
                pass
        except FAULTS as error:
            self._note_fault(error)

    def close(self) -> None:
        self._sink.close()

    async def ingest_batch(self) -> int:
        """Store the next records; returns how many there were.

        Raises:
            One of `FAULTS`: nothing of this batch was stored.
        """
        if self._reader is None:
            async with self._store.read() as tx:
                self.state.sequence = await cdr_rows.read_position(tx)
            self._reader = JournalReader(self._folder, self.state.sequence, ENDED)
        waiting = list(self._waiting)
        if waiting:
            self._seen = None  # look in earnest: times of files are coarse
        look = self._look()
        self._idle_looks = self._idle_looks + 1 if look == self._seen else 0
        if self._idle_looks % READ_ANYWAY:
            return 0
        found = self._reader.read(BATCH_RECORDS_MAX)
        count, reached = self._reader.passed, self._reader.sequence
        if not count:
            self._seen = look
            for waiter in waiting:
                waiter.done.set()
            return 0
        try:
            # The store must not know calls that the switch, after a loss of power, would end another way.
            await asyncio.to_thread(self._reader.sync)
            # Nothing else was handed out.
            await self._store_batch(cast("list[tuple[int, CallEnded]]", found), count, reached)
        except BaseException:
            # The reader has gone past what the store lacks: begin again from the store's position.
            self._reader.close()
            self._reader = None
            raise
        if count < BATCH_RECORDS_MAX:
            for waiter in waiting:
                waiter.note_short_read()
        return count

    def _look(self) -> tuple[int, int]:
        """Changes whenever there may be something to read; two looks at files, where reading takes many."""
        try:
            mtime_ns = self._folder.stat().st_mtime_ns
            if mtime_ns != self._folder_mtime_ns:
                segments = list_segments(self._folder)
                self._newest = segments[-1].path if segments else None
                self._folder_mtime_ns = mtime_ns
            return mtime_ns, self._newest.stat().st_size if self._newest is not None else 0
        except FileNotFoundError:
            return 0, 0  # not made yet, or dropped between two looks

    async def _store_batch(self, ended: list[tuple[int, CallEnded]], count: int, sequence: int) -> None:
        await self._sink.write(ended, sequence)
        state = self.state
        state.sequence = sequence
        state.records += count
        self._link.journal_ingested(sequence)

    def _note_fault(self, error: Exception) -> None:
        text = (
            f"{error.path.name}: offset {error.offset}: {error.reason}"
            if isinstance(error, JournalCorrupt)
            else str(error)
        )
        if text != self.state.fault:
            log.error("journal is not read on", reason=text, sequence=self.state.sequence)
        self.state.fault = text
