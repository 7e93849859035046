"""A storm over the real journal: processes that die in it, machines that lose power, and books kept beside.

The switch is put together as `switch.runtime` does it (replay, load, restore, open, keep), with the
simulation's clock in place of threads and sockets. Peers live on while nobody answers them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec

from config.settings import Settings
from switch.billed import BilledCall
from switch.engine import Engine
from switch.keeping import Keeping
from switch.outputs import Send
from switch.records import CallEnded, JournalRecord
from switch.recovered import Recovered
from switch.replay import replay
from switch.runtime import opening_of
from switch.segment_files import DRAFT_SUFFIX
from switch.snapshot import Customer, Delta, Key, RateCard, Record, Snapshot
from tests.fakes.world import SWITCH, Packet
from tests.sim.agents import Callers, Storm
from tests.sim.bank import Bank, last_sequence
from tests.sim.books import Books, compare
from tests.sim.disk import Disk, HandSynced
from tests.sim.market import CUSTOMERS, address_of

TICK_S = 1.0
SYNC_S = 0.02


class Died(Exception):
    """The process has ended in the middle of what it did; maybe the machine with it."""

    def __init__(self, *, has_power: bool = True) -> None:
        super().__init__()
        self.has_power = has_power


class MoneyWorld(Storm):
    """Money, peers and one machine, all from one seed.

    Args:
        folder: of compiled decks; `disk` is the journal's.
        starts_at_s: wall clock at the beginning, in seconds since the epoch.
    """

    def __init__(
        self,
        folder: Path,
        disk: Disk,
        seed: int,
        records: tuple[Record, ...],
        openings: dict[int, int],
        *,
        settings: Settings,
        starts_at_s: float,
    ) -> None:
        self.disk = disk
        self.bank = Bank(openings)
        self.books = Books(openings)
        self.is_up = False
        super().__init__(folder, seed, records, settings=settings, has_decks=True)
        self.by_customer = {each: self._callers(each) for each in CUSTOMERS}
        self.by_key = {(type(each), each.id): each for each in records}
        self.version = 1
        self.deltas: list[Delta] = []
        self.saved = Snapshot(version=1, records=records)
        """What the switch finds at its next start; it may be behind."""
        self.wall_offset_s = starts_at_s - self.now
        self.boots = 1
        self._jumped_s = 0.0
        self.runs = 0
        self.dies_in = -1
        """Batches of records until the process dies while it writes one; -1: it does not."""
        self.goes_dark = False
        """The power goes when older segments have just become dispensable, and nothing of that is synced."""
        self.cdrs_of_run = 0
        self.recovered_calls = 0
        self.has_lost_power = False
        self.is_clock_steady = True
        """The wall clock was never moved."""
        self.revisions: dict[int, int] = {}
        self._is_sync_due = False
        self.start()

    def _callers(self, customer_id: int) -> Callers:
        return (
            self.callers if address_of(customer_id) == self.callers.address else Callers(self, address_of(customer_id))
        )

    # The process.

    def start(self) -> None:
        """Begin a process on what the one before left: from its journal, as `switch.runtime` does."""
        zones = {each.id: each.time_zone for each in self.saved.records if isinstance(each, Customer)}
        survived = last_sequence(self.disk.folder, self.bank.sequence)
        recovered = replay(self.disk.folder, zones)
        again = replay(self.disk.folder, zones)
        assert described(recovered) == described(again), "a replay changes nothing"
        assert recovered.findings == [], recovered.findings
        self.books.lose_after(survived, recovered)
        self.runs += 1
        self.seed += 1
        engine = self.engine = Engine(
            self.settings, self.settings.sip.listeners, Random(self.seed), self.wall_offset_s, self.folder, now=self.now
        )
        engine.boot_id = f"boot {self.boots}"
        engine.load(self.saved)
        loaded = engine.take_outputs()
        engine.restore(recovered, self.now)
        restored = engine.take_outputs()
        self._check_restored(recovered)
        opening = opening_of(recovered, loaded.records, restored.records, engine.boot_id)
        journal = HandSynced.open(
            self.disk.folder,
            self.settings.journal,
            self._journal_failed,
            checkpoint=lambda: self.engine.checkpoint(self.now),
            opening=opening,
            wall_us=int((self.now + self.wall_offset_s) * 1_000_000),
        )
        assert isinstance(journal, HandSynced)
        self.journal_file = journal
        self.keeping = Keeping(engine, journal, self._collect)
        self.cdrs_of_run = sum(isinstance(record, CallEnded) for record in opening)
        self.recovered_calls = len(recovered.calls)
        self.books.begin_run(zones)
        self._follow_revisions(self.saved.records)
        self.books.note(self.journal_file.last_sequence, opening, self)
        self.is_up = True
        for send in [*loaded.sends, *restored.sends]:
            self._send(send)
        for delta in self.deltas:
            if delta.version > self.saved.version:
                self._apply(delta)
        self.bank.greet(engine, self.now)
        self.books.forgive(engine.board)
        self._collect()
        run = self.runs
        self.later(TICK_S, lambda: self._tick(run))

    def _check_restored(self, recovered: Recovered) -> None:
        """What was brought back would be written again as it was read."""
        live = self.engine.board.calls.live
        for found in recovered.calls:
            call = live.get(found.admitted.id)
            assert (call is None) == (found.answered is None), "answered calls go on, the others are over"
            if isinstance(call, BilledCall) and found.boot_id == self.engine.boot_id:
                kept = call.keep()
                assert (kept.answered, kept.held_nanos) == (found.answered, found.held_nanos)

    def _journal_failed(self, reason: str) -> None:
        raise AssertionError(reason)

    def die(self, *, has_power: bool, boots: bool, down_s: float, is_told: bool = False) -> None:
        """End the process, and begin the next after `down_s`; with the power goes what was not synced.

        Args:
            is_told: it was asked to end, and leaves its calls to the next.
            boots: the machine starts anew, and its monotonic clock somewhere else.
        """
        self.dies_in = -1
        self.goes_dark = False
        if is_told:
            self.engine.beat(self.now)
            self._collect()
            self.journal_file.close()
        else:
            self.journal_file.die()
        self.is_up = False
        if not has_power:
            self.has_lost_power = True
            self.disk.lose_power(self.dice.rng)
        if self.dice(0.1):  # it died, or the machine did, while it made its first segment
            (self.disk.folder / f"{self.journal_file.segment_number + 1:08d}{DRAFT_SUFFIX}").write_bytes(b"half")
        self._run_alone(down_s)
        if boots:
            self.boots += 1
            jump = self.dice.rng.uniform(5.0, 2_000.0) - self.now
            self._queue = [(at + jump, serial, what) for at, serial, what in self._queue]
            heapq.heapify(self._queue)
            self.now += jump
            self._jumped_s += jump
            self.wall_offset_s -= jump
        self.start()
        self.run_for(0.0)  # timers that came due while nobody ran

    def true_now(self) -> float:
        """Seconds that have passed, on a clock that no boot and nobody sets."""
        return self.now - self._jumped_s

    def _run_alone(self, seconds: float) -> None:
        """Time passes for everybody but the switch."""
        until = self.now + seconds
        while self._queue and self._queue[0][0] <= until:
            at, _, what = heapq.heappop(self._queue)
            self.now = max(self.now, at)
            self._deliver(what)
        self.now = until

    def _deliver(self, packet: Packet | Callable[[], None]) -> None:
        if self.is_up or not isinstance(packet, Packet) or packet.target != SWITCH:
            super()._deliver(packet)

    def _tick(self, run: int) -> None:
        """What the runtime does once a second."""
        if run != self.runs or not self.is_up:
            return
        self.engine.set_wall_offset(self.wall_offset_s)
        self.engine.beat(self.now)
        self._collect()
        needed_from = self.journal_file.needed_from
        self.keeping.step()
        is_dark = self.goes_dark and self.journal_file.needed_from > needed_from
        if is_dark or self.dice(0.2):
            self.drop()
        if is_dark:
            raise Died(has_power=False)
        self.later(TICK_S, lambda: self._tick(run))

    # What the engine says.

    def _collect(self) -> None:
        outputs = self.engine.take_outputs()
        if not self.is_up:
            return
        if outputs.records:
            self._write(outputs.records)
        self.cdrs.extend(record.cdr for record in outputs.records if isinstance(record, CallEnded))
        self.events.extend(outputs.events)
        for send in outputs.sends:
            self._send(send)

    def _send(self, send: object) -> None:
        assert isinstance(send, Send)
        self.carry(SWITCH, send.flow.address, send.data)

    def _write(self, records: list[JournalRecord]) -> None:
        journal, dice = self.journal_file, self.dice
        is_last = self.dies_in == 0
        self.dies_in -= self.dies_in >= 0
        if is_last and dice(0.25):
            raise Died  # before a byte of it was written
        size, number = journal.size, journal.segment_number
        last = journal.append(records)
        self.cdrs_of_run += sum(isinstance(record, CallEnded) for record in records)
        self.books.note(last, records, self)
        if is_last:
            if dice(0.5):
                journal.tear(size, number, dice.rng.random())
            raise Died
        if not self._is_sync_due:
            self._is_sync_due = True
            run = self.runs
            self.later(SYNC_S, lambda: self._sync(run))

    def _sync(self, run: int) -> None:
        self._is_sync_due = False
        if run == self.runs and self.is_up:
            self.journal_file.sync()

    # The control plane.

    def change(self, put: tuple[Record, ...], remove: tuple[Record, ...] = ()) -> None:
        """A reload: applied at once, saved when it suits."""
        self.version += 1
        keys = tuple(Key(str(each.__struct_config__.tag), each.id) for each in remove)
        delta = Delta(version=self.version, put=put, remove=keys)
        self.deltas.append(delta)
        for record in put:
            self.by_key[type(record), record.id] = record
        for record in remove:
            del self.by_key[type(record), record.id]
        self._apply(delta)
        self._collect()

    def _apply(self, delta: Delta) -> None:
        self.engine.apply(delta)
        self._follow_revisions(delta.put)
        self.books.forgive(self.engine.board)

    def _follow_revisions(self, records: tuple[Record, ...]) -> None:
        for record in records:
            if isinstance(record, RateCard):
                self.revisions[record.id] = record.revisions[0].id

    def load(self) -> None:
        """The control plane sends everything anew, as it does where it has lost count."""
        self.engine.load(Snapshot(version=self.version, records=tuple(self.by_key.values())))
        self._collect()

    def save(self) -> None:
        """The switch writes its snapshot down."""
        self.saved = Snapshot(version=self.version, records=tuple(self.by_key.values()))

    def book(self, repeats: int, *, is_answered: bool) -> None:
        """Send entries; their acknowledgement may get lost with the connection."""
        self.bank.send(self.engine, self.now, repeats)
        self.books.forgive(self.engine.board)
        self._collect()
        if is_answered:
            self.bank.acknowledge(self.engine)

    def ingest(self, count_max: int) -> None:
        """The store reads what there is."""
        self.bank.ingest(self.disk.folder, count_max)

    def drop(self) -> None:
        """The switch hears how far the store is."""
        for path in self.journal_file.drop_before(self.bank.sequence):
            path.unlink()

    def set_wall_clock(self, by_s: float) -> None:
        self.is_clock_steady = False
        self.wall_offset_s += by_s

    # What must be so.

    def check(self) -> None:
        self.books.check(self)

    def check_replay(self) -> None:
        """The files say what the switch has."""
        zones = {each.id: each.time_zone for each in self.by_key.values() if isinstance(each, Customer)}
        compare(replay(self.disk.folder, zones), self)

    def check_end(self) -> None:
        """All is over, all is read: store and switch have the same books."""
        self.assert_idle()
        self.check_peers()
        self.book(0, is_answered=True)
        while True:
            before = self.bank.sequence
            self.ingest(1_000)
            if self.bank.sequence == before:
                break
        assert set(self.bank.cdrs) == set(self.books.ended), "the store has every CDR once"
        for customer_id in self.bank.openings:
            assert self.balance(customer_id) == self.bank.balance(customer_id)
            assert self.held(customer_id) == 0
        self.check()
        self.check_replay()

    def check_peers(self) -> None:
        """What callers were told stands in a CDR, unless the power took the word back with the record."""
        if self.has_lost_power:
            return
        written: dict[str, set[int]] = {}
        for note in self.books.ended.values():
            written.setdefault(note.cdr.call_id, set()).add(note.cdr.status)
        for callers in self.by_customer.values():
            for call in callers.calls.values():
                assert call.finals <= written.get(call.call_id.decode(), set()), f"{call.call_id!r} was told otherwise"
        if self.runs == 1 or (self.boots == 1 and not self.dice.loses):
            for vendor in self.vendors:
                left = [
                    each.invite.call_id
                    for each in vendor.rings.values()
                    if each.final == 200 and each.is_acked and not each.is_over
                ]
                assert left == [], f"{vendor.address} goes on alone"


def described(recovered: object) -> bytes:
    """All of it as bytes, so that two can be held against each other."""

    def attributes(made: object) -> dict[str, object]:
        # Compiled objects have no `__dict__`; none of these has public methods.
        return {name: getattr(made, name) for name in dir(made) if not name.startswith("_")}

    return msgspec.msgpack.encode(recovered, enc_hook=attributes)
