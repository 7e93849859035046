"""Reads a journal at start: what the switch was when it ended. Writes nothing, so it may be cut short and come again.

Reading begins at the newest segment that starts with a `Checkpoint`, or before it where calls that
were live then have their records: its `oldest_segment` says.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from switch.records import Checkpoint, JournalRecord
from switch.recovered import Fold
from switch.recovered import Recovered as Recovered
from switch.recovered import RecoveredCall as RecoveredCall
from switch.segments import (
    HEADER_BYTES,
    Damage,
    Segment,
    decode_header,
    decode_record,
    find_record,
    list_segments,
)

_decode: Final = msgspec.msgpack.Decoder(JournalRecord).decode


def replay(folder: Path, zones: Mapping[int, str] | None = None) -> Recovered:
    """Add up what the journal in `folder` says; an empty or missing folder says nothing.

    Damage is passed over and named with file and offset. A tail that was torn is no damage:
    `journal_end` cuts it and says so.

    Args:
        zones: customers' time zones, for what they have spent on their present day.
    Raises:
        OSError: the folder or a segment cannot be read.
    """
    segments = list_segments(folder)
    fold = Fold(zones)
    oldest = _find_start(segments)
    reading = [segment for segment in segments if segment.number >= oldest]
    last: int | None = None
    for segment in reading:
        last = _read_segment(segment, fold, last, is_newest=segment is reading[-1])
    return fold.result()


def _find_start(segments: list[Segment]) -> int:
    """Number of the segment to begin at.

    It may have been dropped since the checkpoint was written, once its calls had been written again. Whether
    that is so the checkpoint's live calls tell: each of them has a record from here on, or is named as missing.
    """
    for segment in reversed(segments):
        checkpoint = _first_checkpoint(segment)
        if checkpoint is not None:
            return min(checkpoint.oldest_segment, segment.number)
    return 0


def _first_checkpoint(segment: Segment) -> Checkpoint | None:
    with segment.path.open("rb") as file:
        if os.fstat(file.fileno()).st_size <= HEADER_BYTES:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                decode_header(data[:HEADER_BYTES])
                record = _decode(decode_record(data, HEADER_BYTES).payload)
            except (Damage, msgspec.MsgspecError):
                return None
    return record if isinstance(record, Checkpoint) else None


def _read_segment(segment: Segment, fold: Fold, last: int | None, *, is_newest: bool) -> int | None:
    """Feed a segment's records to the fold.

    Args:
        last: sequence of the last record before it; None: nothing was read yet.
    Returns:
        The same for the segment after it.
    """
    path = segment.path
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < HEADER_BYTES:
            return last  # made as the power went; `journal_end` removes it and says so
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                previous = decode_header(data[:HEADER_BYTES]).previous
                if last is not None and previous > last:
                    fold.lose(f"{path}: offset 0: records after {last} up to {previous} are missing")
                last = previous
            except Damage as damage:
                fold.lose(f"{path}: offset 0: {damage.reason}")
            return _read_records(path, data, fold, last or 0, is_newest=is_newest)


def _read_records(path: Path, data: mmap.mmap, fold: Fold, last: int, *, is_newest: bool) -> int:
    offset, size = HEADER_BYTES, len(data)
    while offset < size:
        try:
            found = decode_record(data, offset)
            if found.sequence <= last:
                raise Damage(offset, f"sequence {found.sequence} after {last}")
            record = _decode(found.payload)
        except Damage as damage:
            step = find_record(data, offset + 1, last)
            if step < 0:
                if not is_newest:
                    fold.lose(f"{path}: offset {offset}: {size - offset} bytes are no record ({damage.reason})")
                break
            fold.lose(f"{path}: offset {offset}: {damage.reason}")
            offset = step
            continue
        except msgspec.MsgspecError as error:
            # Whole, and of no kind that this build knows: a newer one wrote it.
            fold.lose(f"{path}: offset {offset}: {error}")
            last, offset = found.sequence, found.end
            continue
        fold.take(record, f"{path}: offset {offset}")
        last, offset = found.sequence, found.end
    return last
