"""What a journal tells of the switch that wrote it: balances, and calls that were up.

Pure: records go in, in their order; nothing is read or written here. The file side is `switch.replay`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

from rating.spending import DaySpend
from switch.records import (
    AccountState,
    Admitted,
    Answered,
    Beat,
    CallEnded,
    Cdr,
    Checkpoint,
    Credited,
    DeltaApplied,
    Extended,
    JournalRecord,
    Kept,
)
from switch.snapshot import Delta

FAREWELL_S: Final = 2.0
"""Of calls that ended so shortly before the end of the journal it is not known whether their peers heard so."""
DELTAS_MAX: Final = 1_000
"""More than come before the configuration is saved."""
FINDINGS_MAX: Final = 64
"""Findings in words; where there is more amiss, a number says how much."""


class RecoveredCall:
    """A call that was up when the journal ends."""

    def __init__(
        self, admitted: Admitted, answered: Answered | None, held_nanos: int, boot_id: str, alive_at: float = 0.0
    ) -> None:
        self.admitted: Admitted = admitted
        self.answered: Answered | None = answered
        self.held_nanos: int = held_nanos
        """Its whole hold."""
        self.boot_id: str = boot_id
        """Whose monotonic clock its moments are read from; the journal's last, unless records are missing."""
        self.alive_at: float = alive_at
        """When it was last known to be up, where that is earlier than the journal's end; 0.0: it is not."""


class EndedCall:
    """A call that ended just before the journal does, maybe before anything was said to its peers."""

    def __init__(self, call: RecoveredCall, cdr: Cdr, at: float) -> None:
        self.call: RecoveredCall = call
        self.cdr: Cdr = cdr
        self.at: float = at


class Recovered:
    """The switch as its journal leaves it. Moments are monotonic seconds of `boot_id`."""

    def __init__(self) -> None:
        self.has_balances: bool = False
        """Whether `entry_id` and `accounts` say anything."""
        self.entry_id: int = 0
        """Highest entry of the store's ledger that is in the balances."""
        self.accounts: list[AccountState] = []
        """In order of customers. `spent_…` is the day of the last charge, on the customer's clocks."""
        self.calls: list[RecoveredCall] = []
        """In order of their admission."""
        self.ended: list[EndedCall] = []
        """In order of their ends, those of the last `FAREWELL_S`."""
        self.deltas: list[Delta] = []
        """The last changes of the configuration, in order; the saved one may have them already."""
        self.last_at: float = 0.0
        """The latest moment that any record tells: so long, at least, the switch lived. 0: none does."""
        self.last_ms: int = 0
        """The same on the wall clock, by the last record that tells it; 0: none does."""
        self.boot_id: str = ""
        self.findings: list[str] = []
        """What was amiss, with places; empty after every death that is not a disk's."""
        self.records: int = 0
        """Records that were read."""


class Fold:
    """Takes records one after another.

    A `Checkpoint` is the truth about money: it is believed over what was added up before, and a
    difference is a finding. What cannot be read is told by `lose`, and changes no balance.

    Args:
        zones: customers' time zones, for the day that a charge counts in; UTC for those left out.
    """

    def __init__(self, zones: Mapping[int, str] | None = None) -> None:
        self._zones = zones or {}
        self._balances: dict[int, int] = {}
        self._days: dict[int, DaySpend] = {}
        self._calls: dict[str, RecoveredCall] = {}
        self._ended: deque[EndedCall] = deque()
        self._deltas: deque[Delta] = deque(maxlen=DELTAS_MAX)
        self._unknown: set[str] = set()
        """Calls that records speak of, or that a checkpoint names, and whose admission was not seen."""
        self._has_balances = False
        self._is_sure = False
        """Balances are known and everything since was read: the next checkpoint must agree."""
        self._entry_id = 0
        self._boot_id = ""
        self._last_at = 0.0
        self._last_ms = 0
        self._offset_s: float | None = None
        """Wall clock minus monotonic clock, as the last call tells it."""
        self._records = 0
        self._findings: list[str] = []
        self._findings_left_out = 0

    def take(self, record: JournalRecord, place: str = "") -> None:
        """The next record; `place` names it in findings."""
        self._records += 1
        if isinstance(record, CallEnded):
            self._end(record.cdr)
        elif isinstance(record, Beat):
            self._note(record.at)
        elif isinstance(record, Admitted):
            self._admit(RecoveredCall(record, None, record.held_nanos, self._boot_id))
        elif isinstance(record, Answered):
            self._note(record.answered_at)
            call = self._known(record.id)
            if call is not None:
                call.answered = record
        elif isinstance(record, Extended):
            call = self._known(record.id)
            if call is not None:
                call.held_nanos = record.held_nanos
        elif isinstance(record, Kept):
            self._keep(record)
        elif isinstance(record, Credited):
            if record.entry_id > self._entry_id:
                self._entry_id = record.entry_id
                self._add(record.customer_id, record.amount_nanos)
        elif isinstance(record, Checkpoint):
            self._check(record, place)
        elif isinstance(record, DeltaApplied):
            self._last_ms = record.at_ms
            if record.delta is None:
                self._deltas.clear()
            else:
                self._deltas.append(record.delta)

    def lose(self, finding: str) -> None:
        """Something here cannot be read: the next checkpoint may say otherwise than the sum so far."""
        self._is_sure = False
        self.find(finding)

    def find(self, finding: str) -> None:
        if len(self._findings) < FINDINGS_MAX:
            self._findings.append(finding)
        else:
            self._findings_left_out += 1

    def result(self) -> Recovered:
        for call_id in sorted(self._unknown):
            self.find(f"call {call_id}: its admission cannot be read; it is not taken up again")
        found = Recovered()
        found.has_balances = self._has_balances
        if self._has_balances:
            found.entry_id = self._entry_id
            found.accounts = [self._state(customer_id) for customer_id in sorted(self._balances)]
        found.calls = list(self._calls.values())
        self._forget_ended()
        found.ended = list(self._ended)
        found.deltas = list(self._deltas)
        found.last_at, found.last_ms, found.boot_id = self._last_at, self._last_ms, self._boot_id
        found.records = self._records
        found.findings = self._findings
        if self._findings_left_out:
            found.findings.append(f"and {self._findings_left_out} findings more")
        return found

    # Calls.

    def _admit(self, call: RecoveredCall) -> None:
        admitted = call.admitted
        self._calls[admitted.id] = call
        self._offset_s = admitted.wall_offset_s
        self._note(admitted.invited_at)

    def _keep(self, record: Kept) -> None:
        # In the place that it had: a dictionary keeps the order of the first writing.
        admitted = record.admitted
        self._unknown.discard(admitted.id)
        self._calls[admitted.id] = RecoveredCall(
            admitted, record.answered, record.held_nanos, self._boot_id, record.alive_at
        )
        self._offset_s = admitted.wall_offset_s
        self._note(admitted.invited_at if record.answered is None else record.answered.answered_at)

    def _known(self, call_id: str) -> RecoveredCall | None:
        call = self._calls.get(call_id)
        if call is None:
            self._unknown.add(call_id)
        return call

    def _end(self, cdr: Cdr) -> None:
        call = self._calls.pop(cdr.id, None)
        self._unknown.discard(cdr.id)
        self._last_ms = cdr.ended_ms
        if call is not None and call.boot_id == self._boot_id:
            at = cdr.ended_ms / 1_000 - call.admitted.wall_offset_s
            self._last_at = max(self._last_at, at)
            self._ended.append(EndedCall(call, cdr, at))
            self._forget_ended()
        if cdr.gross_nanos:
            self._add(cdr.customer_id, -cdr.gross_nanos)
            self._day(cdr.customer_id).add(cdr.gross_nanos, cdr.ended_ms)

    def _forget_ended(self) -> None:
        ended = self._ended
        while ended and ended[0].at < self._last_at - FAREWELL_S:
            ended.popleft()

    def _note(self, at: float) -> None:
        self._last_at = max(self._last_at, at)
        if self._offset_s is not None:
            self._last_ms = int((at + self._offset_s) * 1_000)

    # Money.

    def _add(self, customer_id: int, amount_nanos: int) -> None:
        self._balances[customer_id] = self._balances.get(customer_id, 0) + amount_nanos

    def _day(self, customer_id: int) -> DaySpend:
        day = self._days.get(customer_id)
        if day is None:
            day = self._days[customer_id] = self._new_day(customer_id, 0, 0)
        return day

    def _new_day(self, customer_id: int, day: int, spent_nanos: int) -> DaySpend:
        # A zone that this system has no file for must not keep the switch from its calls.
        with suppress(ValueError, OSError):
            return DaySpend(self._zones.get(customer_id, "UTC"), day, spent_nanos)
        return DaySpend("UTC", day, spent_nanos)

    def _state(self, customer_id: int) -> AccountState:
        day = self._days.get(customer_id)
        if day is None:
            return AccountState(customer_id, self._balances[customer_id])
        return AccountState(customer_id, self._balances[customer_id], day.day, day.spent_nanos)

    def _check(self, record: Checkpoint, place: str) -> None:
        """Believe a checkpoint; where the sum so far is as sure, they must agree."""
        told = {state.customer_id: state.balance_nanos for state in record.accounts}
        if self._is_sure and record.has_balances:
            self._compare(record, told, place)
        if record.boot_id != self._boot_id:
            self._boot_id = record.boot_id
            self._last_at = 0.0
            self._ended.clear()
        self._last_ms = record.at_ms
        self._has_balances = self._is_sure = record.has_balances
        self._entry_id = record.entry_id
        self._balances = told
        self._days = {
            state.customer_id: self._new_day(state.customer_id, state.spent_day, state.spent_nanos)
            for state in record.accounts
            if state.spent_day
        }
        if record.live is not None:
            self._leave_only(frozenset(record.live), place)

    def _compare(self, record: Checkpoint, told: dict[int, int], place: str) -> None:
        if record.entry_id != self._entry_id:
            self.find(f"{place}: checkpoint has ledger entries up to {record.entry_id}, the sum {self._entry_id}")
        for customer_id in sorted(told.keys() | self._balances.keys()):
            here, there = self._balances.get(customer_id, 0), told.get(customer_id, 0)
            if here != there:
                self.find(f"{place}: checkpoint has {there} nano-units for customer {customer_id}, the sum {here}")

    def _leave_only(self, live: frozenset[str], place: str) -> None:
        """A call that the checkpoint does not name has ended, though no record says so."""
        for call_id in [call_id for call_id in self._calls if call_id not in live]:
            del self._calls[call_id]
            self.find(f"{place}: call {call_id} had ended before; its record cannot be read")
        # Those that are up and have no record here must have one behind it: they are written again, or end.
        self._unknown = {call_id for call_id in live if call_id not in self._calls}


def recover(records: Iterable[JournalRecord], zones: Mapping[int, str] | None = None) -> Recovered:
    """What these records, in their order, come to."""
    fold = Fold(zones)
    for record in records:
        fold.take(record)
    return fold.result()
