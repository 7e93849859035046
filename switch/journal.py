"""Writes the switch's journal: append-only segments of CRC-checked records (`switch.segments`).

One `os.write` a batch, on the caller's thread: what `append` has returned for survives the end of
the process. How soon it survives the loss of power is `config.settings.Journal.sync`: `group`, a
thread syncs every `group_ms`; `always`, before `append` returns; `os`, when the kernel likes.

A segment begins with a checkpoint, so that a replay need not go further back for balances. One that is
full is followed by the next at the end of `append`, when the engine is exactly what was written. Only
segments that are begun to write what a failure left over have none; a replay begins before them.

A write or sync that fails closes the journal. Nothing is tried again as if it had worked: the page
cache may have dropped what a failed sync was to keep. Records that come later are those of calls that
were up: they go unsynced to a segment of their own, which outlives this process if not the power. Where
that fails too or the disk is full, they are kept in memory up to `SPOOL_BYTES_MAX`. Only a disk that was
merely full opens the journal again, once `recover` has written them.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from config.settings import Journal as JournalSettings
from switch.journal_end import JournalEnd, find_end
from switch.records import Checkpoint, JournalRecord
from switch.segment_files import create, create_whole, sync_folder, write_all
from switch.segments import HEADER_BYTES, Segment, encode_header, encode_record, encode_records, segment_path

SPOOL_BYTES_MAX: Final = 67_108_864
"""Records held in memory while the disk takes none; what comes after is lost, and counted."""
REOPEN_GAP: Final = 1_048_576
"""Sequences left out at a start, more than one group can hold: a number that a reader saw before the
power went must not come again for another record."""
_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class JournalFailed(Exception):
    """The folder cannot be used at all."""


class Journal:
    """The writer. One a folder; all methods are called from one thread, which may be a loop's."""

    def __init__(
        self,
        folder: Path,
        settings: JournalSettings,
        on_failure: Callable[[str], None],
        end: JournalEnd,
        first: int,
        checkpoint: Callable[[], Checkpoint] | None,
        opening: Sequence[JournalRecord],
    ) -> None:
        self.findings = end.findings
        """What opening found amiss: a torn tail that was cut, damage that is left for the reader to tell."""
        self._folder = folder
        self._segment_bytes = settings.segment_bytes
        self._sync = settings.sync
        self._group_s = settings.group_ms / 1_000
        self._on_failure = on_failure
        self._checkpoint = checkpoint
        self._older = end.older
        self._next = first
        self._written = end.last
        self._synced = 0
        self._segment = Segment(end.number, segment_path(folder, end.number))
        self._needed_from = end.number + 1
        self._safe_at = 0
        """What lets older segments go has to be synced up to here first."""
        self._fd = -1
        self._size = 0
        self._retired: deque[int] = deque()
        """Descriptors of finished segments that have still to be synced and closed."""
        self._failure = ""
        self._is_disk_full = False
        self._can_salvage = False
        """Closed for new calls; yet records may be written to a segment begun since."""
        self._is_salvaging = False
        self._lock = threading.Lock()
        self._spool: list[tuple[int, bytes]] = []
        self._spool_bytes = 0
        self._lost = 0
        self._encode = msgspec.msgpack.Encoder().encode
        self._wake = threading.Event()
        self._is_closing = False
        self._is_folder_dirty = False
        self._open_segment(opening)
        self._thread: threading.Thread | None = None
        if settings.sync == "group":
            self._thread = threading.Thread(target=self._sync_in_groups, name="journal-sync", daemon=True)
            self._thread.start()

    @classmethod
    def open(
        cls,
        folder: Path,
        settings: JournalSettings,
        on_failure: Callable[[str], None],
        *,
        checkpoint: Callable[[], Checkpoint] | None = None,
        opening: Sequence[JournalRecord] = (),
        wall_us: int | None = None,
    ) -> Journal:
        """Find the end of what is there and begin a new segment behind it.

        Args:
            on_failure: told once, with the reason, when the journal closes itself; maybe on its thread.
            checkpoint: asked, at the end of an `append`, for what the next segment begins with.
            opening: the new segment's first records: a checkpoint, and each call that is up. They
                are there whole and synced, or the segment is not there at all.
            wall_us: microseconds since the epoch. Sequences begin there, so that they rise even
                when the folder was emptied under a store that had read further.
        Raises:
            JournalFailed: the folder cannot be made, read or written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            end = find_end(folder)
            floor = time.time_ns() // 1_000 if wall_us is None else wall_us
            first = max(end.last + REOPEN_GAP if end.last else 1, floor)
            return cls(folder, settings, on_failure, end, first, checkpoint, opening)
        except OSError as error:
            raise JournalFailed(f"journal folder {folder}: {error.strerror}") from error

    @property
    def last_sequence(self) -> int:
        """Of the last record that is on the disk, in this run or before; 0: none."""
        return self._written

    @property
    def synced_sequence(self) -> int:
        """All of this run up to here has been synced; 0: nothing yet."""
        return self._synced

    @property
    def segment_number(self) -> int:
        """Of the segment that is written to."""
        return self._segment.number

    @property
    def segments(self) -> int:
        """Files that are kept, the one that is written to among them."""
        return len(self._older) + 1

    @property
    def needed_from(self) -> int:
        """Number of the oldest segment that live calls have records in: it stays, and those after it."""
        return self._needed_from

    @needed_from.setter
    def needed_from(self, number: int) -> None:
        self._needed_from = number
        self._safe_at = self._written

    @property
    def failure(self) -> str:
        """Why the journal takes no more records; empty while it does."""
        return self._failure

    @property
    def spooled(self) -> int:
        """Records that only the memory holds."""
        return len(self._spool)

    @property
    def lost(self) -> int:
        """Records that not even the memory took."""
        return self._lost

    def append(self, records: Sequence[JournalRecord]) -> int:
        """Write a batch in one write; returns the sequence of its last record."""
        first = self._next
        payloads = [self._encode(record) for record in records]
        self._next = first + len(payloads)
        if self._failure or not self._write(first, payloads):
            self._keep(first, payloads)
            if self._can_salvage:
                self._salvage()
            return self._next - 1
        last = self._next - 1
        if self._thread is None:
            if self._sync == "always":
                self._sync_now()  # before a next segment: its checkpoint sums up what must not be lost then
        elif not self._wake.is_set():
            self._wake.set()
        if self._size >= self._segment_bytes and not self._failure:
            self._rotate()
        return last

    def recover(self) -> bool:
        """After a full disk: write what the memory holds to a new segment, synced; False: not now."""
        if not self._failure:
            return True
        if not self._is_disk_full or not self._write_spool():
            return False
        self._failure = ""
        self._wake.set()
        return True

    def drop_before(self, sequence: int) -> list[Path]:
        """Forget finished segments with nothing above `sequence` that no replay needs; returns their files.

        The caller unlinks them: that can take long on a busy disk, so it is done off the loop.
        """
        if self._sync != "os" and self._synced < self._safe_at:
            return []  # the power could take what makes them dispensable
        floor = self._segment.number if self._checkpoint is None else self._needed_from
        older, self._older = self._older, []
        gone: list[Path] = []
        for segment, last in older:
            if last <= sequence and segment.number < floor:
                gone.append(segment.path)
            else:
                self._older.append((segment, last))
        return gone

    def close(self) -> None:
        """Sync and close. What only the memory holds is tried one last time, in a segment of its own."""
        if self._failure and self._spool:
            self._write_spool()
        self._is_closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        if not self._failure and self._sync != "os":
            self._sync_now()
        while self._retired:
            os.close(self._retired.popleft())
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _write(self, first: int, payloads: list[bytes]) -> bool:
        data = encode_records(first, payloads)
        try:
            if os.write(self._fd, data) != len(data):  # `write_all`, without its call
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._fail("write", error)
            return False
        self._size += len(data)
        self._written = first + len(payloads) - 1
        return True

    def _keep(self, first: int, payloads: list[bytes]) -> None:
        for sequence, payload in enumerate(payloads, first):
            if self._spool_bytes + len(payload) > SPOOL_BYTES_MAX:
                self._lost += 1
                continue
            self._spool.append((sequence, payload))
            self._spool_bytes += len(payload)

    def _write_spool(self) -> bool:
        """Write what the memory holds, and a checkpoint behind it: some may have been lost."""
        spool = list(self._spool)
        try:
            os.ftruncate(self._fd, self._size)  # part of the write that failed may be there
            if self._size > HEADER_BYTES:  # one that a try before this left empty does
                self._replace_segment(spool[0][0] if spool else self._next, b"")
            if self._checkpoint is not None:
                spool.append((self._next, self._encode(self._checkpoint_here(self._segment.number))))
            if spool:
                data = b"".join([encode_record(sequence, payload) for sequence, payload in spool])
                write_all(self._fd, data)
                os.fdatasync(self._fd)
                self._size += len(data)
                self._written = spool[-1][0]
        except OSError:
            return False
        if self._checkpoint is not None:
            self._next += 1
        self._spool, self._spool_bytes = [], 0
        return True

    def _salvage(self) -> None:
        """Write what the memory holds to a segment of its own, unsynced; it stays in memory if that fails."""
        if not self._spool:
            return
        data = b"".join([encode_record(sequence, payload) for sequence, payload in self._spool])
        try:
            if not self._is_salvaging:
                os.ftruncate(self._fd, self._size)  # part of the write that failed may be there
                self._replace_segment(self._spool[0][0], b"")
                self._is_salvaging = True
            write_all(self._fd, data)
        except OSError:
            self._can_salvage = False  # one try: memory keeps them until `close`, its last chance
            return
        self._size += len(data)
        self._written = self._spool[-1][0]
        self._spool, self._spool_bytes = [], 0

    def _rotate(self) -> None:
        """Begin the next segment, with all balances as they are now: the engine has no news left."""
        first, start = self._next, b""
        if self._checkpoint is not None:
            start = encode_record(first, self._encode(self._checkpoint_here(self._segment.number + 1)))
        try:
            self._replace_segment(first, start)
        except OSError as error:
            self._fail("new segment", error)
            return
        if start:
            self._next = first + 1
            self._written = self._safe_at = first
        if self._thread is None:
            self._sync_now()

    def _checkpoint_here(self, number: int) -> Checkpoint:
        """The engine's balances, as a record of segment `number`."""
        assert self._checkpoint is not None
        oldest = min(self._needed_from, number)
        return msgspec.structs.replace(self._checkpoint(), oldest_segment=oldest)

    def _replace_segment(self, first: int, start: bytes) -> None:
        """Begin the next segment; the present one stays as it is if that fails."""
        number = self._segment.number + 1
        path = segment_path(self._folder, number)
        data = encode_header(first, self._written) + start
        fd = create(path, data)
        with self._lock:
            self._older.append((self._segment, self._written))
            self._retired.append(self._fd)
            self._segment, self._fd, self._size = Segment(number, path), fd, len(data)
            self._is_folder_dirty = True

    def _open_segment(self, opening: Sequence[JournalRecord]) -> None:
        """Begin this run's first segment; a start that is cut short leaves all of it or nothing."""
        number, first = self._segment.number + 1, self._next
        path = segment_path(self._folder, number)
        parts = [encode_header(first, self._written)]
        for record in opening:
            if isinstance(record, Checkpoint):
                record = msgspec.structs.replace(record, oldest_segment=number)
            parts.append(encode_record(self._next, self._encode(record)))
            self._next += 1
        data = b"".join(parts)
        self._fd = create_whole(path, data) if opening else create(path, data)
        self._segment, self._size = Segment(number, path), len(data)
        self._is_folder_dirty = not opening
        if opening:
            self._written = self._synced = self._next - 1

    def _sync_now(self) -> bool:
        """Sync what was written before this call; on whichever thread does the syncs."""
        with self._lock:
            mark, fd, retired = self._written, self._fd, len(self._retired)
            is_folder_dirty, self._is_folder_dirty = self._is_folder_dirty, False
        try:
            # The older first: a segment's checkpoint must not outlive the records that it sums up.
            for _ in range(retired):
                if self._sync != "os":
                    os.fdatasync(self._retired[0])
                os.close(self._retired.popleft())
            if self._sync != "os":
                os.fdatasync(fd)
            if is_folder_dirty:
                sync_folder(self._folder)
        except OSError as error:
            self._fail("sync", error)
            return False
        self._synced = mark
        return True

    def _sync_in_groups(self) -> None:
        while not self._is_closing:
            self._wake.wait()
            if not self._is_closing:
                time.sleep(self._group_s)  # what comes meanwhile shares the sync
            self._wake.clear()
            if not self._sync_now():
                return

    def _fail(self, what: str, error: OSError) -> None:
        with self._lock:
            if self._failure:
                return
            self._failure = f"journal {what} failed: {error.strerror} ({self._segment.path})"
            self._is_disk_full = what != "sync" and error.errno in _DISK_FULL
            self._can_salvage = not self._is_disk_full
        self._on_failure(self._failure)
