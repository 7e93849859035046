"""Reads the switch's journal back, record by record: what the control plane feeds its store from.

No loop and no thread: `read` does plain file reads and returns what there is. It may run in another
process than the writer, at any moment, and begin again after any sequence.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from switch.records import JournalRecord
from switch.segments import (
    HEADER_BYTES,
    PREFIX_BYTES,
    RECORD_BYTES_MAX,
    Damage,
    Segment,
    decode_header,
    decode_record,
    find_record,
    list_segments,
    take_record,
)

READ_BYTES: Final = 1_048_576
"""One look into the file; a record that is longer is read alone."""


class JournalCorrupt(Exception):
    """The journal is damaged at `offset` of `path`; nothing there is read as if it were whole."""

    def __init__(self, path: Path, offset: int, reason: str) -> None:
        super().__init__(f"{path}: offset {offset}: {reason}")
        self.path = path
        self.offset = offset
        self.reason = reason


class JournalReader:
    """Hands out records with sequences above `after_sequence`, each once, in order.

    A tail that is still being written, or was torn when the power went, is not handed out: the next
    `read` looks again. After `JournalCorrupt` every `read` raises it again until `skip_damage`.
    """

    def __init__(self, folder: Path, after_sequence: int = 0, only: bytes = b"") -> None:
        """`only`: what records hold behind their first byte, their tag; others are passed without being decoded."""
        self._folder = folder
        self._after = after_sequence
        """Last sequence handed out, or asked to begin after."""
        self._segment: Segment | None = None
        self._fd = -1
        self._offset = 0
        self._window = READ_BYTES
        self._held = after_sequence
        """Last sequence seen, or what the header of this segment says came before it."""
        self._is_skipping = False
        self._only = only
        self._passed = 0
        self._decoder = msgspec.msgpack.Decoder(JournalRecord)
        self._handed_from: list[Path] = []
        """Segments of what was handed out since the last `sync`."""
        self._is_folder_dirty = True
        """A segment was opened whose name may not be durable yet."""

    @property
    def sequence(self) -> int:
        """The last sequence handed out or passed, or the one that reading began after."""
        return self._after

    @property
    def passed(self) -> int:
        """Records that the last `read` came past: those handed out, and those that were not wanted."""
        return self._passed

    def read(self, max_records: int = 1_000) -> list[tuple[int, JournalRecord]]:
        """What is wanted of the next `max_records` records; with none `passed`, there is none for now.

        Raises:
            JournalCorrupt: the next record cannot be read; all before it have been handed out.
        """
        records: list[tuple[int, JournalRecord]] = []
        self._passed = 0
        try:
            while self._passed < max_records:
                if self._fd < 0 and not self._open_first():
                    break
                # The writer finishes a segment before it makes the next. So only a look at this one after
                # the next was seen shows its true end.
                following = self._following()
                before = self._passed
                has_more = self._read_window(records, max_records)
                if self._passed > before:
                    self._note_handed()
                if has_more:
                    continue
                if following is None or not self._open(following):
                    break
        except JournalCorrupt:
            if not self._passed:
                raise
        return records

    def sync(self) -> None:
        """Have all that was handed out outlive the loss of power, however far the writer's own syncs have come.

        To be called before anything is built on it that is kept elsewhere: a writer without its last records
        ends the same calls again, and otherwise.

        Raises:
            OSError: it is not durable.
        """
        for path in self._handed_from:
            _sync(path, os.O_RDONLY)
        if self._is_folder_dirty:
            _sync(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        self._handed_from = []
        self._is_folder_dirty = False

    def skip_damage(self) -> None:
        """Go on behind what `read` raised about: at the next whole record."""
        self._is_skipping = True

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._segment = None

    def _note_handed(self) -> None:
        assert self._segment is not None
        path = self._segment.path
        if path not in self._handed_from[-1:]:
            self._handed_from.append(path)

    def _open_first(self) -> bool:
        """Open the segment that holds the first record wanted, or the oldest there is."""
        chosen: Segment | None = None
        for segment in list_segments(self._folder):
            try:
                with segment.path.open("rb") as file:
                    header = decode_header(file.read(HEADER_BYTES))
            except FileNotFoundError:
                continue  # dropped meanwhile: all of it was ingested
            except Damage:
                chosen = chosen or segment  # opening it tells; a later one is met when reading on
                continue
            if chosen is None or header.first <= self._after + 1:
                chosen = segment
        self._held = self._after
        return chosen is not None and self._open(chosen)

    def _following(self) -> Segment | None:
        assert self._segment is not None
        number = self._segment.number
        return next((segment for segment in list_segments(self._folder) if segment.number > number), None)

    def _open(self, segment: Segment) -> bool:
        """Begin to read a segment; False: it is not there, or not yet whole enough."""
        try:
            fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            previous = decode_header(os.pread(fd, HEADER_BYTES, 0)).previous
        except Damage as damage:
            if not self._is_skipping:
                os.close(fd)
                if damage.is_short and segment.number == list_segments(self._folder)[-1].number:
                    return False
                raise JournalCorrupt(segment.path, damage.offset, damage.reason) from None
            previous = self._held
        if previous > self._held and not self._is_skipping:
            os.close(fd)
            place, offset = (segment, 0) if self._segment is None else (self._segment, self._offset)
            reason = f"records after {self._held} up to {previous} are missing"
            raise JournalCorrupt(place.path, offset, reason)
        self._is_skipping = False
        self.close()
        self._fd, self._segment, self._offset, self._held = fd, segment, HEADER_BYTES, previous
        self._is_folder_dirty = True
        return True

    def _read_window(self, records: list[tuple[int, JournalRecord]], max_records: int) -> bool:
        """Add the records that one look into the file shows; False: there is no further whole one."""
        data = os.pread(self._fd, self._window, self._offset)
        position = 0
        only, decode = self._only, self._decoder.decode
        while self._passed < max_records:
            try:
                sequence, payload, end = take_record(data, position)
                if sequence <= self._held:
                    raise Damage(position, f"sequence {sequence} after {self._held}")
                if sequence > self._after:
                    if not only or payload.startswith(only, 1):
                        records.append((sequence, decode(payload)))
                    self._after = sequence
                    self._passed += 1
            except (Damage, msgspec.MsgspecError) as reason:
                if position:
                    return True  # the next look begins here
                return self._step_over(str(reason))
            self._held = sequence
            self._offset += end - position
            self._window = READ_BYTES
            position = end
        return True

    def _step_over(self, reason: str) -> bool:
        """Judge what is no record at the present offset; True: reading can go on at once.

        With a whole record behind it, it is damage; with none, a tail that is being written or was torn.
        """
        assert self._segment is not None
        rest = os.pread(self._fd, os.fstat(self._fd).st_size, self._offset)
        step = find_record(rest, 0, self._held)
        if step == 0 and self._window == READ_BYTES:
            self._window = PREFIX_BYTES + RECORD_BYTES_MAX  # longer than a window, or written meanwhile
            return True
        if step == 0:  # whole, and still not to be read: a kind that this build does not know
            step = decode_record(rest, 0).end
        if step < 0:
            return False
        if not self._is_skipping:
            raise JournalCorrupt(self._segment.path, self._offset, reason)
        self._is_skipping = False
        self._offset += step
        return True


def _sync(path: Path, flags: int) -> None:
    """Sync a file's data, or a folder's names; whoever opened it may."""
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        if flags & os.O_DIRECTORY:
            os.fsync(fd)
        else:
            os.fdatasync(fd)
    finally:
        os.close(fd)
