"""Journals on the disk replayed: over segments, over damage, twice, and while one is being written."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.settings import Journal as JournalSettings
from switch.journal import Journal
from switch.journal_read import JournalReader
from switch.records import AccountState, Beat, CallEnded, Checkpoint, DeltaApplied, Extended, JournalRecord, Kept
from switch.recovered import Recovered
from switch.replay import replay
from switch.segments import HEADER_BYTES, MARK, decode_record, list_segments
from tests.fakes.journal_records import admitted, answered, ended

SMALL = JournalSettings(sync="os", segment_bytes=2_000)


class Books:
    """A switch's money and live calls, and the journal that it keeps of them."""

    def __init__(self, folder: Path, settings: JournalSettings = SMALL, opening: Recovered | None = None) -> None:
        self.folder = folder
        self.balance = 1_000_000
        self.live: dict[str, int] = {}
        if opening is not None:
            self.balance = {each.customer_id: each.balance_nanos for each in opening.accounts}.get(1, 0)
            self.live = {call.admitted.id: call.held_nanos for call in opening.calls}
        self.journal = Journal.open(
            folder,
            settings,
            lambda reason: None,
            checkpoint=self.checkpoint,
            opening=[self.checkpoint(), *self.kept()],
            wall_us=1,
        )

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(
            at_ms=0, boot_id="boot", entry_id=0, accounts=(AccountState(1, self.balance),), oldest_segment=0,
            live=tuple(self.live),
        )  # fmt: skip

    def kept(self) -> list[JournalRecord]:
        return [Kept(admitted(name), None, held) for name, held in self.live.items()]

    def admit(self, name: str) -> None:
        self.live[name] = 100
        self.journal.append([admitted(name)])

    def end(self, name: str, charge: int = 30) -> None:
        del self.live[name]
        self.balance -= charge
        self.journal.append([ended(name, gross_nanos=charge)])

    def keep_all(self) -> None:
        number = self.journal.segment_number
        self.journal.append(self.kept())
        self.journal.needed_from = number

    def calls(self, count: int, start: int = 0) -> None:
        """So many from begin to end."""
        for number in range(start, start + count):
            self.admit(f"short{number}")
            self.journal.append([answered(f"short{number}")])
            self.end(f"short{number}")

    def assert_replayed(self, *, findings: int = 0) -> Recovered:
        recovered = replay(self.folder)
        assert {each.customer_id: each.balance_nanos for each in recovered.accounts} == {1: self.balance}
        assert {call.admitted.id: call.held_nanos for call in recovered.calls} == self.live
        assert len(recovered.findings) == findings, recovered.findings
        return recovered


def test_an_empty_or_missing_folder_says_nothing(tmp_path: Path) -> None:
    assert not replay(tmp_path).has_balances
    assert not replay(tmp_path / "none").has_balances


def test_balances_and_calls_come_back_over_many_segments(tmp_path: Path) -> None:
    books = Books(tmp_path)
    books.admit("long")
    for number in range(30):
        books.calls(1, number)
        books.assert_replayed()
    assert len(list_segments(tmp_path)) > 10
    books.journal.close()
    books.assert_replayed()


def test_reading_begins_at_the_newest_checkpoint_where_no_call_needs_more(tmp_path: Path) -> None:
    books = Books(tmp_path)
    books.calls(30)
    far = replay(tmp_path).records
    books.keep_all()
    books.calls(30)
    books.journal.close()
    assert far > 60  # nothing was kept by then: the first call might have been live still
    assert replay(tmp_path).records < far + 60
    books.assert_replayed()


def test_segments_that_live_calls_need_are_not_dropped_however_much_is_ingested(tmp_path: Path) -> None:
    books = Books(tmp_path)
    books.admit("long")
    books.calls(30)
    assert books.journal.drop_before(books.journal.last_sequence) == []
    books.keep_all()
    gone = books.journal.drop_before(books.journal.last_sequence)
    assert len(gone) > 5
    for path in gone:
        path.unlink()
    books.assert_replayed()
    books.journal.close()


def test_nothing_is_dropped_before_what_replaces_it_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    monkeypatch.setattr("time.sleep", lambda seconds: gate.wait(10.0))
    books = Books(tmp_path, JournalSettings(sync="group", segment_bytes=2_000))
    books.calls(30)
    books.keep_all()
    assert books.journal.drop_before(books.journal.last_sequence) == []
    gate.set()
    books.journal.close()
    assert books.journal.drop_before(books.journal.last_sequence)


def test_a_new_run_begins_with_all_that_is_up_and_needs_nothing_older(tmp_path: Path) -> None:
    books = Books(tmp_path)
    books.admit("long")
    books.calls(20)
    books.journal.close()
    again = Books(tmp_path, opening=replay(tmp_path))
    assert again.live == {"long": 100}
    again.assert_replayed()
    gone = again.journal.drop_before(again.journal.last_sequence)
    assert len(gone) > 5
    for path in gone:
        path.unlink()
    assert len(list_segments(tmp_path)) == 1
    again.assert_replayed()
    again.end("long")
    again.journal.close()
    again.assert_replayed()


def test_the_first_segment_of_a_run_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = Books(tmp_path)
    books.admit("long")
    books.journal.close()
    before, real = replay(tmp_path), os.write

    class PowerIsGone(BaseException): ...

    for name in ("write", "fdatasync", "rename", "fsync"):
        with monkeypatch.context() as patch:

            def die(*arguments: Any) -> None:
                if len(arguments) == 2 and isinstance(arguments[1], bytes):
                    real(arguments[0], arguments[1][:-5])  # all but the end of the last call's record
                raise PowerIsGone

            patch.setattr(Path if name == "rename" else os, name, die)
            with pytest.raises(PowerIsGone):
                Books(tmp_path, opening=before)
        recovered = replay(tmp_path)
        assert [call.admitted for call in recovered.calls] == [call.admitted for call in before.calls]
        assert (recovered.accounts, recovered.findings) == (before.accounts, [])
    again = Books(tmp_path, opening=before)
    again.assert_replayed()
    again.journal.close()
    assert not list(tmp_path.glob("*.new"))


def test_a_disk_that_is_full_at_the_start_leaves_all_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from switch.journal import JournalFailed

    books = Books(tmp_path)
    books.admit("long")
    books.journal.close()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: 7)
        with pytest.raises(JournalFailed, match="No space left"):
            Books(tmp_path, opening=replay(tmp_path))
    assert len(list(tmp_path.iterdir())) == 1
    books.assert_replayed()


def test_replaying_changes_no_file_and_comes_to_the_same_again(tmp_path: Path) -> None:
    books = Books(tmp_path)
    books.admit("long")
    books.calls(20)
    books.journal.close()
    newest = list_segments(tmp_path)[-1].path
    newest.write_bytes(newest.read_bytes() + b"torn" * 3)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    books.assert_replayed()
    books.assert_replayed()
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()} == before


def test_every_torn_tail_leaves_what_was_whole(tmp_path: Path) -> None:
    books = Books(tmp_path, JournalSettings(sync="os"))
    books.admit("a")
    books.end("a")
    books.journal.close()
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    first = decode_record(whole, HEADER_BYTES).end
    second = decode_record(whole, first).end
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        recovered = replay(tmp_path)
        assert recovered.findings == [], size
        assert recovered.has_balances == (size >= first)
        assert len(recovered.calls) == (second <= size < len(whole))
        if recovered.has_balances:
            assert recovered.accounts[0].balance_nanos == (999_970 if size == len(whole) else 1_000_000)


def test_a_flipped_bit_is_named_with_its_place_and_never_read_as_money(tmp_path: Path) -> None:
    books = Books(tmp_path, JournalSettings(sync="os"))
    books.admit("a")
    books.end("a", 30)
    books.journal.append([Beat(50.0)])
    books.journal.close()
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    starts = [HEADER_BYTES]
    while starts[-1] < len(whole):
        starts.append(decode_record(whole, starts[-1]).end)
    for offset in range(len(whole)):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0x10]) + whole[offset + 1 :])
        recovered = replay(tmp_path)
        money = {each.balance_nanos for each in recovered.accounts}
        assert money <= {1_000_000, 999_970}, offset
        if offset < starts[-2]:  # in the last record it cannot be told from a torn tail
            place = max((start for start in [0, *starts] if start <= offset), default=0)
            assert any(f"{path}: offset {place}: " in each for each in recovered.findings), offset
        assert recovered.has_balances == (not HEADER_BYTES <= offset < starts[1]), offset


def test_behind_damage_the_next_checkpoint_has_the_balances_and_the_live_calls(tmp_path: Path) -> None:
    """The end of a call cannot be read, and its segment is still needed by another call."""
    books = Books(tmp_path, JournalSettings(sync="os", segment_bytes=20_000))
    books.admit("long")
    books.admit("short")
    books.end("short")
    first = books.journal.segment_number
    books.calls(80)
    assert books.journal.segment_number > first
    books.journal.close()
    path = list_segments(tmp_path)[0].path
    data = bytearray(path.read_bytes())
    place = data.index(b"\xa5ended")
    data[place + 40] ^= 1
    path.write_bytes(data)
    recovered = replay(tmp_path)
    offset = data.rindex(MARK, 0, place)
    assert f"{path}: offset {offset}: checksum does not match" in recovered.findings
    assert any("call short had ended before" in finding for finding in recovered.findings)
    assert {call.admitted.id for call in recovered.calls} == {"long"}
    assert [each.balance_nanos for each in recovered.accounts] == [books.balance]


def test_where_the_newest_checkpoint_cannot_be_read_the_one_before_serves(tmp_path: Path) -> None:
    books = Books(tmp_path)
    books.admit("long")
    books.calls(20)
    books.journal.close()
    newest = list_segments(tmp_path)[-1].path
    data = bytearray(newest.read_bytes())
    data[HEADER_BYTES + 25] ^= 1
    newest.write_bytes(data + MARK)
    recovered = replay(tmp_path)
    assert {each.balance_nanos for each in recovered.accounts} == {books.balance}
    assert {call.admitted.id for call in recovered.calls} == {"long"}
    assert f"{newest}: offset {HEADER_BYTES}: checksum does not match" in recovered.findings


def test_a_missing_segment_is_named(tmp_path: Path) -> None:
    books = Books(tmp_path)
    books.admit("long")
    books.calls(20)
    books.journal.close()
    segments = list_segments(tmp_path)
    segments[2].path.unlink()
    recovered = replay(tmp_path)
    assert any("are missing" in finding for finding in recovered.findings)
    assert [each.balance_nanos for each in recovered.accounts] == [books.balance]
    segments[0].path.unlink()
    assert any("call long: its admission cannot be read" in finding for finding in replay(tmp_path).findings)


def test_segments_that_went_once_their_calls_were_written_again_are_not_missed(tmp_path: Path) -> None:
    books = Books(tmp_path)
    books.admit("long")
    books.calls(20)
    books.journal.append(books.kept())
    books.journal.needed_from = books.journal.segment_number
    for path in books.journal.drop_before(books.journal.last_sequence):
        path.unlink()
    books.journal.close()
    books.assert_replayed(findings=0)


def test_a_kind_of_record_that_this_build_does_not_know_is_passed_over_and_named(tmp_path: Path) -> None:
    class NewKind(DeltaApplied, frozen=True, array_like=True, tag="of_tomorrow"): ...

    books = Books(tmp_path, JournalSettings(sync="os"))
    books.journal.append([NewKind(1, 1)])
    books.admit("a")
    books.journal.close()
    recovered = books.assert_replayed(findings=1)
    assert "of_tomorrow" in recovered.findings[0]


# Records that a failing disk left over stand in segments without a checkpoint.


def fail_with(code: int) -> object:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def test_records_of_after_a_failed_sync_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    books = Books(tmp_path, JournalSettings(sync="always", segment_bytes=2_000))
    books.admit("a")
    books.admit("b")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail_with(errno.EIO))
        books.end("a")
    assert books.journal.failure
    assert books.journal.drop_before(books.journal.last_sequence) == []
    books.journal.append([Extended("b", 500)])
    books.live["b"] = 500
    books.assert_replayed()
    for number in range(40):  # far more than a segment: nothing is begun any more, nothing is lost
        books.live[f"x{number}"] = 100
        books.journal.append([admitted(f"x{number}")])
    books.assert_replayed()
    books.end("b")
    books.assert_replayed()
    books.journal.close()
    again = Books(tmp_path, opening=books.assert_replayed())
    again.assert_replayed()
    again.journal.close()


def test_records_that_waited_in_memory_count_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = Books(tmp_path)
    books.admit("a")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail_with(errno.ENOSPC))
        books.end("a")
        books.journal.append([Beat(70.0)])
    assert replay(tmp_path).accounts == [AccountState(1, 1_000_000)]  # killed now, the end of `a` was never said
    assert books.journal.recover()
    books.assert_replayed()
    books.calls(20)
    books.assert_replayed()
    books.journal.close()
    books.assert_replayed()


def test_a_batch_of_which_a_part_was_written_is_there_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    books = Books(tmp_path)
    books.admit("a")
    books.admit("b")
    real = os.write
    del books.live["a"], books.live["b"]
    books.balance -= 70
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: real(fd, data[:-5]))  # one record whole, and most of the other
        books.journal.append([ended("a", gross_nanos=30), ended("b", gross_nanos=40)])
    assert books.journal.recover()
    books.assert_replayed()
    books.journal.close()
    ends = [record.cdr.id for _, record in JournalReader(tmp_path).read() if isinstance(record, CallEnded)]
    assert ends == ["a", "b"]


def test_records_that_not_even_the_memory_took_cost_nobody_money(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switch.journal.SPOOL_BYTES_MAX", 250)
    books = Books(tmp_path)
    for name in "abc":
        books.admit(name)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail_with(errno.ENOSPC))
        for name in "abc":
            books.end(name)
    assert books.journal.lost
    assert books.journal.recover()  # its checkpoint has what the lost records did
    recovered = replay(tmp_path)
    assert [each.balance_nanos for each in recovered.accounts] == [books.balance]
    assert recovered.calls == []
    assert recovered.findings  # the books did not agree, and that is said
    books.journal.close()


def test_a_disk_that_is_full_as_a_segment_ends_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    books = Books(tmp_path)
    number = books.journal.segment_number
    real = os.write
    with monkeypatch.context() as patch:
        # Records fit; the next segment's header with its checkpoint does in part.
        patch.setattr(os, "write", lambda fd, data: real(fd, data[:20] if data[:4] == b"TNDJ" else data))
        books.calls(30)
        assert books.journal.failure
        assert not books.journal.recover()
    assert books.journal.segment_number == number
    assert books.journal.recover()
    assert books.journal.segment_number == number + 1
    books.assert_replayed()
    books.calls(5, 100)
    books.journal.close()
    books.assert_replayed()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(["admit", "end", "keep", "drop", "kill", "close", "full", "room"]), max_size=60),
    st.integers(300, 4_000),
)
def test_any_life_of_a_journal_replays_to_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], segment_bytes: int
) -> None:
    """Admissions, ends, rounds of keeping, ingested segments, kills, stops, and disks that fill up."""
    folder = tmp_path_factory.mktemp("life")
    settings = JournalSettings(sync="os", segment_bytes=segment_bytes)
    books = Books(folder, settings)
    serial = 0
    with pytest.MonkeyPatch.context() as patch:
        real, is_full = os.write, False
        patch.setattr(os, "write", lambda fd, data: 0 if is_full else real(fd, data))
        for step in steps:
            if step == "admit" and not books.journal.failure:  # no new calls while the journal takes none
                serial += 1
                books.admit(f"call{serial}")
            elif step == "end" and books.live:
                books.end(min(books.live))
            elif step == "keep" and not books.journal.failure:
                books.keep_all()
            elif step == "drop":
                for path in books.journal.drop_before(books.journal.last_sequence):
                    path.unlink()
            elif step in ("kill", "close") and not is_full:
                if step == "close":
                    books.journal.close()
                elif books.journal.spooled:
                    continue  # what only memory had dies with it; nobody was told of it as of something safe
                books.assert_replayed()
                books = Books(folder, settings, replay(folder))
            elif step == "full":
                is_full = True
            elif step == "room":
                is_full = False
                assert books.journal.recover()
            if not books.journal.spooled:
                books.assert_replayed()
        is_full = False
        books.journal.close()
        books.assert_replayed()
