"""The power goes: what was not synced is kept, lost or zeroed, sector by sector, in any order.

What `append` returned for with `sync = "always"` is there; and always the balance is what customers
began with less the charges of the CDRs that are there, so that no money moved without its call.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.settings import Journal as JournalSettings
from switch.journal import Journal
from switch.journal_read import JournalCorrupt, JournalReader
from switch.records import AccountState, CallEnded, Checkpoint, JournalRecord, Kept
from switch.replay import replay
from tests.fakes.journal_records import admitted, ended

SECTOR = 512
BALANCE = 1_000_000


class PowerIsGone(BaseException):
    """Nothing after it happens."""


class Disk:
    """Notes what syncs have made durable, and takes the power away before one of the calls to it."""

    def __init__(self) -> None:
        self.calls_left = -1
        """Before the power goes; negative: it stays."""
        self._sizes: dict[int, int] = {}
        """By inode: bytes that are durable."""
        self._names: dict[str, set[str]] = {}
        """By folder: names that are durable."""

    @contextmanager
    def watched(self) -> Iterator[Disk]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "write", self._counted(os.write))
            patch.setattr(os, "fdatasync", self._counted(self._note))
            patch.setattr(os, "fsync", self._counted(self._note))
            patch.setattr(Path, "rename", self._counted(Path.rename))
            yield self

    def lose_power(self, folder: Path, survivors: Path, chance: Random) -> None:
        """Leave in `survivors` what a disk might have of `folder`."""
        survivors.mkdir()
        durable = self._names.get(str(folder), set())
        for path in folder.iterdir():
            if path.name not in durable and chance.random() < 0.5:
                continue  # its name was not written yet
            data = path.read_bytes()
            kept = self._sizes.get(path.stat().st_ino, 0)
            size = len(data) if chance.random() < 0.5 else chance.randint(kept, len(data))
            left = bytearray(data[:size])
            share = chance.choice((0.0, 0.3, 1.0))
            for start in range(kept - kept % SECTOR, size, SECTOR):
                if chance.random() < share:
                    begin, end = max(start, kept), min(start + SECTOR, size)
                    left[begin:end] = bytes(end - begin)
            (survivors / path.name).write_bytes(left)

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if self.calls_left == 0:
                raise PowerIsGone
            self.calls_left -= 1
            return real(*arguments)

        return call

    def _note(self, fd: int) -> None:
        found = os.fstat(fd)
        if stat.S_ISDIR(found.st_mode):
            folder = Path(f"/proc/self/fd/{fd}").readlink()
            self._names[str(folder)] = {path.name for path in folder.iterdir()}
        else:
            self._sizes[found.st_ino] = found.st_size


class HandSynced(Journal):
    """In groups, without the thread: the test syncs."""

    def _sync_in_groups(self) -> None:
        pass


class Switch:
    """One customer's money and calls, from what a journal says on."""

    def __init__(self, folder: Path, settings: JournalSettings, kind: type[Journal] = Journal) -> None:
        found = replay(folder)
        self.balance = found.accounts[0].balance_nanos if found.accounts else BALANCE
        self.live = {call.admitted.id: call.held_nanos for call in found.calls}
        self.acknowledged: dict[str, bool] = {}
        """Calls that `append` returned for: whether they ended."""
        opening: list[JournalRecord] = [self.checkpoint()]
        opening += [Kept(admitted(name), None, held) for name, held in self.live.items()]
        self.journal = kind.open(
            folder, settings, lambda reason: None, checkpoint=self.checkpoint, opening=opening, wall_us=1
        )

    def checkpoint(self) -> Checkpoint:
        accounts = (AccountState(1, self.balance),)
        return Checkpoint(
            at_ms=0, boot_id="b", entry_id=0, accounts=accounts, oldest_segment=0, live=tuple(self.live)
        )  # fmt: skip

    def admit(self, name: str) -> None:
        self.live[name] = 100
        self.journal.append([admitted(name)])
        self.acknowledged[name] = False

    def end(self, name: str) -> None:
        self.balance -= 30
        del self.live[name]
        self.journal.append([ended(name, gross_nanos=30)])
        self.acknowledged[name] = True


def charges(folder: Path) -> dict[str, int]:
    """What the CDRs charge that the control process would read, by call; damage is stepped over."""
    found: dict[str, int] = {}
    reader = JournalReader(folder)
    for _ in range(1_000):
        try:
            records = reader.read()
        except JournalCorrupt:
            reader.skip_damage()
            continue
        if not records:
            reader.close()
            return found
        for _, record in records:
            if isinstance(record, CallEnded):
                assert record.cdr.id not in found
                found[record.cdr.id] = record.cdr.gross_nanos
    raise AssertionError("the reader does not come to an end")


def run(switch: Switch, steps: list[int], on_sync: Callable[[], None] | None = None) -> None:
    for number, step in enumerate(steps):
        if step == 0 and on_sync is not None:
            on_sync()
        elif step % 2 and switch.live:
            switch.end(min(switch.live))
        else:
            switch.admit(f"call{number:03d}")


STEPS = st.lists(st.integers(0, 5), min_size=1, max_size=40)


@settings(max_examples=250, deadline=None)
@given(STEPS, st.integers(4, 60), st.integers(400, 3_000), st.integers(0, 1_000_000))
def test_what_was_synced_before_append_returned_is_there_and_the_books_agree(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], calls: int, segment_bytes: int, seed: int
) -> None:
    """The power goes before any write, sync or renaming, also of a start, and of the start after that."""
    base = tmp_path_factory.mktemp("power")
    folder = base / "journal"
    options = JournalSettings(sync="always", segment_bytes=segment_bytes)
    disk, chance = Disk(), Random(seed)
    acknowledged: dict[str, bool] = {}
    with disk.watched():
        switch: Switch | None = None
        try:
            disk.calls_left = calls
            switch = Switch(folder, options)
            run(switch, steps)
        except PowerIsGone:
            pass
        disk.calls_left = -1
        if switch is not None:
            acknowledged = switch.acknowledged
        survivors = base / "survivors"
        disk.lose_power(folder, survivors, chance)
    charged = charges(survivors)
    assert {name for name, is_over in acknowledged.items() if is_over} <= charged.keys()
    found = replay(survivors)
    if switch is not None:
        assert found.accounts[0].balance_nanos == BALANCE - sum(charged.values())
        live = {call.admitted.id for call in found.calls}
        assert {name for name, is_over in acknowledged.items() if not is_over} - charged.keys() <= live
        assert live & charged.keys() == set()
    # The next start cuts what is torn, and comes to the same.
    again = Switch(survivors, options)
    assert again.live.keys() == {call.admitted.id for call in found.calls}
    again.journal.close()
    after = replay(survivors)
    assert [state.balance_nanos for state in after.accounts] == [again.balance]
    assert charges(survivors) == charged


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(0, 1_000_000))
def test_between_syncs_records_are_lost_and_never_a_charge_without_its_call(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], seed: int
) -> None:
    base = tmp_path_factory.mktemp("power")
    folder = base / "journal"
    disk = Disk()
    synced: dict[str, bool] = {}
    with disk.watched():
        switch = Switch(folder, JournalSettings(sync="group"), HandSynced)

        def sync() -> None:
            assert switch.journal._sync_now()
            synced.update(switch.acknowledged)

        run(switch, steps, sync)
        disk.lose_power(folder, base / "survivors", Random(seed))
    charged = charges(base / "survivors")
    found = replay(base / "survivors")
    assert {name for name, is_over in synced.items() if is_over} <= charged.keys()
    assert found.accounts[0].balance_nanos == BALANCE - sum(charged.values())
    live = {call.admitted.id for call in found.calls}
    assert {name for name, is_over in synced.items() if not is_over} - charged.keys() <= live
