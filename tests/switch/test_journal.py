"""The journal on the disk: what is written comes back, whatever befell the file or the disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.settings import Journal as JournalSettings
from switch.journal import SPOOL_BYTES_MAX, Journal
from switch.journal_read import JournalCorrupt, JournalReader
from switch.records import DeltaApplied
from switch.segments import HEADER_BYTES, decode_record, find_record

ALWAYS = JournalSettings(sync="always")


def open_journal(folder: Path, settings: JournalSettings = ALWAYS, wall_us: int = 1) -> Journal:
    return Journal.open(folder, settings, lambda reason: None, wall_us=wall_us)


def write(folder: Path, versions: range, settings: JournalSettings = ALWAYS) -> None:
    journal = open_journal(folder, settings)
    for version in versions:
        journal.append([DeltaApplied(version, version * 10)])
    journal.close()


def read_all(reader: JournalReader, versions: list[int]) -> None:
    while records := reader.read():
        versions += [record.version for _, record in records if isinstance(record, DeltaApplied)]


def read_versions(folder: Path, after: int = 0, max_records: int = 1_000) -> list[int]:
    reader = JournalReader(folder, after)
    versions: list[int] = []
    while records := reader.read(max_records):
        versions += [record.version for _, record in records if isinstance(record, DeltaApplied)]
    reader.close()
    return versions


def test_what_is_appended_is_read_in_order_over_segments(tmp_path: Path) -> None:
    write(tmp_path, range(200), JournalSettings(sync="os", segment_bytes=500))
    assert len(list(tmp_path.iterdir())) > 5
    assert read_versions(tmp_path) == list(range(200))
    assert read_versions(tmp_path, max_records=7) == list(range(200))


def test_a_batch_takes_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = open_journal(tmp_path)
    sizes: list[int] = []
    real = os.write

    def counted(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", counted)
    last = journal.append([DeltaApplied(version, 0) for version in range(5)])
    assert len(sizes) == 1
    assert last == journal.last_sequence
    journal.close()


def test_reading_starts_again_after_any_sequence(tmp_path: Path) -> None:
    write(tmp_path, range(60), JournalSettings(sync="os", segment_bytes=400))
    reader = JournalReader(tmp_path)
    sequences = [sequence for sequence, _ in reader.read()]
    assert reader.sequence == sequences[-1]
    for index, sequence in enumerate(sequences):
        assert read_versions(tmp_path, sequence) == list(range(index + 1, 60))


def test_a_reader_follows_a_writer_that_goes_on(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, JournalSettings(sync="group", segment_bytes=300))
    reader = JournalReader(tmp_path)
    seen: list[int] = []
    for version in range(300):
        journal.append([DeltaApplied(version, 0)])
        if version % 3 == 0:
            seen += [sequence for sequence, _ in reader.read(2)]
    while records := reader.read():
        seen += [sequence for sequence, _ in records]
    journal.close()
    assert len(seen) == 300
    assert seen == sorted(set(seen))


def test_a_new_run_never_uses_a_sequence_again(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, wall_us=1_000)
    last = journal.append([DeltaApplied(1, 0)])
    journal.close()
    journal = open_journal(tmp_path, wall_us=5)  # the wall clock was set back
    assert journal.append([DeltaApplied(2, 0)]) > last + 1_000_000
    journal.close()
    for path in tmp_path.iterdir():
        path.unlink()
    journal = open_journal(tmp_path, wall_us=10**15)  # the folder was emptied; the clock went on
    assert journal.append([DeltaApplied(3, 0)]) >= 10**15
    journal.close()


def test_every_torn_tail_keeps_the_records_before_it(tmp_path: Path) -> None:
    write(tmp_path, range(4))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    ends = [HEADER_BYTES]
    while ends[-1] < len(whole):
        ends.append(decode_record(whole, ends[-1]).end)
    for size in range(len(whole)):
        for old in tmp_path.iterdir():
            old.unlink()
        path.write_bytes(whole[:size])
        kept = [version for version, end in enumerate(ends[1:]) if end <= size]
        assert read_versions(tmp_path) == kept, size  # a tail that is being written
        journal = open_journal(tmp_path)
        is_clean = size in (0, *ends)  # empty: killed between its making and its header
        assert bool(journal.findings) == (not is_clean), size
        if not is_clean:
            assert path.name in journal.findings[0]
        journal.append([DeltaApplied(99, 0)])
        journal.close()
        assert read_versions(tmp_path) == [*kept, 99], size


@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_a_flipped_bit_at_any_offset_is_never_read_as_a_record(tmp_path: Path, bit: int) -> None:
    write(tmp_path, range(4))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    last_begins = find_last(whole)
    for offset in range(len(whole)):
        for old in tmp_path.iterdir():
            old.unlink()
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ bit]) + whole[offset + 1 :])
        reader = JournalReader(tmp_path)
        versions: list[int] = []
        if offset >= last_begins:  # nothing follows: it cannot be told from a torn tail
            versions = [record.version for _, record in reader.read() if isinstance(record, DeltaApplied)]
            assert versions == [0, 1, 2], offset
            continue
        with pytest.raises(JournalCorrupt) as caught:
            read_all(reader, versions)
        assert caught.value.path == path
        assert caught.value.offset <= offset
        with pytest.raises(JournalCorrupt):
            reader.read()
        reader.skip_damage()
        versions += [record.version for _, record in reader.read() if isinstance(record, DeltaApplied)]
        assert versions in ([0, 1, 2, 3], [1, 2, 3], [0, 2, 3], [0, 1, 3]), offset
        assert len(versions) == (4 if offset < HEADER_BYTES else 3)


def find_last(data: bytes) -> int:
    offset = HEADER_BYTES
    while (end := decode_record(data, offset).end) < len(data):
        offset = end
    return offset


def test_damage_in_the_middle_is_reported_at_start_and_left_in_place(tmp_path: Path) -> None:
    write(tmp_path, range(5))
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[HEADER_BYTES + 22] ^= 4
    path.write_bytes(data)
    journal = open_journal(tmp_path)
    assert f"{path}: offset {HEADER_BYTES}" in journal.findings[0]
    journal.append([DeltaApplied(5, 0)])
    journal.close()
    assert path.read_bytes() == bytes(data)
    reader = JournalReader(tmp_path)
    with pytest.raises(JournalCorrupt):
        reader.read()
    reader.skip_damage()
    assert [record.version for _, record in reader.read() if isinstance(record, DeltaApplied)] == [1, 2, 3, 4, 5]


def test_a_missing_segment_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, range(100), JournalSettings(sync="os", segment_bytes=400))
    segments = sorted(tmp_path.iterdir())
    segments[2].unlink()
    reader = JournalReader(tmp_path)
    with pytest.raises(JournalCorrupt, match="missing"):
        read_all(reader, [])
    reader.skip_damage()
    assert reader.read()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 4), max_size=12), st.integers(0, 400), st.binary(max_size=40))
def test_garbage_behind_the_end_changes_nothing_before_it(
    tmp_path_factory: pytest.TempPathFactory, batches: list[int], cut: int, garbage: bytes
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    journal = open_journal(folder, JournalSettings(sync="os"))
    for size in batches:
        journal.append([DeltaApplied(7, 0)] * size)
    journal.close()
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: max(HEADER_BYTES, len(whole) - cut)] + garbage)
    before = len(read_versions(folder))
    assert before <= sum(batches)
    again = open_journal(folder)
    again.append([DeltaApplied(8, 0)])
    again.close()
    assert read_versions(folder) == [7] * before + [8]


def test_ingested_segments_are_dropped_and_never_the_one_in_use(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, JournalSettings(sync="os", segment_bytes=300))
    for version in range(50):
        journal.append([DeltaApplied(version, 0)])
    middle = journal.last_sequence - 25
    gone = journal.drop_before(middle)
    assert gone
    for path in gone:
        path.unlink()
    assert read_versions(tmp_path, middle) == list(range(25, 50))
    for path in journal.drop_before(journal.last_sequence + 1_000):
        path.unlink()
    assert len(list(tmp_path.iterdir())) == 1
    assert journal.drop_before(journal.last_sequence) == []
    journal.close()


def test_group_sync_is_done_by_its_thread(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, JournalSettings(sync="group", group_ms=1))
    journal.append([DeltaApplied(1, 0)])
    journal.close()
    assert journal.synced_sequence == journal.last_sequence


def test_always_syncs_before_append_returns(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, ALWAYS)
    assert journal.append([DeltaApplied(1, 0)]) == journal.synced_sequence
    journal.close()


def note_syncs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of files in the order in which they are synced, from now on."""
    names: list[str] = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: names.append(Path(f"/proc/self/fd/{fd}").readlink().name))
    return names


def test_a_finished_segment_is_synced_before_the_one_that_sums_it_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal(tmp_path, JournalSettings(sync="always", segment_bytes=100))
    names = note_syncs(monkeypatch)
    while journal.segment_number == 1:
        journal.append([DeltaApplied(1, 10)])
    assert names == sorted(names)
    journal.close()


def test_a_start_syncs_what_the_process_before_left_unsynced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, range(40), JournalSettings(sync="os", segment_bytes=500))
    before = sorted(path.name for path in tmp_path.iterdir())
    names = note_syncs(monkeypatch)
    open_journal(tmp_path).close()
    assert names[: len(before)] == before


def test_a_reader_syncs_what_it_has_handed_out_since_it_last_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, range(40), JournalSettings(sync="os", segment_bytes=500))
    names = sorted(path.name for path in tmp_path.iterdir())
    synced = note_syncs(monkeypatch)
    folders: list[int] = []
    monkeypatch.setattr(os, "fsync", folders.append)
    reader = JournalReader(tmp_path)
    reader.read(5)
    reader.sync()
    assert (synced, len(folders)) == (names[:1], 1)
    reader.read()
    reader.sync()
    assert synced == [names[0], *names]
    assert len(folders) == 2
    reader.sync()
    assert len(folders) == 2
    reader.close()


def test_a_failed_sync_closes_the_journal_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reasons: list[str] = []
    journal = Journal.open(tmp_path, ALWAYS, reasons.append)
    journal.append([DeltaApplied(1, 0)])

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        journal.append([DeltaApplied(2, 0)])
        journal.append([DeltaApplied(3, 0)])
    assert len(reasons) == 1
    assert "Input/output error" in reasons[0]
    assert not journal.recover()  # though the disk would take it now
    journal.append([DeltaApplied(4, 0)])
    assert journal.failure
    assert journal.spooled == 0
    assert read_versions(tmp_path)[-2:] == [3, 4]  # of calls that were up; in a segment of their own
    assert len(list(tmp_path.iterdir())) == 2
    journal.close()
    assert read_versions(tmp_path) == [1, 2, 3, 4]


def test_records_stay_in_memory_where_the_disk_takes_nothing_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal.open(tmp_path, JournalSettings(sync="os"), lambda reason: None)
    journal.append([DeltaApplied(1, 0)])

    def fail(fd: int, data: bytes) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        for version in range(2, 6):
            journal.append([DeltaApplied(version, 0)])
            assert not journal.recover()
    assert journal.spooled == 4
    assert read_versions(tmp_path) == [1]
    assert len(list(tmp_path.iterdir())) == 1
    journal.close()
    assert read_versions(tmp_path) == [1, 2, 3, 4, 5]  # the end of the process is the last chance


def test_a_full_disk_keeps_records_in_memory_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons: list[str] = []
    journal = Journal.open(tmp_path, JournalSettings(sync="os"), reasons.append)
    journal.append([DeltaApplied(1, 0)])
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: real(fd, data[:9]))  # a part, then nothing
        journal.append([DeltaApplied(2, 0), DeltaApplied(3, 0)])
        journal.append([DeltaApplied(4, 0)])
        for _ in range(5):
            assert not journal.recover()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: real(fd, data) if len(data) == HEADER_BYTES else 0)
        for _ in range(5):
            assert not journal.recover()
    assert len(list(tmp_path.iterdir())) == 2
    assert len(reasons) == 1
    assert journal.spooled == 3
    assert read_versions(tmp_path) == [1]
    assert journal.recover()
    journal.append([DeltaApplied(5, 0)])
    journal.close()
    assert read_versions(tmp_path) == [1, 2, 3, 4, 5]


def test_what_the_memory_does_not_take_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("switch.journal.SPOOL_BYTES_MAX", 80)
    assert SPOOL_BYTES_MAX > 80
    journal = open_journal(tmp_path)
    monkeypatch.setattr(os, "write", lambda fd, data: 0)
    for version in range(10):
        journal.append([DeltaApplied(version, 0)])
    assert journal.spooled >= 1
    assert journal.lost == 10 - journal.spooled
    monkeypatch.undo()
    journal.close()


def test_peers_cannot_write_something_that_looks_like_a_record() -> None:
    from switch.segments import MARK

    with pytest.raises(UnicodeDecodeError):
        MARK.decode()
    assert find_record(b"\x00" * 40, 0, 0) == -1


def test_behind_a_damaged_header_sequences_still_rise_whatever_the_clock_says(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    (tmp_path / f"{len(list(tmp_path.iterdir())) + 1:08d}.tj").write_bytes(bytes(101))
    write(tmp_path, range(3, 5))
    reader = JournalReader(tmp_path)
    versions: list[int] = []
    with pytest.raises(JournalCorrupt):
        read_all(reader, versions)
    reader.skip_damage()
    read_all(reader, versions)
    assert versions == [0, 1, 2, 3, 4]
