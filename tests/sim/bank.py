"""The control plane as the switch's money sees it: entries in order of their ids, CDRs read from the journal."""

from __future__ import annotations

from pathlib import Path

from switch.engine import Engine
from switch.frames import Entry
from switch.journal_read import JournalReader
from switch.records import CallEnded, Cdr


class Bank:
    """The store's ledger: openings, entries that no call made, and CDRs."""

    def __init__(self, openings: dict[int, int]) -> None:
        self.openings = openings
        self.entries: list[Entry] = []
        self.cdrs: dict[str, Cdr] = {}
        self.sequence = 0
        """Everything in the journal up to here has been read."""
        self._acknowledged = 0
        self._next_id = 1

    def enter(self, customer_id: int, amount_nanos: int, gap: int = 1) -> Entry:
        """A payment, fee or reversal; ids have gaps, for calls make entries too."""
        entry = Entry(self._next_id, customer_id, amount_nanos)
        self._next_id += gap
        self.entries.append(entry)
        return entry

    def amount_of(self, entry_id: int) -> tuple[int, int]:
        found = [each for each in self.entries if each.id == entry_id]
        assert len(found) == 1, f"no entry {entry_id}"
        return found[0].customer_id, found[0].amount_nanos

    def booked(self, customer_id: int, entry_id: int) -> int:
        """Sum of a customer's entries up to that one."""
        return sum(
            each.amount_nanos for each in self.entries if each.customer_id == customer_id and each.id <= entry_id
        )

    def greet(self, engine: Engine, now: float) -> None:
        """A connection to a process begins: it says what it has."""
        entry_id = engine.entry_id()
        if entry_id is None:
            balances = {each: self.balance(each) for each in self.openings}
            entry_id = self.entries[-1].id if self.entries else 0
            assert engine.put_balances(entry_id, balances, now)
        self._acknowledged = entry_id

    def send(self, engine: Engine, now: float, repeats: int = 0) -> None:
        """Send what the switch lacks, and so many entries again that it has."""
        above = [each for each in self.entries if each.id > self._acknowledged]
        below = [each for each in self.entries if each.id <= self._acknowledged]
        engine.book([*below[len(below) - repeats :], *above] if repeats else above, now)

    def acknowledge(self, engine: Engine) -> None:
        """The reply to what was sent has arrived."""
        self._acknowledged = engine.entry_id() or 0

    def balance(self, customer_id: int) -> int:
        """As the store adds it up."""
        charged = sum(cdr.gross_nanos for cdr in self.cdrs.values() if cdr.customer_id == customer_id)
        return self.openings[customer_id] + self.booked(customer_id, self._next_id) - charged

    def ingest(self, folder: Path, count_max: int) -> None:
        """Read some of the journal: CDRs and how far it went, in one transaction."""
        reader = JournalReader(folder, self.sequence)
        try:
            records = reader.read(count_max)
            reader.sync()
            for sequence, record in records:
                if isinstance(record, CallEnded):
                    assert record.cdr.id not in self.cdrs, f"{record.cdr.id} is read twice"
                    self.cdrs[record.cdr.id] = record.cdr
                self.sequence = sequence
        finally:
            reader.close()


def last_sequence(folder: Path, after: int) -> int:
    """Of the last whole record on the disk."""
    reader = JournalReader(folder, after)
    try:
        while reader.read():
            pass
        return reader.sequence
    finally:
        reader.close()
